package main

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// What WeChat says to each token is printed, and no token ever.
func TestEachCallIsPrintedWithoutItsToken(t *testing.T) {
	t.Parallel()
	const appID, secret = "wx0123456789abcdef", "0123456789abcdef0123456789abcdef"
	fake := wechattest.New(wechattest.Config{})
	fake.AddAccount(appID, secret)
	server := httptest.NewTLSServer(fake)
	t.Cleanup(server.Close)

	issue := func() string {
		t.Helper()
		resp, err := server.Client().Get(server.URL + "/cgi-bin/token?grant_type=client_credential&appid=" + appID + "&secret=" + secret)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var body bytes.Buffer
		if _, err := body.ReadFrom(resp.Body); err != nil {
			t.Fatal(err)
		}
		return strings.Split(body.String(), `"`)[3]
	}
	first, second := issue(), issue()
	var out bytes.Buffer
	c := consumer{file: filepath.Join(t.TempDir(), "access_token"), url: server.URL, weChat: server.Client(), out: &out}
	call := func(token string) string {
		t.Helper()
		out.Reset()
		if err := os.WriteFile(c.file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := c.once(t.Context()); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(out.String(), token) {
			t.Errorf("it prints the token: %s", out.String())
		}
		_, line, _ := strings.Cut(out.String(), " ") // the time
		return line
	}
	sees := func(token, answer string) {
		t.Helper()
		if got, want := call(token), "token "+record.Fingerprint(token)+": "+answer; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "\n") {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	sees(first, "ok\n")
	sees(second, "ok (a new token)\n")
	sees(second, "ok\n")
	fake.Revoke(second)
	sees(second, "errcode 40001: ")
	server.Close()
	sees(second, "no answer: ")
}

func TestAConsumerNeedsWeChat(t *testing.T) {
	t.Parallel()
	c := consumer{file: "none", url: ""}
	if err := c.consume(context.Background()); err == nil || !strings.Contains(err.Error(), "WECHAT_URL") {
		t.Errorf("got %v, want an error that names WECHAT_URL", err)
	}
}
