package wechattest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// A token that expires after 40 seconds, over a real connection.
func Example() {
	wechat := wechattest.New(wechattest.Config{Life: 40 * time.Second, Window: 10 * time.Second, Overlap: 10 * time.Second})
	wechat.AddAccount("wx0123456789abcdef", "app-secret")
	server := httptest.NewServer(wechat)
	defer server.Close()

	resp, err := http.Post(server.URL+"/cgi-bin/stable_token", "application/json",
		strings.NewReader(`{"grant_type":"client_credential","appid":"wx0123456789abcdef","secret":"app-secret"}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(strings.HasSuffix(string(body), `"expires_in":40}`), wechat.Counts("wx0123456789abcdef").Stable.Rotations)
	// Output: true 1
}

// The next two classic calls are processed, but their answers are lost.
func ExampleServer_SetFault() {
	wechat := wechattest.New(wechattest.Config{})
	wechat.SetFault(wechattest.Fault{Endpoint: wechattest.Classic, Kind: wechattest.FaultLost, Count: 2})

	client := &http.Client{Transport: wechat.Transport()} // no network
	_, err := client.Get("https://api.weixin.qq.com/cgi-bin/token")
	fmt.Println(err)
	// Output: Get "https://api.weixin.qq.com/cgi-bin/token": read tcp: read: connection reset by peer
}
