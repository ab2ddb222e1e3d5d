//go:build integration

package config_test

import (
	"path/filepath"
	"testing"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// What kubectl has printed of WeChatTokens brings their tokens back, and costs no forced
// refresh.
func TestABackupOfWeChatTokensIsEnough(t *testing.T) {
	t.Parallel()
	ns, file := newNamespace(t), filepath.Join(t.TempDir(), "wechattokens.yaml")
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
	cluster.serve(t, ns, url)
	shop := cluster.applyWeChatTokens(t, fake, ns, "samples/stable.yaml")[0]
	cluster.awaitReady(t, ns, shop)
	token := func() string {
		return cluster.kubectl(t, "get", "-n", ns, "secret/shop-token", "-o", "jsonpath={.data.access_token}")
	}
	before := token()

	write(t, file, cluster.kubectl(t, "get", "wechattokens", "-n", ns, "-o", "yaml"))
	cluster.kubectl(t, "delete", "-n", ns, "wxt/"+shop)
	cluster.kubectl(t, "delete", "-n", ns, "secret/shop-token") // as the garbage collector does
	cluster.kubectl(t, "apply", "-f", file)
	cluster.awaitReady(t, ns, shop)
	if token() != before {
		t.Error("the token is another one")
	}
	if forced := fake.Counts("").Forced; forced != 0 {
		t.Errorf("%d forced refreshes", forced)
	}
}
