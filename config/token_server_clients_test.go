//go:build integration

package config_test

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

const clientFolder = "samples/token-server"

const (
	anHour    = 3600 // as max-age: no test takes so long
	succeeded = `"106.55.206.146"`
)

func TestClientsKeepTheToken(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		maxAge  int
		fetches int
	}{
		"UntilMaxAgeIsOver": {"A server makes thousands of calls a minute.", anHour, 1},
		"NotWhenMaxAgeIs0":  {"A token that ends in this moment is replaced in the next.", 0, 3},
	}
	for language, program := range clients(t) {
		for name, tc := range cases {
			t.Run(language+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newTokenServer(t)
				s.set(func(s *tokenServer) { s.maxAge = tc.maxAge })
				p := s.start(t, program)
				for range 3 {
					p.succeeds(t)
				}
				if diff := cmp.Diff(counts{Fetches: tc.fetches}, s.counted()); diff != "" {
					t.Errorf("%s\nrequests (-want +got):\n%s", tc.reason, diff)
				}
			})
		}
	}
}

func TestClientsTakeANewTokenAfterMaxAge(t *testing.T) {
	t.Parallel()
	for language, program := range clients(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := newTokenServer(t)
			s.set(func(s *tokenServer) { s.maxAge = 1 })
			p := s.start(t, program)
			p.succeeds(t)
			s.source.renew(t)
			// Nobody reports the old token, which is valid for minutes.
			testcluster.Eventually(t, "the new token is used", func() error { return p.usesNewest(t) })
			if got := s.counted(); got.Fetches < 2 || got.Reports != 0 {
				t.Errorf("got %+v, want a fetch after max-age, and no report", got)
			}
		})
	}
}

func TestClientsReadTheCredentialEachTime(t *testing.T) {
	t.Parallel()
	for language, program := range clients(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := newTokenServer(t)
			s.set(func(s *tokenServer) { s.maxAge = 0 })
			p := s.start(t, program)
			p.succeeds(t)
			s.replaceCredential(t)
			p.succeeds(t)
		})
	}
}

// An outage of the token server costs no call of WeChat while the token is valid.
func TestClientsGoOnWithoutTheServer(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		status int
	}{
		"Unavailable":     {"The token server cannot reach the API server.", http.StatusServiceUnavailable},
		"TooManyRequests": {"Another client of the same credential asks too often.", http.StatusTooManyRequests},
		"NoAnswer":        {"The token server is restarted.", noAnswer},
		"BadGateway":      {"An Ingress does not reach it.", http.StatusBadGateway},
		"Silent":          {"Its packets are dropped.", silent},
	}
	for language, program := range clients(t) {
		for name, tc := range cases {
			t.Run(language+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newTokenServer(t)
				s.set(func(s *tokenServer) { s.maxAge = 0 })
				p := s.start(t, program)
				p.succeeds(t)
				s.set(func(s *tokenServer) { s.status, s.message = tc.status, "come again" })
				for range 5 {
					p.succeeds(t)
				}
				// A client that asked for each call would make an outage worse.
				got := s.counted()
				if got.Fetches >= 6 {
					t.Errorf("%s\ngot %d fetches, want a pause after one that failed", tc.reason, got.Fetches)
				}
				if got.Waited != 0 {
					t.Errorf("%s\na call waits %s although there is a token", tc.reason, silence)
				}
				s.source.renew(t)
				s.set(func(s *tokenServer) { s.status = 0 })
				testcluster.Eventually(t, "the new token is used", func() error { return p.usesNewest(t) })
			})
		}
	}
}

func TestClientsGoOnUntilTheTokenExpires(t *testing.T) {
	t.Parallel()
	for language, program := range clients(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := newTokenServer(t)
			s.set(func(s *tokenServer) { s.maxAge, s.expiresIn = 0, 1 })
			p := s.start(t, program)
			p.succeeds(t)
			s.set(func(s *tokenServer) { s.status, s.message = http.StatusServiceUnavailable, "the API server is away" })
			testcluster.Eventually(t, "the token expires", func() error {
				if said, ok := p.call(t); ok {
					return errors.New("it still calls WeChat, which says " + said)
				}
				return nil
			})
			p.fails(t, "the API server is away")
		})
	}
}

func TestClientsReportAnInvalidToken(t *testing.T) {
	t.Parallel()
	refuse := func(code, times int) func(*wechattest.Server, string) {
		return func(fake *wechattest.Server, _ string) {
			fake.SetFault(wechattest.Fault{Endpoint: wechattest.Business, Kind: wechattest.FaultErrcode, Code: code, Count: times})
		}
	}
	cases := map[string]struct {
		reason   string
		happens  func(fake *wechattest.Server, token string)
		accepted bool   // the report takes longer than the client waits
		want     string // in the answer
		counts   counts
	}{
		"Revoked": {
			reason:  "The server has the next token as soon as it hears of it.",
			happens: func(fake *wechattest.Server, token string) { fake.Revoke(token) },
			want:    succeeded, counts: counts{Fetches: 1, Reports: 1},
		},
		"AnsweredLate": {
			reason:   "WeChat may take longer than a client waits.",
			happens:  func(fake *wechattest.Server, token string) { fake.Revoke(token) },
			accepted: true,
			want:     succeeded, counts: counts{Fetches: 2, Reports: 1},
		},
		"40014": {
			reason:  "WeChat says invalid in three ways.",
			happens: refuse(40014, 1),
			want:    succeeded, counts: counts{Fetches: 1, Reports: 1},
		},
		"42001": {
			reason:  "WeChat says invalid in three ways.",
			happens: refuse(42001, 1),
			want:    succeeded, counts: counts{Fetches: 1, Reports: 1},
		},
		"Twice": {
			reason:  "A client that tried on and on would spend the quota of the account.",
			happens: refuse(40001, 2),
			want:    "40001", counts: counts{Fetches: 1, Reports: 1},
		},
		"AnotherErrcode": {
			reason:  "A report of a valid token helps nobody.",
			happens: refuse(45009, 1),
			want:    "45009", counts: counts{Fetches: 1},
		},
	}
	for language, program := range clients(t) {
		for name, tc := range cases {
			t.Run(language+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newTokenServer(t)
				p := s.start(t, program)
				p.succeeds(t)
				s.set(func(s *tokenServer) { s.accepted = tc.accepted })
				tc.happens(s.weChat, s.token())
				if said, ok := p.call(t); !ok || !strings.Contains(said, tc.want) {
					t.Fatalf("%s\ngot %q, want %s", tc.reason, said, tc.want)
				}
				p.succeeds(t)
				if diff := cmp.Diff(tc.counts, s.counted()); diff != "" {
					t.Errorf("%s\nrequests (-want +got):\n%s", tc.reason, diff)
				}
				want := 3 + tc.counts.Reports
				if got := s.weChat.Counts("").Business.Calls; got != want {
					t.Errorf("%s\ngot %d calls of WeChat, want %d", tc.reason, got, want)
				}
			})
		}
	}
}

func TestClientsThatAreRefusedSayWhy(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		status  int
		message string
	}{
		"NotAllowed": {
			reason: "The credential may be that of another WeChatToken.",
			status: http.StatusForbidden, message: "this credential may not read the WeChatToken: let it name another ServiceAccount",
		},
		"NotLoggedIn": {
			reason: "A credential expires when nobody replaces it.",
			status: http.StatusUnauthorized, message: "the credential has expired: write a new one",
		},
		"NoValidToken": {
			reason: "WeChat may refuse the AppSecret.",
			status: http.StatusConflict, message: "there is no valid token: correct the AppSecret",
		},
		"NoSuchWeChatToken": {
			reason: "A name may be mistyped.",
			status: http.StatusNotFound, message: "there is no such WeChatToken",
		},
		"UnavailableAtFirst": {
			reason: "Without a token there is nothing to go on with.",
			status: http.StatusServiceUnavailable, message: "the API server is away",
		},
	}
	for language, program := range clients(t) {
		for name, tc := range cases {
			t.Run(language+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newTokenServer(t)
				s.set(func(s *tokenServer) { s.status, s.message = tc.status, tc.message })
				p := s.start(t, program)
				if said, ok := p.call(t); ok {
					t.Fatalf("%s\ngot the answer %q, want a failure", tc.reason, said)
				}
				p.fails(t, fmt.Sprint(tc.status), tc.message)
			})
		}
	}
}

func TestClientsThatReachNobodySayWhy(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		env    string
		fault  wechattest.FaultKind
		want   string
	}{
		"NoTokenServer":  {reason: "It may be away.", env: "TOKEN_SERVER=https://127.0.0.1:1", want: "connect"},
		"NoAuthority":    {reason: "The file may be elsewhere.", env: "CA_FILE=testdata/none", want: "testdata/none"},
		"NoCredential":   {reason: "The file may be elsewhere.", env: "CREDENTIAL_FILE=testdata/none", want: "testdata/none"},
		"NoWeChat":       {reason: "Errors of HTTP libraries quote URLs, with the token in them.", env: "WECHAT_URL=http://127.0.0.1:1"},
		"NoURL":          {reason: "Errors of HTTP libraries quote URLs, with the token in them.", env: "WECHAT_URL=https:///"},
		"NoScheme":       {reason: "Errors of HTTP libraries quote URLs, with the token in them.", env: "WECHAT_URL=127.0.0.1:1"},
		"TalkativeProxy": {reason: "Its page quotes the URL.", fault: wechattest.FaultEcho, want: "502"},
		"CutOff":         {reason: "A connection ends in the middle.", fault: wechattest.FaultReset},
	}
	for language, program := range clients(t) {
		for name, tc := range cases {
			t.Run(language+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newTokenServer(t)
				if tc.fault != "" {
					s.weChat.SetFault(wechattest.Fault{Endpoint: wechattest.Business, Kind: tc.fault})
				}
				p := s.start(t, program, tc.env)
				if said, ok := p.call(t); ok {
					t.Fatalf("%s\ngot the answer %q, want a failure", tc.reason, said)
				}
				p.fails(t, tc.want)
			})
		}
	}
}

// Nobody but the token server may see the credential.
func TestClientsTrustOnlyTheirAuthority(t *testing.T) {
	t.Parallel()
	for language, program := range clients(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := newTokenServer(t)
			write(t, s.caFile, string(cluster.Config.CAData))
			p := s.start(t, program)
			if said, ok := p.call(t); ok {
				t.Fatalf("got the answer %q, want a failure", said)
			}
			p.fails(t, "certifi")
			if got := s.counted(); got != (counts{}) {
				t.Errorf("the credential went to an impostor: %+v", got)
			}
		})
	}
}

func TestTheShellHandsNoSecretToArguments(t *testing.T) {
	t.Parallel()
	s := newTokenServer(t)
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	arguments := filepath.Join(dir, "arguments")
	write(t, filepath.Join(dir, "curl"), "#!/bin/sh\nprintf '%s\\n' \"$@\" >>"+arguments+"\nexec "+curl+" \"$@\"\n")
	if err := os.Chmod(filepath.Join(dir, "curl"), 0o700); err != nil {
		t.Fatal(err)
	}
	p := s.start(t, clients(t)["curl"], "PATH="+dir+":"+os.Getenv("PATH"))
	p.succeeds(t)
	s.weChat.Revoke(s.token())
	p.succeeds(t)
	got, err := os.ReadFile(arguments)
	if err != nil || bytes.Count(got, []byte("--config")) != 5 {
		t.Errorf("got %v and the arguments\n%s\nwant those of 5 calls", err, got)
	}
	keepsSecrets(t, &s.secrets, "an argument", string(got))
}

// PHP forgets everything at the end of a request.
func TestTheFileOfPHPServesTheNextRequest(t *testing.T) {
	t.Parallel()
	s := newTokenServer(t)
	cache := filepath.Join(t.TempDir(), "token")
	for range 3 {
		s.start(t, clients(t)["PHP"], "CACHE_FILE="+cache).succeeds(t)
	}
	if diff := cmp.Diff(counts{Fetches: 1}, s.counted()); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	files, err := filepath.Glob(filepath.Join(filepath.Dir(cache), "*"))
	if diff := cmp.Diff([]string{cache}, files); err != nil || diff != "" {
		t.Errorf("%v; files (-want +got):\n%s", err, diff)
	}
	if info, err := os.Stat(cache); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v: others may read the token: %v", err, info.Mode())
	}
}

// languagesAreInstalled is an error if one is not.
var languagesAreInstalled = sync.OnceValue(func() error {
	for _, needed := range append([]string{"curl", "java", "javac", "node", "php", "python3", "sha256sum"}, spring...) {
		_, err := os.Stat(needed)
		if !filepath.IsAbs(needed) {
			_, err = exec.LookPath(needed)
		}
		if err != nil {
			return fmt.Errorf("%w: install it, or let hack/apt.sh do it, as make test does", err)
		}
	}
	if exec.Command("php", "-r", `exit(extension_loaded("curl") ? 0 : 1);`).Run() != nil {
		return errors.New("php has no extension curl: install php-curl")
	}
	return nil
})

// buildClients compiles what a user may run from its source.
var buildClients = sync.OnceValue(func() error {
	if out, err := exec.Command("javac", "--release", "17", "-Xlint:all", "-Werror", "-d", folder, filepath.Join(clientFolder, "Client.java")).CombinedOutput(); err != nil {
		return fmt.Errorf("javac: %w\n%s", err, out)
	}
	return testcluster.Build(folder, "./"+clientFolder+"/client.go")
})

// clients are the commands that call WeChat, by language.
func clients(t *testing.T) map[string][]string {
	t.Helper()
	if err := errors.Join(languagesAreInstalled(), buildClients()); err != nil {
		t.Fatal(err)
	}
	script := func(name string) string { return filepath.Join(clientFolder, name) }
	return map[string][]string{
		"Go":      {filepath.Join(folder, "client")},
		"Java":    {"java", "-XX:TieredStopAtLevel=1", "-cp", folder, "Client"},
		"Node.js": {"node", script("client.mjs")},
		"PHP":     {"php", script("client.php")},
		"Python":  {"python3", script("client.py")},
		"curl":    {"sh", script("client.sh")},
	}
}

func (s *tokenServer) start(t *testing.T, program []string, env ...string) *running {
	t.Helper()
	own := []string{
		"TOKEN_SERVER=" + s.url, "WECHATTOKEN=" + s.weChatToken, "CREDENTIAL_FILE=" + s.credentialFile, "CA_FILE=" + s.caFile,
		"WECHAT_URL=" + s.weChatURL, "CACHE_FILE=" + filepath.Join(t.TempDir(), "token"),
	}
	return startClient(t, program, s.weChat, &s.secrets, append(own, env...))
}

// running is a client that runs.
type running struct {
	cmd     *exec.Cmd
	stdin   io.Writer
	stdout  *bufio.Reader
	stderr  *testcluster.Output
	weChat  *wechattest.Server
	secrets *testcluster.Canaries
}

// startClient starts a program that calls weChat once for each line on its stdin.
func startClient(t *testing.T, program []string, weChat *wechattest.Server, secrets *testcluster.Canaries, env []string) *running {
	t.Helper()
	p := &running{
		cmd: exec.CommandContext(t.Context(), program[0], program[1:]...), stderr: &testcluster.Output{}, weChat: weChat, secrets: secrets,
	}
	p.cmd.Env = append(append(os.Environ(), "NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1"), env...)
	p.cmd.Stderr = p.stderr
	stdin, err1 := p.cmd.StdinPipe()
	stdout, err2 := p.cmd.StdoutPipe()
	if err := errors.Join(err1, err2, p.cmd.Start()); err != nil {
		t.Fatal(err)
	}
	p.stdin, p.stdout = stdin, bufio.NewReader(stdout)
	t.Cleanup(func() {
		_ = p.cmd.Wait() // its context is over, if it has not failed as it was to
		keepsSecrets(t, secrets, "stderr", p.stderr.String())
	})
	return p
}

// call lets the client make one call, and returns WeChat's answer. There is none if
// the client has failed.
func (p *running) call(t *testing.T) (said string, ok bool) {
	t.Helper()
	return p.post(t, "")
}

// post is call with a body.
func (p *running) post(t *testing.T, body string) (said string, ok bool) {
	t.Helper()
	_, _ = io.WriteString(p.stdin, body+"\n") // one that has failed does not read
	said, err := p.stdout.ReadString('\n')
	keepsSecrets(t, p.secrets, "stdout", said)
	return strings.TrimSpace(said), err == nil
}

func (p *running) succeeds(t *testing.T) {
	t.Helper()
	if said, ok := p.call(t); !ok || !strings.Contains(said, succeeded) {
		t.Fatalf("got %q, want an answer with %s; the client says\n%s", said, succeeded, p.stderr)
	}
}

// fails waits for the end of a client, which must say what is wanted.
func (p *running) fails(t *testing.T, want ...string) {
	t.Helper()
	err := p.cmd.Wait()
	for _, want := range want {
		if said := p.stderr.String(); err == nil || said == "" || !strings.Contains(strings.ToLower(said), strings.ToLower(want)) {
			t.Errorf("got %v and\n%s\nwant a failure with %s", err, said, want)
		}
	}
}

// counts are the requests that a token server has got.
type counts struct {
	Fetches, Reports int
	Waited           int // through all of a silence
}

// tokenServer is a token server as its clients see it, for one WeChatToken. It stands
// in front of what gives the tokens, counts, and fails as it is told to.
type tokenServer struct {
	url, weChatToken       string // namespace/name
	caFile, credentialFile string
	weChat                 *wechattest.Server
	weChatURL              string
	source                 tokenSource
	secrets                testcluster.Canaries

	mu        sync.Mutex
	maxAge    int  // in seconds
	expiresIn int  // in seconds, unless 0
	accepted  bool // reports take longer than anybody waits
	status    int  // of a refusal, unless 0
	message   string
	count     counts
	last      string // the token that was given out last
}

// Statuses of what is no answer.
const (
	noAnswer = -1 // the connection is cut off
	silent   = -2 // for as long as silence says, or until the client has left
)

// silence is longer than a client may wait for a token. It is shorter than a report takes.
const silence = 20 * time.Second

// tokenSource gives the tokens of a WeChatToken to those who have its credential.
type tokenSource interface {
	http.Handler

	// renew brings a new token, while the one before goes on working.
	renew(t *testing.T)
	// newCredential makes a credential. The one before is no longer needed.
	newCredential(t *testing.T) string
}

func newTokenServer(t *testing.T) *tokenServer {
	t.Helper()
	dir := t.TempDir()
	s := &tokenServer{
		weChatToken: "shop/official", maxAge: anHour,
		caFile: filepath.Join(dir, "ca.crt"), credentialFile: filepath.Join(dir, "credential"),
	}
	s.weChat, s.weChatURL = s.secrets.FakeWeChat(t, wechattest.Config{})
	s.source = newStub(t, s.weChat, s.weChatURL, s.weChatToken)
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	server.EnableHTTP2 = true                           // as a program in Go has it
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that does not trust it is what is wanted
	server.StartTLS()
	t.Cleanup(server.Close)
	s.url = server.URL
	write(t, s.caFile, string(authorityOf(server)))
	s.replaceCredential(t)
	return s
}

func (s *tokenServer) replaceCredential(t *testing.T) {
	t.Helper()
	credential := s.source.newCredential(t)
	s.secrets.Add("a credential", credential)
	write(t, s.credentialFile, credential+"\n")
}

func (s *tokenServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	report := r.Method == http.MethodPost
	if report {
		s.count.Reports++
	} else {
		s.count.Fetches++
	}
	switch {
	case s.status == noAnswer:
		panic(http.ErrAbortHandler)
	case s.status == silent:
		select {
		case <-r.Context().Done():
		case <-time.After(silence):
			s.count.Waited++
		}
		panic(http.ErrAbortHandler)
	case s.status != 0:
		say(w, s.status, s.message)
		return
	}
	rec := httptest.NewRecorder()
	s.source.ServeHTTP(rec, r)
	var body answer
	if rec.Code != http.StatusOK || json.Unmarshal(rec.Body.Bytes(), &body) != nil {
		say(w, rec.Code, rec.Body.String())
		return
	}
	if report && s.accepted {
		say(w, http.StatusAccepted, "ask again")
		return
	}
	s.last = body.AccessToken
	if s.expiresIn != 0 {
		body.ExpiresIn = s.expiresIn
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", fmt.Sprintf("private, max-age=%d", s.maxAge))
	body.write(w)
}

// answer has the fields of a token server's answer that clients read.
type answer struct {
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"`
}

func (a answer) write(w io.Writer) {
	fmt.Fprintf(w, `{"access_token":%q,"expires_in":%d}`+"\n", a.AccessToken, a.ExpiresIn)
}

func say(w http.ResponseWriter, code int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"code":%d,"reason":%q,"message":%q}`+"\n", code, http.StatusText(code), message)
}

func (s *tokenServer) set(how func(*tokenServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how(s)
}

func (s *tokenServer) counted() counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}

// token is the one that was given out last.
func (s *tokenServer) token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// usesNewest makes a call, which must succeed, and tells if it had an older token than
// the newest.
func (p *running) usesNewest(t *testing.T) error {
	t.Helper()
	p.succeeds(t)
	calls, tokens := p.weChat.Calls(), p.weChat.Tokens()
	if used, newest := calls[len(calls)-1].Token, tokens[len(tokens)-1].Fingerprint; used != newest {
		return fmt.Errorf("it has the token %s, want %s", used, newest)
	}
	return nil
}

func keepsSecrets(t *testing.T, secrets *testcluster.Canaries, where, text string) {
	t.Helper()
	for _, secret := range secrets.In(text) {
		t.Errorf("%s shows %s", where, secret)
	}
}

// stub is a token server that has the tokens from WeChat itself.
type stub struct {
	weChat    *wechattest.Server
	weChatURL string
	path      string

	mu         sync.Mutex
	token      string
	expires    time.Time
	credential string
}

const stubAppID = "wx0123456789abcdef"

func newStub(t *testing.T, weChat *wechattest.Server, weChatURL, weChatToken string) *stub {
	t.Helper()
	namespace, name, _ := strings.Cut(weChatToken, "/")
	s := &stub{weChat: weChat, weChatURL: weChatURL, path: "/v1/namespaces/" + namespace + "/wechattokens/" + name}
	weChat.AddAccount(stubAppID, appSecret)
	s.renew(t)
	return s
}

func (s *stub) renew(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.fetch(); err != nil {
		t.Fatal(err)
	}
}

func (s *stub) fetch() error {
	response, err := http.Get(s.weChatURL + "/cgi-bin/token?grant_type=client_credential&appid=" + stubAppID + "&secret=" + appSecret)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	var said answer // WeChat has the same fields
	if err := json.NewDecoder(response.Body).Decode(&said); err != nil {
		return err
	}
	s.token, s.expires = said.AccessToken, time.Now().Add(time.Duration(said.ExpiresIn)*time.Second)
	return nil
}

func (s *stub) newCredential(*testing.T) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.credential = rand.Text()
	return s.credential
}

func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fingerprint := sha256.Sum256([]byte(s.token))
	body, err := io.ReadAll(r.Body)
	switch {
	case r.Header.Get("Authorization") != "Bearer "+s.credential:
		http.Error(w, "credential", http.StatusUnauthorized)
		return
	case r.Method == http.MethodGet && r.URL.RequestURI() == s.path+"/token":
	case r.Method != http.MethodPost || r.URL.RequestURI() != s.path+"/invalid?wait=30s":
		http.Error(w, r.Method+" "+r.URL.String(), http.StatusNotFound)
		return
	case err != nil || r.Header.Get("Content-Type") != "application/json" || !reportBody.Match(body):
		http.Error(w, "body", http.StatusBadRequest)
		return
	case strings.Contains(string(body), hex.EncodeToString(fingerprint[:8])) && !s.weChat.Valid(s.token):
		if err := s.fetch(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
	}
	answer{s.token, int(time.Until(s.expires).Seconds())}.write(w)
}

// reportBody is what a report says.
var reportBody = regexp.MustCompile(`^\{"fingerprint": ?"[0-9a-f]{16}"\}$`)
