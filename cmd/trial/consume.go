package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"wechattoken.io/operator/internal/record"
)

const every = 2 * time.Second

// consumer is what an application does: it reads the file anew for each call.
type consumer struct {
	file, url string
	weChat    *http.Client
	out       io.Writer

	last string // the fingerprint of the call before
}

// consume calls WeChat until ctx ends.
func (c *consumer) consume(ctx context.Context) error {
	if _, err := url.ParseRequestURI(c.url); err != nil {
		return fmt.Errorf("WECHAT_URL: %w", err)
	}
	for ctx.Err() == nil {
		if err := c.once(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(every):
		}
	}
	return nil
}

// once prints a line: the time, which token the file has, and what WeChat says to it.
func (c *consumer) once(ctx context.Context) error {
	token, err := os.ReadFile(c.file)
	if err != nil {
		return err
	}
	fingerprint, news := record.Fingerprint(string(token)), ""
	if c.last != "" && fingerprint != c.last {
		news = " (a new token)"
	}
	c.last = fingerprint
	answer := c.call(ctx, string(token))
	if ctx.Err() != nil {
		return nil //nolint:nilerr // the end was asked for
	}
	_, err = fmt.Fprintf(c.out, "%s token %s: %s%s\n", time.Now().UTC().Format(time.TimeOnly), fingerprint, answer, news)
	return err
}

// call is what WeChat answers, without the token.
func (c *consumer) call(ctx context.Context, token string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/cgi-bin/get_api_domain_ip?access_token="+url.QueryEscape(token), nil)
	if err != nil {
		return "the URL of WeChat cannot be used" // the error would hold the token
	}
	resp, err := c.weChat.Do(req)
	if err != nil {
		if withURL := (*url.Error)(nil); errors.As(err, &withURL) {
			err = withURL.Err // the URL holds the token
		}
		return "no answer: " + err.Error()
	}
	defer resp.Body.Close()
	var answer struct {
		Errcode int    `json:"errcode"`
		Errmsg  string `json:"errmsg"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Sprintf("HTTP status %d, and no JSON", resp.StatusCode)
	}
	if answer.Errcode != 0 {
		return fmt.Sprintf("errcode %d: %s", answer.Errcode, answer.Errmsg)
	}
	return "ok"
}
