//go:build ignore

// Command client shows how a server in Go calls WeChat with the access_token that the token
// server has. It makes one call for each line on stdin.
package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	w := &weChat{}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := w.call(ctx, "/cgi-bin/getcallbackip")
		if err != nil {
			return err
		}
		fmt.Println(string(answer))
	}
	return lines.Err()
}

// weChat calls WeChat with the access_token that the token server has.
type weChat struct {
	mu             sync.Mutex
	token          string
	fresh, expires time.Time // until when to use the token without asking, and when nobody answers
}

// call returns the answer to GET path; when WeChat refuses the token, the answer with the next one.
func (w *weChat) call(ctx context.Context, path string) ([]byte, error) {
	token, err := w.accessToken(ctx, "")
	if err != nil {
		return nil, err
	}
	answer, err := get(ctx, path, token)
	var refusal struct{ Errcode int }
	if err != nil || json.Unmarshal(answer, &refusal) != nil || !slices.Contains([]int{40001, 40014, 42001}, refusal.Errcode) {
		return answer, err
	}
	if token, err = w.accessToken(ctx, token); err != nil {
		return nil, err
	}
	return get(ctx, path, token)
}

// accessToken returns the token to use now, and reports the one that WeChat refused.
func (w *weChat) accessToken(ctx context.Context, refused string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.token != refused && time.Now().Before(w.fresh) {
		return w.token, nil
	}
	err := w.ask(ctx, refused)
	return w.token, err
}

func (w *weChat) ask(ctx context.Context, refused string) error {
	asked := time.Now()
	credential, err1 := os.ReadFile(os.Getenv("CREDENTIAL_FILE")) // each time: it gets replaced
	authority, err2 := os.ReadFile(os.Getenv("CA_FILE"))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	method, path, report, timeout := http.MethodGet, "token", "", 6*time.Second
	if refused != "" {
		fingerprint := sha256.Sum256([]byte(refused))
		method, path, report, timeout = http.MethodPost, "invalid?wait=30s", fmt.Sprintf(`{"fingerprint":"%x"}`, fingerprint[:8]), 40*time.Second
	}
	namespace, name, _ := strings.Cut(os.Getenv("WECHATTOKEN"), "/")
	server := os.Getenv("TOKEN_SERVER") + "/v1/namespaces/" + namespace + "/wechattokens/" + name + "/"
	req, err := http.NewRequestWithContext(ctx, method, server+path, strings.NewReader(report))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+strings.Join(strings.Fields(string(credential)), ""))
	req.Header.Set("Content-Type", "application/json")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	answer, said, err := do(&http.Client{Transport: transport, Timeout: timeout}, req)
	switch {
	case (err != nil || answer.StatusCode == 429 || answer.StatusCode >= 500) && time.Now().Before(w.expires):
		w.fresh = time.Now().Add(5 * time.Second) // the token that is there is good
		return nil
	case err != nil:
		return err
	case answer.StatusCode == http.StatusAccepted:
		return w.ask(ctx, "")
	case answer.StatusCode != http.StatusOK:
		return fmt.Errorf("the token server says: %s %s", answer.Status, said)
	}
	var body struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal(said, &body); err != nil {
		return err
	}
	var maxAge int // 0 where there is none
	_, after, _ := strings.Cut(answer.Header.Get("Cache-Control"), "max-age=")
	fmt.Sscan(after, &maxAge)
	w.token = body.AccessToken
	w.fresh = asked.Add(time.Duration(maxAge) * time.Second)
	w.expires = asked.Add(time.Duration(body.ExpiresIn) * time.Second)
	return nil
}

func get(ctx context.Context, path, token string) ([]byte, error) {
	base := cmp.Or(os.Getenv("WECHAT_URL"), "https://api.weixin.qq.com")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+path, nil)
	if err != nil {
		return nil, err
	}
	query := req.URL.Query()
	query.Set("access_token", token)
	req.URL.RawQuery = query.Encode()
	answer, said, err := do(&http.Client{Timeout: 10 * time.Second}, req)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = errors.New("WeChat says: " + answer.Status)
	}
	var quoting *url.Error // the URL, with the token in it
	if errors.As(err, &quoting) {
		err = quoting.Err
	}
	return said, err
}

func do(client *http.Client, req *http.Request) (*http.Response, []byte, error) {
	answer, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	return answer, said, err
}
