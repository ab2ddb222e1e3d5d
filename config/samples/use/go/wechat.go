//go:build ignore

// Command wechat shows how a server in Go calls WeChat with the access_token of a mounted
// file. It makes one call for each line on stdin, with the line as the body, if there is one.
// Build it with report.go of ../../report-invalid-token in the same folder.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
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
	w := &weChat{
		name:   os.Getenv("WECHATTOKEN"),
		folder: cmp.Or(os.Getenv("WECHAT_FOLDER"), "/etc/wechat"),
		url:    cmp.Or(os.Getenv("WECHAT_URL"), "https://api.weixin.qq.com"),
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer, err := w.call(ctx, "/cgi-bin/getcallbackip", bytes.Clone(lines.Bytes()))
		if err != nil {
			return err
		}
		fmt.Println(string(answer))
	}
	return lines.Err()
}

// weChat calls WeChat with the access_token of the mounted file.
type weChat struct {
	name, folder, url string // name is that of the WeChatToken

	mu       sync.Mutex
	reported string
}

// call returns the answer to GET path, or to POST path with a body in JSON.
func (w *weChat) call(ctx context.Context, path string, body []byte) ([]byte, error) {
	token, err := w.token()
	if err != nil {
		return nil, err
	}
	answer, err := w.send(ctx, path, body, token)
	if err != nil || !refused(answer) {
		return answer, err
	}
	newer, err := w.token()
	if err != nil {
		return nil, err
	}
	if newer != token {
		return w.send(ctx, path, body, newer)
	}
	return answer, w.report(ctx, token)
}

// token reads the file each time: it changes while the program runs.
func (w *weChat) token() (string, error) {
	token, err := os.ReadFile(w.folder + "/access_token")
	return strings.TrimSpace(string(token)), err
}

// report reports a token once.
func (w *weChat) report(ctx context.Context, token string) error {
	if !w.mu.TryLock() {
		return nil // another call reports
	}
	defer w.mu.Unlock()
	if w.reported == token {
		return nil
	}
	err := reportInvalidToken(ctx, w.name, token)
	if err == nil {
		w.reported = token
	}
	return err
}

func refused(answer []byte) bool {
	var said struct{ Errcode int }
	return json.Unmarshal(answer, &said) == nil && slices.Contains([]int{40001, 40014, 42001}, said.Errcode)
}

var client = &http.Client{Timeout: 10 * time.Second}

func (w *weChat) send(ctx context.Context, path string, body []byte, token string) ([]byte, error) {
	method := http.MethodGet
	if len(body) > 0 {
		method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(ctx, method, w.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	query := req.URL.Query()
	query.Set("access_token", token)
	req.URL.RawQuery = query.Encode()
	answer, err := client.Do(req)
	var quoting *url.Error // the URL, with the token in it
	if errors.As(err, &quoting) {
		err = quoting.Err
	}
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, errors.New("WeChat says: " + answer.Status)
	}
	return io.ReadAll(answer.Body)
}
