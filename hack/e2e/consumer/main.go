// Command consumer stands for an application of a user: it takes the token from a
// file or from the environment, as the samples do, and calls WeChat with it four
// times a second. It prints a line of JSON for each token it gets to see and for
// each call with one that was invalid. It never prints a token.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"wechattoken.io/operator/hack/e2e/report"
)

func main() {
	file := flag.String("token-file", "", "`file` with the token; the environment variable WECHAT_ACCESS_TOKEN has it when left out")
	url := flag.String("wechat-url", "", "base `URL` of the WeChat API")
	certificate := flag.String("wechat-certificate", "", "the certificate of its signer, as `PEM`")
	flag.Parse()
	if *url == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(*certificate))
	weChat := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	c := consumer{url: *url, weChat: weChat, out: json.NewEncoder(os.Stdout), token: func() (string, error) { return os.Getenv("WECHAT_ACCESS_TOKEN"), nil }}
	if *file != "" {
		c.token = func() (string, error) {
			text, err := os.ReadFile(*file)
			return string(text), err
		}
	}
	c.work(ctx)
}

// The file is looked at more often than WeChat is called: when it changes is
// what the measurement of the propagation wants to know.
const (
	lookEvery = 10 * time.Millisecond
	callEvery = 250 * time.Millisecond
)

type consumer struct {
	url    string
	weChat *http.Client
	token  func() (string, error)
	out    *json.Encoder

	held   string // the fingerprint that was seen last
	called time.Time
	calls  int
}

func (c *consumer) work(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			c.say(report.Line{Event: report.Ended})
			return
		case <-tick.C:
			c.look(ctx)
		}
	}
}

// look reads the token, and calls WeChat if it is time.
func (c *consumer) look(ctx context.Context) {
	token, err := c.token()
	if err != nil {
		c.say(report.Line{Event: report.Failed, Detail: err.Error()})
		time.Sleep(callEvery)
		return
	}
	sum := sha256.Sum256([]byte(token))
	if f := fmt.Sprintf("%x", sum[:8]); f != c.held {
		c.held = f
		c.say(report.Line{Event: report.Token})
	}
	if time.Since(c.called) < callEvery {
		return
	}
	c.called = time.Now()
	code, err := c.call(ctx, token)
	c.calls++
	switch {
	case ctx.Err() != nil:
	case err != nil:
		c.say(report.Line{Event: report.Failed, Detail: strings.ReplaceAll(err.Error(), token, "TOKEN")})
	case code != 0:
		c.say(report.Line{Event: report.Dead, Detail: fmt.Sprintf("errcode %d", code)})
	}
}

func (c *consumer) say(l report.Line) {
	l.At, l.Fingerprint, l.Calls = time.Now(), c.held, c.calls
	if err := c.out.Encode(l); err != nil {
		os.Exit(1) // nobody reads the log
	}
}

// call calls WeChat with the token, and returns the errcode.
func (c *consumer) call(ctx context.Context, token string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/cgi-bin/get_api_domain_ip?access_token="+token, nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.weChat.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var answer struct {
		Errcode int `json:"errcode"`
	}
	text, err := io.ReadAll(resp.Body)
	err = errors.Join(err, json.Unmarshal(text, &answer))
	return answer.Errcode, err
}
