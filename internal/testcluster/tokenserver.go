package testcluster

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	certutil "k8s.io/client-go/util/cert"
)

// A TokenServer is the program of that name, as a process.
type TokenServer struct {
	*Program

	// URL is where it serves tokens.
	URL string
	// CAFile has the certificate that clients trust, CertFile and KeyFile what it serves with.
	CAFile, CertFile, KeyFile string
	// Client trusts it, and keeps connections.
	Client *http.Client
}

// StartTokenServer starts the program with a certificate. Flags given replace those that
// are usual here: no metrics. It ends with the test at the latest.
func (c *Cluster) StartTokenServer(tb testing.TB, program string, flags ...string) *TokenServer {
	tb.Helper()
	address, err := FreeAddress()
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	s := &TokenServer{URL: "https://" + address, CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key")}
	s.CAFile = s.CertFile
	s.WriteCertificate(tb)
	s.Program = c.startProgram(tb, program, append([]string{
		"--bind-address=" + address,
		"--metrics-bind-address=0",
		"--tls-cert-file=" + s.CertFile,
		"--tls-private-key-file=" + s.KeyFile,
	}, flags...))
	tb.Cleanup(s.Client.CloseIdleConnections)
	return s
}

// WriteCertificate makes a new certificate, and a Client that trusts only that.
func (s *TokenServer) WriteCertificate(tb testing.TB) {
	tb.Helper()
	certificate, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	for file, content := range map[string][]byte{s.KeyFile: key, s.CertFile: certificate} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(certificate)
	s.Client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 64,
	}}
}

// Get asks for a path with a credential; headers are pairs of name and value.
func (s *TokenServer) Get(tb testing.TB, path, credential string, headers ...string) (*http.Response, string) {
	tb.Helper()
	return s.do(tb, http.MethodGet, path, credential, nil, headers)
}

// Post sends a body.
func (s *TokenServer) Post(tb testing.TB, path, credential string, body io.Reader, headers ...string) (*http.Response, string) {
	tb.Helper()
	return s.do(tb, http.MethodPost, path, credential, body, headers)
}

func (s *TokenServer) do(tb testing.TB, method, path, credential string, body io.Reader, headers []string) (*http.Response, string) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), method, s.URL+path, body)
	if err != nil {
		tb.Fatal(err)
	}
	if credential != "" {
		req.Header.Set("Authorization", "Bearer "+credential)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := s.Client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return resp, string(text)
}
