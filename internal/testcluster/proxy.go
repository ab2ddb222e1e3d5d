package testcluster

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// A RoundTrip is a function that is an [http.RoundTripper].
type RoundTrip func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f RoundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Proxy serves the API server until the test ends, to anyone who asks, with an
// administrator's rights. Each request goes through the round trip that through makes
// of the API server's; where that fails the connection breaks. It returns a kubeconfig.
func (c *Cluster) Proxy(tb testing.TB, through func(api http.RoundTripper) RoundTrip) (kubeconfig string) {
	tb.Helper()
	api, err := rest.TransportFor(c.Config)
	if err != nil {
		tb.Fatal(err)
	}
	target, err := url.Parse(c.Config.Host)
	if err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:     through(api),
		FlushInterval: -1, // a watch tells at once
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	})
	tb.Cleanup(server.Close)
	tb.Cleanup(server.CloseClientConnections) // watches would hold up Close
	return WriteKubeconfig(tb, &rest.Config{Host: server.URL})
}

// WriteKubeconfig writes a kubeconfig for cfg, which is removed when the test ends.
func WriteKubeconfig(tb testing.TB, cfg *rest.Config) string {
	tb.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["it"] = &clientcmdapi.Cluster{Server: cfg.Host, CertificateAuthorityData: cfg.CAData}
	c.AuthInfos["it"] = &clientcmdapi.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData, Token: cfg.BearerToken}
	c.Contexts["it"] = &clientcmdapi.Context{Cluster: "it", AuthInfo: "it"}
	c.CurrentContext = "it"
	file := filepath.Join(tb.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, file); err != nil {
		tb.Fatal(err)
	}
	return file
}
