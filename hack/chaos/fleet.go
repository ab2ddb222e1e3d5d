package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// target is one WeChatToken of the run, and the Secrets of the same name: its
// own, and with "-app" behind it the one with the AppSecret, which a taker has not.
type target struct {
	index     int
	cluster   int
	namespace string
	name      string
	account   account
	source    *target // whose token a taker takes; nil for one with the AppSecret
}

// key is how a target is written.
func (t target) key() string { return t.namespace + "/" + t.name }

func (t target) meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: t.namespace, Name: t.name}
}

// spec is what the WeChatToken asks for.
func (t target) spec() v1alpha1.WeChatTokenSpec {
	if t.source != nil {
		return v1alpha1.WeChatTokenSpec{SourceRef: v1alpha1.SourceReference{Namespace: t.source.namespace, Name: t.source.name}}
	}
	return v1alpha1.WeChatTokenSpec{
		AppID: t.account.appID, Mode: t.account.mode(), AppSecretRef: v1alpha1.AppSecretReference{Name: t.name + "-app"},
		AllowedNamespaces: []v1alpha1.AllowedNamespace{v1alpha1.AllNamespaces},
	}
}

// account is an appid at one endpoint of WeChat: what has one token at a time.
type account struct {
	appID    string
	endpoint wechattest.Endpoint
}

func (a account) mode() v1alpha1.Mode {
	if a.endpoint == wechattest.Classic {
		return v1alpha1.ModeClassic
	}
	return v1alpha1.ModeStable
}

// namespaces are where the targets live. Neighbours share an account across
// them.
var namespaces = []string{"chaos-a", "chaos-b", "chaos-c", "chaos-d"}

// fleet is count targets. Of each 14, four have an appid of their own, three
// share one in mode Stable, three in mode Classic, and four share one appid but
// not the mode. Those that share one in mode Stable are in both clusters; in mode
// Classic two operators would end each other's tokens. The last of those that share one
// takes the token from the first in its cluster, if it is not that itself.
func fleet(count int) []target {
	const s, c = wechattest.Stable, wechattest.Classic
	pattern := [][]wechattest.Endpoint{{s}, {c}, {s, s, s}, {s}, {c}, {c, c, c}, {s, s, c, c}}
	var all []target
	for app := 0; len(all) < count; app++ {
		for place, endpoint := range pattern[app%len(pattern)] {
			i, cluster := len(all), app%clusters
			if endpoint == s {
				cluster = (app + place) % clusters
			}
			t := target{i, cluster, namespaces[i%len(namespaces)], fmt.Sprintf("wt-%03d", i), account{fmt.Sprintf("wx%016x", 0xc0de0000+app), endpoint}, nil}
			first := slices.IndexFunc(all, func(o target) bool { return o.account == t.account && o.cluster == t.cluster })
			if place == len(pattern[app%len(pattern)])-1 && first >= 0 {
				source := all[first]
				t.source = &source
			}
			all = append(all, t)
		}
	}
	return all[:count]
}

// appSecretMark is how every AppSecret of the run begins, so that one is found
// in a log whichever it is.
const appSecretMark = "5ec2e7"

// appSecret is an AppSecret of an appid: 32 hex digits, as WeChat's.
func appSecret(appID string, number int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", appID, number))
	return appSecretMark + hex.EncodeToString(sum[:])[:26]
}
