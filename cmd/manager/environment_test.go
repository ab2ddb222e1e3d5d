package main

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What Go would pass over in silence is refused at the start, with the name of the
// variable and nothing of its value.
func TestBadEnvironmentIsRefused(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(server.Close)
	roots, empty := filepath.Join(t.TempDir(), "roots.pem"), filepath.Join(t.TempDir(), "s3c-empty.pem")
	for file, content := range map[string][]byte{
		roots: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
		empty: []byte("s3c no certificate\n"),
	} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const none = "/nonexistent/s3c"
	cases := map[string]struct {
		reason string
		env    []string
		want   string // the variable to blame; empty for none
	}{
		"Percent":           {"Go takes a % for the begin of an escaped byte", []string{"HTTPS_PROXY=http://ops:s3c%ret@proxy:3128"}, "HTTPS_PROXY"},
		"PercentLowerCase":  {"either name is read", []string{"https_proxy=http://ops:s3c%ret@proxy:3128"}, "https_proxy"},
		"PercentHTTP":       {"the API server may be at http://", []string{"HTTP_PROXY=http://ops:s3c%ret@proxy:3128"}, "HTTP_PROXY"},
		"BothCases":         {"the one that is read first depends on Go", []string{"HTTPS_PROXY=http://proxy:3128", "https_proxy=http://ops:s3c%ret@proxy:3128"}, "https_proxy"},
		"Hash":              {"Go takes the rest for a fragment, and \"http\" for the proxy", []string{"HTTPS_PROXY=http://ops:s3c#ret@proxy:3128"}, "HTTPS_PROXY"},
		"Slash":             {"Go takes the rest for a path", []string{"HTTPS_PROXY=http://ops:12/s3c@proxy:3128"}, "HTTPS_PROXY"},
		"Question":          {"Go takes the rest for a query, and \"ops\" for the proxy", []string{"HTTPS_PROXY=http://ops:12?s3c@proxy:3128"}, "HTTPS_PROXY"},
		"Caret":             {"Go takes \"http\" for the proxy", []string{"HTTPS_PROXY=http://ops:s3c^ret@proxy:3128"}, "HTTPS_PROXY"},
		"Space":             {"a line end too much", []string{"HTTPS_PROXY=http://ops:s3c@proxy:3128\n"}, "HTTPS_PROXY"},
		"NoHost":            {"there is only a port", []string{"HTTPS_PROXY=http://:3128"}, "HTTPS_PROXY"},
		"Scheme":            {"no proxy speaks that", []string{"HTTPS_PROXY=ftp://ops:s3c@proxy:3128"}, "HTTPS_PROXY"},
		"AllProxy":          {"Go does not read it", []string{"ALL_PROXY=socks5://ops:s3c@proxy:1080"}, "ALL_PROXY"},
		"AllProxyLowerCase": {"Go does not read it either", []string{"all_proxy=socks5://ops:s3c@proxy:1080"}, "all_proxy"},
		"NoProxyNetwork":    {"no network has such a mask", []string{"NO_PROXY=example.com,10.0.0.0/99"}, "entry 2 of NO_PROXY"},
		"NoProxyURL":        {"a URL is no host", []string{"no_proxy=http://s3c.example.com"}, "entry 1 of no_proxy"},
		"NoProxySpaces":     {"Go looks for commas", []string{"NO_PROXY=s3c.example.com 10.0.0.1"}, "entry 1 of NO_PROXY"},
		"NoProxyPort":       {"there is only a port", []string{"NO_PROXY=:443"}, "entry 1 of NO_PROXY"},
		"NoProxyWildcard":   {"a wildcard stands only before a domain", []string{"NO_PROXY=10.*"}, "entry 1 of NO_PROXY"},
		"CertFileMissing":   {"Go would trust others instead", []string{"SSL_CERT_FILE=" + none}, "SSL_CERT_FILE"},
		"CertFileEmpty":     {"it holds none", []string{"SSL_CERT_FILE=" + empty}, "SSL_CERT_FILE"},
		"CertDirMissing":    {"Go would trust nobody", []string{"SSL_CERT_DIR=" + none + ":" + none}, "SSL_CERT_DIR"},

		"Nothing":      {"nothing is set", nil, ""},
		"Empty":        {"nothing is in them", []string{"HTTPS_PROXY=", "NO_PROXY=", "ALL_PROXY=", "SSL_CERT_FILE=", "SSL_CERT_DIR="}, ""},
		"Escaped":      {"so it is to be written", []string{"HTTPS_PROXY=http://ops:s3c%25ret@proxy:3128/"}, ""},
		"HostAndPort":  {"Go adds the scheme", []string{"HTTPS_PROXY=proxy:3128", "HTTP_PROXY=proxy"}, ""},
		"SOCKS":        {"Go speaks SOCKS, too", []string{"HTTPS_PROXY=socks5://ops:s3c@[::1]:1080", "ALL_PROXY=socks5://proxy"}, ""},
		"NoProxy":      {"all that Go knows", []string{"NO_PROXY=localhost, 127.0.0.1,::1,[fd00::1]:443,10.0.0.0/8,fd00::/8,.svc,*.example.com,example.com:8443,"}, ""},
		"NoProxyAll":   {"nothing goes through the proxy", []string{"NO_PROXY=*"}, ""},
		"Certificates": {"they are there", []string{"SSL_CERT_FILE=" + roots, "SSL_CERT_DIR=" + none + ":" + filepath.Dir(roots)}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
				t.Setenv(name, "")
				t.Setenv(strings.ToLower(name), "")
			}
			for _, v := range tc.env {
				name, value, _ := strings.Cut(v, "=")
				t.Setenv(name, value)
			}
			err := checkEnvironment()
			if tc.want == "" {
				if err != nil {
					t.Errorf("%s: got %v", tc.reason, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want+" ") {
				t.Fatalf("%s: got %v, want a sentence with %q", tc.reason, err, tc.want)
			}
			for _, hidden := range []string{"s3c", "ops", "ret@", "\n"} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("%q of the value is repeated: %v", hidden, err)
				}
			}
		})
	}
}
