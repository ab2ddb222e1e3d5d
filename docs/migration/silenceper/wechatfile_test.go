package wechatfile_test

import (
	"crypto/sha1"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sdk "github.com/silenceper/wechat/v2"
	"github.com/silenceper/wechat/v2/cache"
	mini "github.com/silenceper/wechat/v2/miniprogram/config"
	official "github.com/silenceper/wechat/v2/officialaccount/config"

	wechatfile "wechattoken.io/operator/docs/migration/silenceper"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

var creds = wechat.Credentials{AppID: "wx0123456789abcdef", AppSecret: "an app secret"}

// The SDK follows the file from one token to the next, and calls for none, not
// even when WeChat calls the one in the file invalid.
func TestSDKFollowsTheFile(t *testing.T) {
	weChat := wechattest.New(wechattest.Config{})
	weChat.AddAccount(creds.AppID, creds.AppSecret)
	operator := wechat.NewClientWithTransports("https://api.weixin.qq.com", 10*time.Second, weChat.Transport(), weChat.Transport())
	token := func(force bool) string {
		t.Helper()
		got, err := operator.StableToken(t.Context(), creds, force)
		if err != nil {
			t.Fatal(err)
		}
		return got.Value
	}
	ticket := func(token string) string {
		t.Helper()
		got, err := operator.Ticket(t.Context(), token, "jsapi")
		if err != nil {
			t.Fatal(err)
		}
		return got.Value
	}
	dir := t.TempDir()
	first := token(false)
	mount(t, dir, map[string]string{"access_token": first, "jsapi_ticket": ticket(first)})

	s := sdk.NewWechat()
	s.SetCache(cache.NewMemory())
	s.SetHTTPClient(&http.Client{Transport: weChat.Transport()})
	account := s.GetOfficialAccount(&official.Config{AppID: creds.AppID, AppSecret: creds.AppSecret})
	account.SetAccessTokenHandle(wechatfile.Token(dir))
	program := s.GetMiniProgram(&mini.Config{AppID: creds.AppID, AppSecret: creds.AppSecret})
	program.SetAccessTokenHandle(wechatfile.Token(dir))
	page := account.GetJs()
	page.SetJsTicketHandle(wechatfile.Ticket(dir))
	uses := func(token, ticket string) {
		t.Helper()
		for name, get := range map[string]func() (string, error){
			"official account": account.GetContext().GetAccessToken,
			"mini program":     program.GetContext().GetAccessToken,
		} {
			if got, err := get(); got != token || err != nil {
				t.Errorf("%s: the token is not the one of the file (%v)", name, err)
			}
		}
		got, err := page.GetConfig("https://shop.example.com/")
		if err != nil {
			t.Fatal(err)
		}
		signed := fmt.Sprintf("jsapi_ticket=%s&noncestr=%s&timestamp=%d&url=https://shop.example.com/", ticket, got.NonceStr, got.Timestamp)
		if want := fmt.Sprintf("%x", sha1.Sum([]byte(signed))); got.Signature != want {
			t.Error("the page is not signed with the ticket of the file")
		}
	}

	before := weChat.Counts("")
	uses(first, ticket(first))
	if _, err := account.GetBasic().GetAPIDomainIP(); err != nil {
		t.Fatal(err)
	}
	weChat.Revoke(first)
	if _, err := account.GetBasic().GetAPIDomainIP(); err == nil || !strings.Contains(err.Error(), "40001") {
		t.Errorf("with an invalid token: got %v, want 40001", err)
	}
	if after := weChat.Counts(""); after.Stable.Calls != before.Stable.Calls || after.Classic.Calls != 0 || after.Ticket.Calls != before.Ticket.Calls+1 {
		t.Errorf("the SDK has called for a token or a ticket: %+v", after)
	}

	second := token(true)
	mount(t, dir, map[string]string{"access_token": second, "jsapi_ticket": "another ticket"})
	uses(second, "another ticket")
	if _, err := account.GetBasic().GetAPIDomainIP(); err != nil {
		t.Error(err)
	}
}

func TestMissingFileIsAnError(t *testing.T) {
	dir := t.TempDir()
	mount(t, dir, map[string]string{"access_token": ""})
	for name, get := range map[string]func() (string, error){
		"empty":   wechatfile.Token(dir).GetAccessToken,
		"missing": func() (string, error) { return wechatfile.Ticket(dir).GetTicket("") },
	} {
		if got, err := get(); got != "" || err == nil {
			t.Errorf("%s: got %q and no error", name, got)
		}
	}
}

// The pages show the code as it is.
func TestThePagesShowTheCode(t *testing.T) {
	code, err := os.ReadFile("wechatfile.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"../silenceper.md", "../../zh/migration/silenceper.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "```go\n"+string(code)+"```\n") {
			t.Errorf("%s does not have wechatfile.go as it is", page)
		}
	}
}

// mount puts files into dir as the kubelet does: a new folder, and a symbolic
// link to it that is replaced at once.
func mount(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	data, err := os.MkdirTemp(dir, "..version-")
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(data, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "..data")
	if err := os.Symlink(filepath.Base(data), link+"_tmp"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(link+"_tmp", link); err != nil {
		t.Fatal(err)
	}
	for name := range files {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil && !os.IsExist(err) {
			t.Fatal(err)
		}
	}
}
