//go:build integration

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m, 4)) }

const token = `
apiVersion: wechattoken.io/v1alpha1
kind: WeChatToken
metadata: {name: shop}
spec: {appID: wx0123456789abcdef, appSecretRef: {name: shop-app}}
`

func newSetup(t *testing.T) (setup, *testcluster.Namespace, *bytes.Buffer) {
	t.Helper()
	ns := testcluster.NewNamespace(t)
	c, err := dynamic.NewForConfig(ns.Config)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	return setup{client: c, namespace: ns.Name, address: "10.43.7.8", token: []byte(token), out: &out}, ns, &out
}

func versions(t *testing.T, ns *testcluster.Namespace) string {
	t.Helper()
	out, err := ns.Kubectl("get", "-n", ns.Name, "secret/fake-wechat", "configmap/fake-wechat", "wechattoken/shop", "secret/shop-app", "-o", "custom-columns=V:.metadata.resourceVersion").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// The certificate is for the address of the Service, who signs it is published, and what is
// there stays when the pod runs once more.
func TestSetupMakesWhatIsMissing(t *testing.T) {
	t.Parallel()
	s, ns, _ := newSetup(t)
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var secret corev1.Secret
	var published corev1.ConfigMap
	key := client.ObjectKey{Name: weChat}
	if err := errors.Join(ns.Get(t.Context(), key, &secret), ns.Get(t.Context(), key, &published)); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(published.Data["ca.crt"]))
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: s.address, Roots: roots}); err != nil {
		t.Errorf("who trusts the ConfigMap does not trust the Secret: %v", err)
	}
	if got := published.Data["url"]; got != "https://10.43.7.8" {
		t.Errorf("WeChat is said to be at %q", got)
	}

	// The operator sends nothing else to WeChat.
	var made corev1.Secret
	if err := ns.Get(t.Context(), client.ObjectKey{Name: app}, &made); err != nil || !regexp.MustCompile(`^[0-9a-f]{32}$`).Match(made.Data["appsecret"]) {
		t.Errorf("%v: what was made as the AppSecret is none", err)
	}

	before := versions(t, ns)
	// The pod was ended between the Secret and the ConfigMap.
	if err := ns.Delete(t.Context(), &published); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	var again corev1.ConfigMap
	if err := ns.Get(t.Context(), key, &again); err != nil || again.Data["ca.crt"] != published.Data["ca.crt"] {
		t.Errorf("%v: the second time another certificate was published", err)
	}
	was, is := strings.Fields(before), strings.Fields(versions(t, ns))
	if diff := cmp.Diff(slices.Delete(was, 2, 3), slices.Delete(is, 2, 3)); diff != "" { // but for the ConfigMap
		t.Errorf("the second time the Secrets or the WeChatToken changed (-once +twice):\n%s", diff)
	}
}

// A CRD of the same `kubectl apply` is served a moment later: until then there is no such
// path.
func TestSetupWaitsForTheCRD(t *testing.T) {
	t.Parallel()
	s, ns, out := newSetup(t)
	const early = 2
	tries := 0
	cfg := rest.CopyConfig(ns.Config)
	cfg.Wrap(func(api http.RoundTripper) http.RoundTripper {
		return testcluster.RoundTrip(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/wechattokens") {
				if tries++; tries <= early {
					r.URL.Path += "-not-served-yet"
				}
			}
			return api.RoundTrip(r)
		})
	})
	var err error
	if s.client, err = dynamic.NewForConfig(cfg); err != nil {
		t.Fatal(err)
	}
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if tries != early+1 || strings.Count(out.String(), "WeChatToken: the server could not find the requested resource") != early {
		t.Errorf("after %d tries it has said:\n%s", tries, out)
	}
	versions(t, ns) // all is there
}

// Not all clusters have IPv4, and before the kubelet knows the Service there is no address.
func TestTheAddressIsTheServices(t *testing.T) {
	t.Parallel()
	if got := (setup{address: "fd00:10:96::50"}).url(); got != "https://[fd00:10:96::50]" {
		t.Errorf("got %s", got)
	}
	if err := (setup{namespace: "elsewhere"}).run(t.Context()); err == nil || !strings.Contains(err.Error(), `the namespace "elsewhere"`) {
		t.Errorf("got %v, want an error that names the namespace", err)
	}
}
