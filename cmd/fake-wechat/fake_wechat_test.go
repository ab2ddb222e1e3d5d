package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certutil "k8s.io/client-go/util/cert"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

const (
	appID  = "wx0123456789abcdef"
	secret = "a-secret-for-tests"
)

func secretFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestParse(t *testing.T) {
	t.Parallel()
	file, empty := secretFile(t, secret+"\n"), secretFile(t, "\n")
	cases := map[string]struct {
		reason string
		args   []string
		change func(*options) // of what no arguments give
		err    string         // a part of it
	}{
		"Nothing": {reason: "WeChat's values hold."},
		"Compressed": {
			reason: "Time can be compressed.",
			args:   []string{"--life", "40s", "--window=10s", "--overlap", "10s", "--force-spacing", "1s", "--latency", "5ms"},
			change: func(o *options) {
				o.config.Life, o.config.Window, o.config.Overlap = 40*time.Second, 10*time.Second, 10*time.Second
				o.config.ForceSpacing, o.config.Latency = time.Second, 5*time.Millisecond
			},
		},
		"Limits": {
			reason: "Every limit has a flag.",
			args: []string{"--forced-per-day", "1", "--force-refused-code", "45009", "--classic-per-day", "2",
				"--stable-per-minute", "3", "--stable-per-day", "4", "--business-per-day", "5", "--token-length", "512"},
			change: func(o *options) {
				c := &o.config
				c.ForcedPerDay, c.ForceRefusedCode, c.ClassicPerDay, c.StablePerMinute, c.StablePerDay, c.BusinessPerDay, c.TokenLength = 1, 45009, 2, 3, 4, 5, 512
			},
		},
		"Tickets": {
			reason: "Tickets have a time of their own.",
			args:   []string{"--ticket-life=40s", "--ticket-overlap=20s", "--tickets-per-day=5"},
			change: func(o *options) {
				o.config.TicketLife, o.config.TicketOverlap, o.config.TicketsPerDay = 40*time.Second, 20*time.Second, 5
			},
		},
		"Clock": {
			reason: "The clock can be wrong.",
			args:   []string{"--clock-offset=-90s"},
			change: func(o *options) { o.config.ClockOffset = -90 * time.Second },
		},
		"NoTicketOverlap": {
			reason: "An overlap of 0 is none, and not WeChat's.",
			args:   []string{"--ticket-overlap=0s", "--tickets-per-day=0"},
			change: func(o *options) { o.config.TicketOverlap, o.config.TicketsPerDay = -1, -1 },
		},
		"None": {
			reason: "A limit of 0 is none, and not WeChat's.",
			args:   []string{"--classic-per-day", "0", "--business-per-day", "0", "--window", "0s"},
			change: func(o *options) { o.config.ClassicPerDay, o.config.BusinessPerDay, o.config.Window = -1, -1, -1 },
		},
		"Accounts": {
			reason: "An AppSecret comes from a file, without its line end.",
			args:   []string{"--account", appID + "=" + file, "--open-accounts", "--quiet", "--listen", ":1"},
			change: func(o *options) {
				o.accounts[appID] = secret
				o.config.OpenAccounts, o.quiet, o.listen = true, true, ":1"
			},
		},
		"AllowIPs": {
			reason: "An address is a prefix of its own.",
			args:   []string{"--allow-ip", "192.0.2.7", "--allow-ip", "2001:db8::/32"},
			change: func(o *options) {
				o.config.AllowIPs = []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32")}
			},
		},
		"AccountWithoutFile": {reason: "There must be a file.", args: []string{"--account", appID}, err: "APPID=FILE"},
		"NoSuchFile":         {reason: "The file must exist.", args: []string{"--account", appID + "=" + file + "x"}, err: "no such file"},
		"EmptyFile":          {reason: "The file must hold something.", args: []string{"--account", appID + "=" + empty}, err: "holds no AppSecret"},
		"BadIP":              {reason: "An address is checked.", args: []string{"--allow-ip", "x"}, err: "must be an address"},
		"BadConfig":          {reason: "What can not work is refused.", args: []string{"--life", "40s"}, err: "window is 5m0s"},
		"NoTicketLife":       {reason: "So is that of a ticket.", args: []string{"--ticket-life", "0s"}, err: "ticket life"},
		"NoLife":             {reason: "A life of 0 is not WeChat's.", args: []string{"--life", "0s"}, err: "life"},
		"CertWithoutKey":     {reason: "A certificate needs its key.", args: []string{"--tls-cert-file", file}, err: "--tls-key-file"},
		"KeyWithoutCert":     {reason: "A key needs its certificate.", args: []string{"--tls-key-file", file}, err: "--tls-cert-file"},
		"NoCertificate":      {reason: "The files must be what they are said to be.", args: []string{"--tls-cert-file", file, "--tls-key-file", file}, err: "--tls-cert-file"},
		"Argument":           {reason: "There are no arguments.", args: []string{"x"}, err: `unexpected argument "x"`},
		"Flag":               {reason: "An unknown flag is refused.", args: []string{"--x"}, err: "-x"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parse(tc.args)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("%s\ngot %v, want an error with %q", tc.reason, err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s\n%v", tc.reason, err)
			}
			want := options{listen: "127.0.0.1:8090", config: wechattest.Defaults(), accounts: map[string]string{}, stdout: os.Stdout, stderr: os.Stderr}
			if tc.change != nil {
				tc.change(&want)
			}
			opts := cmp.Options{
				cmp.AllowUnexported(options{}),
				cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
				cmp.Comparer(func(a, b io.Writer) bool { return a == b }),
			}
			if diff := cmp.Diff(want, got, opts); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

func TestHelpIsNoMistake(t *testing.T) {
	stdout := os.Stdout
	t.Cleanup(func() { os.Stdout = stdout })
	out, err := os.Create(filepath.Join(t.TempDir(), "help"))
	if err != nil {
		t.Fatal(err)
	}
	os.Stdout = out
	if _, err := parse([]string{"--help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("got %v, want flag.ErrHelp", err)
	}
	help, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"--life 40s --window 10s --overlap 10s", "/fake/", "-open-accounts"} {
		if !strings.Contains(string(help), part) {
			t.Errorf("no %q in the help", part)
		}
	}
}

// started is a program that runs.
type started struct {
	url  string
	log  *safeBuffer
	stop func() error
}

func start(t *testing.T, args ...string) started {
	t.Helper()
	o, err := parse(append([]string{"--listen", "127.0.0.1:0"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	stdout, w := io.Pipe()
	log := &safeBuffer{}
	o.stdout, o.stderr = w, log
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx, o) }()

	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if !ok || !strings.Contains(url, "://127.0.0.1:") {
		t.Fatalf("first line: got %q", line)
	}
	return started{url: url, log: log, stop: func() error {
		cancel()
		return <-done
	}}
}

// safeBuffer is written by the program and read by the test.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestProgramServesItsAccounts(t *testing.T) {
	t.Parallel()
	p := start(t, "--account", appID+"="+secretFile(t, secret), "--life", "40s", "--window", "10s")
	body := get(t, p.url+"/cgi-bin/token?grant_type=client_credential&appid="+appID+"&secret="+secret)
	if !strings.HasSuffix(body, `"expires_in":40}`) {
		t.Errorf("got %s, want a token of 40 s", body)
	}
	if help := get(t, p.url+"/fake/"); !strings.Contains(help, "/fake/stats") {
		t.Errorf("GET /fake/: got %q", help)
	}
	if err := p.stop(); err != nil {
		t.Errorf("run: got %v after it was stopped", err)
	}
}

func TestLogHasALineForEveryCallAndNoSecret(t *testing.T) {
	t.Parallel()
	p := start(t, "--open-accounts")
	body := get(t, p.url+"/cgi-bin/token?grant_type=client_credential&appid="+appID+"&secret="+secret)
	token := strings.Split(body, `"`)[3]
	get(t, p.url+"/cgi-bin/get_api_domain_ip?access_token="+token)
	get(t, p.url+"/cgi-bin/get_api_domain_ip?access_token=98_never")
	get(t, p.url+"/cgi-bin/token?grant_type=client_credential&appid="+secret+"&secret="+appID) // swapped
	if err := p.stop(); err != nil {
		t.Errorf("run: got %v", err)
	}

	log := p.log.String()
	for _, part := range []string{
		"endpoint=classic appid=" + appID + " from=127.0.0.1 status=200 errcode=0 rotated=true",
		"endpoint=business appid=" + appID + " from=127.0.0.1 status=200 errcode=0\n",
		"errcode=40001 invalidToken=true",
		`endpoint=classic appid="" from=127.0.0.1 status=200 errcode=40013`,
	} {
		if !strings.Contains(log, part) {
			t.Errorf("no %q in the log:\n%s", part, log)
		}
	}
	if got := strings.Count(log, "\n"); got != 4 {
		t.Errorf("lines: got %d, want 4:\n%s", got, log)
	}
	for _, hidden := range []string{secret, token, "98_never"} {
		if strings.Contains(log, hidden) {
			t.Errorf("%q is in the log", hidden)
		}
	}
}

func TestQuietLogsNoCalls(t *testing.T) {
	t.Parallel()
	p := start(t, "--quiet")
	get(t, p.url+"/cgi-bin/token")
	if err := p.stop(); err != nil || p.log.String() != "" {
		t.Errorf("got %v and %q, want silence", err, p.log.String())
	}
}

func TestStopDoesNotWaitForWhatHangs(t *testing.T) {
	t.Parallel()
	p := start(t, "--quiet")
	resp, err := http.Post(p.url+"/fake/faults", "application/json", strings.NewReader(`{"kind":"hang"}`))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	hung := make(chan error, 1)
	go func() {
		// On a connection that was used before, Go would send a GET again.
		fresh := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		resp, err := fresh.Get(p.url + "/cgi-bin/token")
		if err == nil {
			resp.Body.Close()
			err = fmt.Errorf("status %d", resp.StatusCode)
		}
		hung <- err
	}()
	for !strings.Contains(get(t, p.url+"/fake/stats"), `"hang":1`) {
		time.Sleep(time.Millisecond)
	}
	stopping := time.Now()
	if err := p.stop(); err != nil {
		t.Errorf("run: got %v", err)
	}
	if took := time.Since(stopping); took > grace+5*time.Second {
		t.Errorf("it took %v to stop", took)
	}
	if err := <-hung; !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Errorf("hanging call: got %v, want a broken connection", err)
	}
}

// certificate is one for 127.0.0.1 with its key, in files.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	cert, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return secretFile(t, string(cert)), secretFile(t, string(key))
}

func TestCertificateMeansTLS(t *testing.T) {
	t.Parallel()
	certFile, keyFile := certificate(t)
	p := start(t, "--quiet", "--tls-cert-file", certFile, "--tls-key-file", keyFile)
	if !strings.HasPrefix(p.url, "https://") {
		t.Errorf("it says that it is at %s, want https://", p.url)
	}
	cert, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Get(p.url + "/fake/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", resp.StatusCode)
	}
	if err := p.stop(); err != nil {
		t.Errorf("run: got %v", err)
	}
}

func TestPortInUseIsAnError(t *testing.T) {
	t.Parallel()
	p := start(t, "--quiet")
	o, err := parse([]string{"--listen", strings.TrimPrefix(p.url, "http://")})
	if err != nil {
		t.Fatal(err)
	}
	o.stdout, o.stderr = io.Discard, io.Discard
	if err := run(t.Context(), o); err == nil {
		t.Error("run: got nil on a port in use")
	}
	if err := p.stop(); err != nil {
		t.Errorf("run: got %v", err)
	}
}
