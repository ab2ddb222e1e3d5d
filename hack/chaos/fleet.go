package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// target is one WeChatToken of the run, and the Secrets of the same name: its
// own, and with "-app" behind it the one with the AppSecret.
type target struct {
	index     int
	namespace string
	name      string
	account   account
}

// key is how a target is written.
func (t target) key() string { return t.namespace + "/" + t.name }

// account is an appid in one mode: what has one token at a time.
type account struct {
	appID string
	mode  v1alpha1.Mode
}

func (a account) String() string { return fmt.Sprintf("%s %s", a.appID, a.mode) }

// endpoint is where WeChat gives out the tokens of the account.
func (a account) endpoint() wechattest.Endpoint {
	if a.mode == v1alpha1.ModeClassic {
		return wechattest.Classic
	}
	return wechattest.Stable
}

// namespaces are where the targets live. Neighbours share an account across
// them.
var namespaces = []string{"chaos-a", "chaos-b", "chaos-c", "chaos-d"}

// fleet is count targets. Of each 14, four have an appid of their own, three
// share one in mode Stable, three in mode Classic, and four share one appid but
// not the mode.
func fleet(count int) []target {
	const (
		s = v1alpha1.ModeStable
		c = v1alpha1.ModeClassic
	)
	pattern := [][]v1alpha1.Mode{{s}, {c}, {s, s, s}, {s}, {c}, {c, c, c}, {s, s, c, c}}
	var all []target
	for app := 0; len(all) < count; app++ {
		for _, mode := range pattern[app%len(pattern)] {
			i := len(all)
			all = append(all, target{
				index:     i,
				namespace: namespaces[i%len(namespaces)],
				name:      fmt.Sprintf("wt-%03d", i),
				account:   account{appID: fmt.Sprintf("wx%016x", 0xc0de0000+app), mode: mode},
			})
		}
	}
	return all[:count]
}

// appSecretMark is how every AppSecret of the run begins, so that one is found
// in a log whichever it is.
const appSecretMark = "5ec2e7"

// appSecret is the AppSecret of an appid after so many rotations: 32 hex digits,
// as WeChat's.
func appSecret(appID string, rotations int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", appID, rotations))
	return appSecretMark + hex.EncodeToString(sum[:])[:26]
}

// fingerprint tells tokens apart without showing them, as the operator does.
func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])[:16]
}
