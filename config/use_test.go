//go:build integration

package config_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The pages of docs/use show these programs. Each works with the real operator: a token
// that WeChat has revoked is reported, replaced, and the next call has the next one.
func TestServersWorkWithTheOperator(t *testing.T) {
	t.Parallel()
	secrets := &testcluster.Canaries{}
	fake, weChatURL := secrets.FakeWeChat(t, wechattest.Config{})
	ns := newNamespace(t)
	cluster.kubectl(t, "apply", "--server-side", "--validate=strict", "-n", ns, "-f", filepath.Join(reportFolder, "server.yaml"))
	admin := cluster.admin(t)
	app := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop-app", Namespace: ns}, StringData: map[string]string{"appsecret": appSecret}}
	if err := admin.Create(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	cluster.serve(t, ns, weChatURL)
	account := accountFolder(t, ns, cluster.serviceAccount(t, ns, "shop-server"))
	number := 0
	for language, program := range servers(t) {
		number++
		wt := &v1alpha1.WeChatToken{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("shop-%d", number), Namespace: ns},
			Spec:       v1alpha1.WeChatTokenSpec{AppID: fmt.Sprintf("wx%016d", number), AppSecretRef: v1alpha1.AppSecretReference{Name: "shop-app"}},
		}
		fake.AddAccount(wt.Spec.AppID, appSecret)
		if err := admin.Create(t.Context(), wt); err != nil {
			t.Fatal(err)
		}
		cluster.awaitReady(t, ns, wt.Name)
		token := func() string {
			secret := &corev1.Secret{}
			if err := admin.Get(t.Context(), client.ObjectKeyFromObject(wt), secret); err != nil {
				t.Fatal(err)
			}
			return string(secret.Data["access_token"])
		}
		folder, first := t.TempDir(), token()
		mount(t, folder, first)
		p := startClient(t, program, fake, secrets, serverEnv(t, account, cluster.Config.Host, "WECHATTOKEN="+wt.Name, "WECHAT_FOLDER="+folder, "WECHAT_URL="+weChatURL))
		p.succeeds(t)
		fake.Revoke(first)
		if said, ok := p.call(t); !ok || !strings.Contains(said, "40001") {
			t.Fatalf("%s: got %q with a revoked token; it says\n%s", language, said, p.stderr)
		}
		testcluster.Eventually(t, language+": the revoked token is replaced", func() error {
			if token() == first {
				return errors.New("it is still there")
			}
			return nil
		})
		mount(t, folder, token())
		p.succeeds(t)
	}
}

func TestServersFollowTheFile(t *testing.T) {
	t.Parallel()
	for language, program := range servers(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			p := s.start(t, program)
			p.succeeds(t)

			s.fake.Revoke(s.mounted)
			s.mount(t, s.next(t))
			p.succeeds(t)

			// The kubelet replaces the file just as WeChat refuses what was in it.
			s.fake.Revoke(s.mounted)
			next := s.next(t)
			s.during(func() { s.mount(t, next) })
			p.succeeds(t)

			if diff := cmp.Diff([]string{"GET", "GET", "GET", "GET"}, s.seen()); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
			if got := invalidTokenOf(t, s.namespace); got != "" {
				t.Errorf("%s is reported, and was replaced", got)
			}
		})
	}
}

func TestServersReportATokenOnce(t *testing.T) {
	t.Parallel()
	for language, program := range servers(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			p := s.start(t, program)
			for range 2 {
				p.succeeds(t)
				s.fake.Revoke(s.mounted)
				p.isRefused(t)
				sum := sha256.Sum256([]byte(s.mounted))
				if got, _, _ := strings.Cut(invalidTokenOf(t, s.namespace), "@"); got != hex.EncodeToString(sum[:8]) {
					t.Errorf("got the report %q, want %x; it says\n%s", got, sum[:8], p.stderr)
				}
				cluster.kubectl(t, "annotate", "wxt/shop", "-n", s.namespace, v1alpha1.AnnotationInvalidToken+"-")
				p.isRefused(t)
				if got := invalidTokenOf(t, s.namespace); got != "" {
					t.Errorf("%s is reported again", got)
				}
				s.mount(t, s.next(t))
			}
		})
	}
}

func TestServersSendWhatTheyAreGiven(t *testing.T) {
	t.Parallel()
	for language, program := range servers(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			if said, ok := s.start(t, program).post(t, `{"touser":"张三"}`); !ok {
				t.Errorf("got %q", said)
			}
			// WeChat shows escapes like \u5f20 to users, and answers 412 to a body without a length.
			if diff := cmp.Diff([]post{{"application/json", true, `{"touser":"张三"}`}}, s.posts); diff != "" {
				t.Errorf("posts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServersThatFailSayWhy(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		env     string
		fault   wechattest.FaultKind
		revoked bool
		want    string
	}{
		"NoFile":         {reason: "The Secret may be mounted elsewhere.", env: "WECHAT_FOLDER=testdata/none", want: "testdata/none/access_token"},
		"NoWeChat":       {reason: "Errors of HTTP libraries quote URLs, with the token in them.", env: "WECHAT_URL=http://127.0.0.1:1"},
		"TalkativeProxy": {reason: "Its page quotes the URL.", fault: wechattest.FaultEcho, want: "502"},
		"CutOff":         {reason: "A connection ends in the middle.", fault: wechattest.FaultReset},
		"NoRole":         {reason: "A report that was not taken must not be missed.", revoked: true, want: "cannot patch resource"},
	}
	for language, program := range servers(t) {
		for name, tc := range cases {
			t.Run(language+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newServer(t)
				if tc.fault != "" {
					s.fake.SetFault(wechattest.Fault{Endpoint: wechattest.Business, Kind: tc.fault})
				}
				if tc.revoked {
					s.fake.Revoke(s.mounted)
					cluster.kubectl(t, "delete", "rolebinding", "shop-server-refreshes", "-n", s.namespace)
					testcluster.Eventually(t, "the permission is gone", func() error {
						report := authorizationv1.ResourceAttributes{Verb: "patch", Group: v1alpha1.GroupVersion.Group, Resource: "wechattokens", Namespace: s.namespace}
						if may(t, clientFor(t, s.who), report) {
							return errors.New("it may report")
						}
						return nil
					})
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

// languages are the folders of samples/use whose programs are run. The report is beside
// the program, where a user puts it.
var languages = map[string]string{"go": "report.go", "java": "InvalidToken.java", "nodejs": "report.mjs", "php": "report.php", "python": "report.py"}

// spring are the libraries of Debian's package libspring-context-java.
var spring = []string{
	"/usr/share/java/spring3-aop.jar", "/usr/share/java/spring3-beans.jar", "/usr/share/java/spring3-context.jar",
	"/usr/share/java/spring3-core.jar", "/usr/share/java/spring3-expression.jar", "/usr/share/java/commons-logging.jar",
}

// buildServers puts together what a user puts together.
var buildServers = sync.OnceValue(func() error {
	for language, report := range languages {
		dir := filepath.Join(folder, language)
		text, err := os.ReadFile(filepath.Join(reportFolder, report))
		if err := errors.Join(err, os.CopyFS(dir, os.DirFS(filepath.Join("samples/use", language)))); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, report), text, 0o600); err != nil {
			return err
		}
	}
	java, err := filepath.Glob(filepath.Join(folder, "java", "*.java"))
	if err != nil {
		return err
	}
	javac := exec.Command("javac", append([]string{"--release", "17", "-Xlint:all,-path", "-Werror", "-cp", strings.Join(spring, ":"), "-d", folder}, java...)...)
	if out, err := javac.CombinedOutput(); err != nil {
		return fmt.Errorf("javac: %w\n%s", err, out)
	}
	return testcluster.Build(folder, filepath.Join(folder, "go", "wechat.go"), filepath.Join(folder, "go", "report.go"))
})

// servers are the commands that call WeChat with the token of a file, by language.
func servers(t *testing.T) map[string][]string {
	t.Helper()
	if err := errors.Join(languagesAreInstalled(), buildServers()); err != nil {
		t.Fatal(err)
	}
	return map[string][]string{
		"Go":      {filepath.Join(folder, "wechat")},
		"Java":    {"java", "-XX:TieredStopAtLevel=1", "-cp", folder + ":" + strings.Join(spring, ":"), "com.example.shop.Main"},
		"Node.js": {"node", filepath.Join(folder, "nodejs", "wechat.mjs")},
		"PHP":     {"php", filepath.Join(folder, "php", "wechat.php")},
		"Python":  {"python3", filepath.Join(folder, "python", "wechat.py")},
	}
}

// shopServer is what a program has in its pod, and the WeChat that it calls.
type shopServer struct {
	namespace string
	who       *rest.Config
	folder    string // where the Secret is mounted
	mounted   string // the token there
	fake      *wechattest.Server
	url       string
	source    *stub
	secrets   testcluster.Canaries

	mu    sync.Mutex
	calls []string // their methods
	posts []post
	meet  func()
}

// post is a call with a body.
type post struct {
	ContentType string
	HasLength   bool
	Body        string
}

func newServer(t *testing.T) *shopServer {
	t.Helper()
	s := &shopServer{namespace: newShop(t), folder: t.TempDir(), fake: wechattest.New(wechattest.Config{})}
	s.who = cluster.serviceAccount(t, s.namespace, "shop-server")
	front := httptest.NewServer(s)
	t.Cleanup(front.Close)
	t.Cleanup(front.CloseClientConnections)
	s.url = front.URL
	s.source = newStub(t, s.fake, s.url, s.namespace+"/shop")
	s.secrets.Add("a credential", s.who.BearerToken)
	s.secrets.Add("a token", s.source.token)
	s.mount(t, s.source.token)
	return s
}

// ServeHTTP is the fake WeChat, and notes the business calls.
func (s *shopServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/cgi-bin/getcallbackip" {
		body, _ := io.ReadAll(r.Body) // one that is cut off is not the one that was sent
		s.mu.Lock()
		s.calls = append(s.calls, r.Method)
		if r.Method == http.MethodPost {
			s.posts = append(s.posts, post{r.Header.Get("Content-Type"), r.ContentLength == int64(len(body)), strings.ReplaceAll(string(body), " ", "")})
		}
		meet := s.meet
		s.meet = nil
		s.mu.Unlock()
		if meet != nil {
			meet()
		}
	}
	s.fake.ServeHTTP(w, r)
}

// during has something happen during the next call, before WeChat answers.
func (s *shopServer) during(what func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meet = what
}

// seen are the methods of the calls so far.
func (s *shopServer) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// next is the next token, which is not mounted yet.
func (s *shopServer) next(t *testing.T) string {
	t.Helper()
	s.source.renew(t)
	s.secrets.Add("a token", s.source.token)
	return s.source.token
}

func (s *shopServer) mount(t *testing.T, token string) {
	t.Helper()
	mount(t, s.folder, token)
	s.mounted = token
}

func (s *shopServer) start(t *testing.T, program []string, env ...string) *running {
	t.Helper()
	own := []string{"WECHATTOKEN=shop", "WECHAT_FOLDER=" + s.folder, "WECHAT_URL=" + s.url}
	return startClient(t, program, s.fake, &s.secrets, serverEnv(t, accountFolder(t, s.namespace, s.who), cluster.Config.Host, append(own, env...)...))
}

// serverEnv is the environment of a pod with a ServiceAccount.
func serverEnv(t *testing.T, account, address string, env ...string) []string {
	t.Helper()
	api, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return append(env, "SERVICEACCOUNT_DIR="+account, "TMPDIR="+t.TempDir(),
		"KUBERNETES_SERVICE_HOST="+api.Hostname(), "KUBERNETES_SERVICE_PORT="+api.Port())
}

// isRefused lets the program make a call, which WeChat must refuse, while the program goes on.
func (p *running) isRefused(t *testing.T) {
	t.Helper()
	said, ok := p.call(t)
	var answer struct {
		Errcode int `json:"errcode"`
	}
	if err := json.Unmarshal([]byte(said), &answer); !ok || err != nil || answer.Errcode != 40001 {
		t.Fatalf("got %q (%v), want errcode 40001; it says\n%s", said, err, p.stderr)
	}
}

// mount writes a token as the kubelet does: into another folder, to which one link leads.
// Then it removes the folder before.
func mount(t *testing.T, dir, token string) {
	t.Helper()
	before, _ := filepath.EvalSymlinks(filepath.Join(dir, "..data")) // at first there is none
	data, err := os.MkdirTemp(dir, "..2026_")                        //nolint:usetesting // beside the link
	if err != nil {
		t.Error(err)
		return
	}
	next, file := filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "access_token")
	err1 := os.WriteFile(filepath.Join(data, "access_token"), []byte(token), 0o600)
	err2 := os.Symlink(filepath.Base(data), next)
	err3 := os.Rename(next, filepath.Join(dir, "..data"))
	err4 := os.Symlink(filepath.Join("..data", "access_token"), file)
	if errors.Is(err4, fs.ErrExist) {
		err4 = nil
	}
	if err := errors.Join(err1, err2, err3, err4, os.RemoveAll(before)); err != nil {
		t.Error(err)
	}
}
