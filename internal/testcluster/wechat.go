package testcluster

import (
	"net/http/httptest"
	"testing"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// FakeWeChat serves a fake WeChat on loopback until the test ends.
func FakeWeChat(tb testing.TB, cfg wechattest.Config) (fake *wechattest.Server, url string) {
	tb.Helper()
	fake = wechattest.New(cfg)
	server := httptest.NewServer(fake)
	tb.Cleanup(server.Close)
	tb.Cleanup(server.CloseClientConnections) // those that hang would hold up Close
	return fake, server.URL
}
