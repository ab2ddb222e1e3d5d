//go:build ignore

package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// reportInvalidToken reports to the WeChatToken called name that WeChat refused token.
func reportInvalidToken(ctx context.Context, name, token string) error {
	dir := cmp.Or(os.Getenv("SERVICEACCOUNT_DIR"), "/var/run/secrets/kubernetes.io/serviceaccount")
	namespace, err1 := os.ReadFile(dir + "/namespace")
	credential, err2 := os.ReadFile(dir + "/token") // each time: Kubernetes replaces it
	authority, err3 := os.ReadFile(dir + "/ca.crt")
	if err := errors.Join(err1, err2, err3); err != nil {
		return err
	}
	fingerprint := sha256.Sum256([]byte(token))
	report := fmt.Sprintf(`{"metadata":{"annotations":{"wechattoken.io/invalid-token":"%x@%s"}}}`,
		fingerprint[:8], time.Now().UTC().Format(time.RFC3339))
	url := "https://" + net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")) +
		"/apis/wechattoken.io/v1alpha1/namespaces/" + string(namespace) + "/wechattokens/" + name
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, url, strings.NewReader(report))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+string(credential))
	req.Header.Set("Content-Type", "application/merge-patch+json")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	answer, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("the report failed: %s %s", answer.Status, said)
	}
	return nil
}
