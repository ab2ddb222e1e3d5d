package wechat

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// What a proxy says is told from what WeChat says, and with its status: nobody finds
// 407 by the words "the request failed".
func TestProxyIsNamed(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(refusing.Close)
	for name, tc := range map[string]struct{ proxy, want string }{
		"Refuses":    {refusing.URL, "the proxy does not connect to WeChat: it answers 407 Proxy Authentication Required"},
		"Unresolved": {"http://proxy.invalid:3128", "the host name of the proxy does not resolve"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy, err := url.Parse(strings.Replace(tc.proxy, "http://", "http://ops:s3cret@", 1))
			if err != nil {
				t.Fatal(err)
			}
			through := newTransport(10 * time.Second)
			through.Proxy = http.ProxyURL(proxy)
			t.Cleanup(through.CloseIdleConnections)
			c := NewClientWithTransports("https://api.weixin.qq.com", 10*time.Second, through, through)
			_, err = c.StableToken(t.Context(), Credentials{AppID: "wx0123456789abcdef", AppSecret: strings.Repeat("0", 32)}, false)
			if failed, ok := errors.AsType[*Error](err); !ok || failed.Message != tc.want || failed.Lost {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
