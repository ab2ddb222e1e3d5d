//go:build integration

package config_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/testcluster"
)

const reportFolder = "samples/report-invalid-token"

// invalidToken is as long and looks as WeChat's.
var invalidToken = strings.Repeat("99_J", 34)

func TestEachLanguageReportsAnInvalidToken(t *testing.T) {
	t.Parallel()
	sum := sha256.Sum256([]byte(invalidToken))
	for language, program := range reporters(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			ns := newShop(t)
			server := accountFolder(t, ns, cluster.serviceAccount(t, ns, "shop-server"))
			before := time.Now()
			if said, err := report(t, program, server, "shop", cluster.Config.Host); err != nil || said != "" {
				t.Errorf("got %v and %q, want silence", err, said)
			}
			got := invalidTokenOf(t, ns)
			fingerprint, at, _ := strings.Cut(got, "@")
			if fingerprint != hex.EncodeToString(sum[:8]) {
				t.Errorf("got %q, want the fingerprint %x", got, sum[:8])
			}
			// A second report of the same token is a new one.
			if told, err := time.Parse(time.RFC3339, at); err != nil || told.Before(before.Truncate(time.Second)) || told.After(time.Now()) || !strings.HasSuffix(at, "Z") {
				t.Errorf("got the time %q, want now in UTC: %v", at, err)
			}
		})
	}
}

// A pod may have a proxy for WeChat, and its cluster IPv6 addresses alone.
func TestTheReportGoesStraightToTheAPIServer(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp6", "[::1]:0")
	if err != nil { // where there is no IPv6 a pod has none to use
		listener, err = net.Listen("tcp4", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	srv := apiServerAt(t, listener)
	for language, program := range reporters(t) {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			ns := newShop(t)
			who := cluster.serviceAccount(t, ns, "shop-server")
			who.CAData = authorityOf(srv)
			server := accountFolder(t, ns, who)
			const proxy = "=http://127.0.0.1:1"
			if said, err := report(t, program, server, "shop", srv.URL, "HTTPS_PROXY"+proxy, "https_proxy"+proxy); err != nil {
				t.Errorf("got %v and %q", err, said)
			}
			if invalidTokenOf(t, ns) == "" {
				t.Error("nothing is reported")
			}
		})
	}
}

func TestAReportThatFailsSaysWhy(t *testing.T) {
	t.Parallel()
	ns := newShop(t)
	cluster.kubectl(t, "create", "serviceaccount", "stranger", "-n", ns)
	server, stranger := cluster.serviceAccount(t, ns, "shop-server"), cluster.serviceAccount(t, ns, "stranger")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	impostor := apiServerAt(t, listener)
	gone := rest.CopyConfig(server)
	gone.BearerToken = "x." + gone.BearerToken // as one that has expired

	cases := map[string]struct {
		reason  string
		folder  string
		shop    string
		address string
		want    string
	}{
		"NoRole": {
			reason: "Nobody is told of a report that was not taken, unless by the program.",
			folder: accountFolder(t, ns, stranger), shop: "shop", address: cluster.Config.Host,
			want: `User \"system:serviceaccount:` + ns + `:stranger\" cannot patch resource \"wechattokens\"`,
		},
		"NotLoggedIn": {
			reason: "A program that keeps its credential has an old one after an hour.",
			folder: accountFolder(t, ns, gone), shop: "shop", address: cluster.Config.Host,
			want: "Unauthorized",
		},
		"NoSuchWeChatToken": {
			reason: "A name may be mistyped.",
			folder: accountFolder(t, ns, server), shop: "shoe", address: cluster.Config.Host,
			want: `\"shoe\" not found`,
		},
		"Impostor": {
			reason: "Nobody but the API server may see the credential.",
			folder: accountFolder(t, ns, server), shop: "shop", address: impostor.URL,
			want: "certifi",
		},
		"NobodyThere": {
			reason: "The API server may be away.",
			folder: accountFolder(t, ns, server), shop: "shop", address: "https://127.0.0.1:1",
			want: "connect",
		},
		"NoServiceAccount": {
			reason: "A pod may have no ServiceAccount mounted.",
			folder: filepath.Join(t.TempDir(), "none"), shop: "shop", address: cluster.Config.Host,
			want: "none/namespace",
		},
	}
	for language, program := range reporters(t) {
		for name, tc := range cases {
			t.Run(language+"/"+name, func(t *testing.T) {
				t.Parallel()
				said, err := report(t, program, tc.folder, tc.shop, tc.address)
				if err == nil || !strings.Contains(strings.ToLower(said), strings.ToLower(tc.want)) {
					t.Errorf("%s\ngot %v and\n%s\nwant a failure with %s", tc.reason, err, said, tc.want)
				}
			})
		}
	}
	t.Cleanup(func() { // when all of them have ended
		if got := invalidTokenOf(t, ns); got != "" {
			t.Errorf("%s is reported", got)
		}
	})
}

func TestThePodThatReportsIsConfined(t *testing.T) {
	t.Parallel()
	spec := only(t, ofKind[appsv1.Deployment](t, "Deployment", objectsIn(t, filepath.Join(reportFolder, "server.yaml")))).Spec.Template.Spec
	if spec.ServiceAccountName != "shop-server" || spec.AutomountServiceAccountToken == nil || !*spec.AutomountServiceAccountToken {
		t.Error("the pod has no credential to report with")
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "shop-server", Namespace: newShop(t)}, Spec: spec}
	if err := cluster.admin(t).Create(t.Context(), pod, client.DryRunAll); err != nil {
		t.Error(err)
	}
	const mounted = `/var/run/secrets/kubernetes.io/serviceaccount` // by the kubelet
	for _, name := range []string{"InvalidToken.java", "report.go", "report.mjs", "report.php", "report.py", "report.sh"} {
		text, err := os.ReadFile(filepath.Join(reportFolder, name))
		if err != nil || !regexp.MustCompile(mounted+`["'}]`).Match(text) {
			t.Errorf("%s does not look into %s: %v", name, mounted, err)
		}
	}
}

// newShop is a namespace with a business server's ServiceAccount, and with the
// WeChatToken shop, suspended, so that no operator minds it.
func newShop(t *testing.T) string {
	t.Helper()
	ns := newNamespace(t)
	cluster.kubectl(t, "apply", "--server-side", "--validate=strict", "-n", ns, "-f", filepath.Join(reportFolder, "server.yaml"))
	shop := newPrecious(ns)
	shop.SetName("shop")
	if err := cluster.admin(t).Create(t.Context(), shop); err != nil {
		t.Fatal(err)
	}
	return ns
}

func invalidTokenOf(t *testing.T, namespace string) string {
	t.Helper()
	return cluster.kubectl(t, "get", "wxt/shop", "-n", namespace, "-o", `jsonpath={.metadata.annotations.wechattoken\.io/invalid-token}`)
}

var buildReport = sync.OnceValue(func() error {
	return testcluster.Build(folder, "./"+reportFolder+"/report.go", "./"+reportFolder+"/main.go")
})

// reporters are the commands that report an invalid token.
func reporters(t *testing.T) map[string][]string {
	t.Helper()
	script := func(name string) string { return filepath.Join(reportFolder, name) }
	program := filepath.Join(folder, "report")
	if err := errors.Join(languagesAreInstalled(), buildReport(), buildServers()); err != nil {
		t.Fatal(err)
	}
	return map[string][]string{
		"Go":      {program},
		"Java":    {"java", "-XX:TieredStopAtLevel=1", "-cp", folder, "com.example.shop.InvalidToken"},
		"Node.js": {"node", script("report.mjs")},
		"PHP":     {"php", script("report.php")},
		"Python":  {"python3", script("report.py")},
		"curl":    {"sh", script("report.sh")},
	}
}

// accountFolder is what the kubelet mounts for a ServiceAccount.
func accountFolder(t *testing.T, namespace string, who *rest.Config) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "namespace"), namespace)
	write(t, filepath.Join(dir, "token"), who.BearerToken)
	write(t, filepath.Join(dir, "ca.crt"), string(who.CAData))
	return dir
}

// report runs a program as in a pod, and returns what it says, which is neither
// the token nor the credential.
func report(t *testing.T, program []string, folder, weChatToken, address string, env ...string) (string, error) {
	t.Helper()
	api, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program[0], append(slices.Clone(program[1:]), weChatToken)...)
	cmd.Env = append(append(os.Environ(), env...), "SERVICEACCOUNT_DIR="+folder,
		"KUBERNETES_SERVICE_HOST="+api.Hostname(), "KUBERNETES_SERVICE_PORT="+api.Port())
	cmd.Stdin = strings.NewReader(invalidToken + "\n") // the file has no line feed, echo does
	out, err := cmd.CombinedOutput()
	credential, _ := os.ReadFile(filepath.Join(folder, "token")) // in one case there is none
	for what, secret := range map[string]string{"token": invalidToken, "credential": string(credential)} {
		if secret != "" && strings.Contains(string(out), secret) {
			t.Errorf("it prints the %s:\n%s", what, out)
		}
	}
	return string(out), err
}

// apiServerAt is the API server at another address, with a certificate of its own.
func apiServerAt(t *testing.T, l net.Listener) *httptest.Server {
	t.Helper()
	behind, err := url.Parse(cluster.Config.Host)
	if err != nil {
		t.Fatal(err)
	}
	transport, err := rest.TransportFor(rest.AnonymousClientConfig(cluster.Config))
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(behind) },
		Transport: transport,
	})
	srv.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that does not trust it is what is wanted
	srv.Listener.Close()
	srv.Listener = l
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func authorityOf(srv *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
}
