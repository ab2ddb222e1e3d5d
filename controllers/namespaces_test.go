//go:build integration

package controllers

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// alsoIn makes the operator work in other namespaces too.
func alsoIn(others ...*namespace) func(*operation) {
	return func(o *operation) {
		for _, n := range others {
			o.options.Cache.DefaultNamespaces[n.Name] = cache.Config{}
		}
	}
}

// P4: WeChatTokens of one account, in whatever namespaces, have one token. Why
// ever it is replaced for one of them, the others' Secrets follow at once. Who
// does not know the AppSecret gets nothing from those who do.
func TestNamespacesShareAToken(t *testing.T) {
	t.Parallel()
	const another = "a07e25ec2e70ca4aa07e25ec2e70ca4a"
	reasons := map[string]struct {
		replace func(*wechattest.Server, []*namespace)
		calls   map[v1alpha1.Mode]int
	}{
		"Forced": {
			replace: func(_ *wechattest.Server, in []*namespace) {
				update(in[1], &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, requesting("1"))
			},
			calls: map[v1alpha1.Mode]int{v1alpha1.ModeStable: 1, v1alpha1.ModeClassic: 1},
		},
		"Reported": {
			replace: func(fake *wechattest.Server, in []*namespace) {
				token := string(in[2].secret("shop").Data["access_token"])
				fake.Revoke(token)
				update(in[2], &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}, reporting(record.Fingerprint(token)))
			},
			calls: map[v1alpha1.Mode]int{v1alpha1.ModeStable: 2, v1alpha1.ModeClassic: 1}, // the plain one first: it is free
		},
		"AppSecretChanged": {
			replace: func(fake *wechattest.Server, in []*namespace) {
				fake.SetSecret(testAppID, another)
				for _, n := range in {
					update(n, appSecret(""), setAppSecret(another))
				}
			},
			calls: map[v1alpha1.Mode]int{v1alpha1.ModeClassic: 1},
		},
	}
	for name, tc := range reasons {
		for mode, calls := range tc.calls {
			t.Run(name+string(mode), func(t *testing.T) {
				t.Parallel()
				in := []*namespace{newNamespace(t), newNamespace(t), newNamespace(t)}
				stranger := newNamespace(t)
				fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
				fake.AddAccount(testAppID, testAppSecret)
				in[0].operate(url, alsoIn(in[1], in[2], stranger))
				for _, n := range in {
					n.create(appSecret(testAppSecret), weChatToken(func(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = mode }))
				}
				stranger.create(appSecret(wrongSecret), weChatToken(func(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = mode }))
				// shared is the token that all have, once it is another than old.
				shared := func(old string) (token string) {
					t.Helper()
					testcluster.Eventually(t, "all share one live token", func() error {
						token = string(in[0].secretOrNone("shop").Data["access_token"])
						if token == "" || token == old || !fake.Valid(token) {
							return errors.New("the first has no new live token")
						}
						for i, n := range in {
							if string(n.secretOrNone("shop").Data["access_token"]) != token {
								return fmt.Errorf("number %d has another", i)
							}
						}
						return nil
					})
					return token
				}
				first := shared("")
				stranger.isReady("shop", metav1.ConditionFalse, v1alpha1.ReasonAppSecretInvalid)
				before := good(fake)
				tc.replace(fake, in)
				shared(first)
				if got := good(fake) - before; got != calls {
					t.Errorf("%d calls for %d WeChatTokens, want %d", got, len(in), calls)
				}
				if before != 1 {
					t.Errorf("%d calls for the first token, want 1", before)
				}
				if s := stranger.secretOrNone("shop"); len(s.Data) > 0 {
					t.Error("the one with the wrong AppSecret has a Secret")
				}
			})
		}
	}
}

// secretOrNone is the Secret of the given name, or an empty one.
func (n *namespace) secretOrNone(name string) *corev1.Secret {
	n.T.Helper()
	var s corev1.Secret
	if err := n.Get(n.T.Context(), client.ObjectKey{Name: name}, &s); client.IgnoreNotFound(err) != nil {
		n.T.Fatal(err)
	}
	return &s
}

// good counts the calls for a token that WeChat has not refused.
func good(s *wechattest.Server) int {
	c := s.Counts(testAppID)
	return c.Stable.OK + c.Classic.OK
}

// Who edits a namespace may forge any record there, of any appid: appids are
// public. Elsewhere neither its token counts nor its budget.
func TestForgedRecordCountsNowhereElse(t *testing.T) {
	t.Parallel()
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeStable, v1alpha1.ModeClassic} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			of := func(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = mode }
			evil, shop := newNamespace(t), newNamespace(t)
			evil.create(weChatToken(of, suspendedSpec))
			now := time.Now().UTC().Truncate(time.Second)
			forged := record.Record{
				Token: record.Token{Value: "98_forged", AppID: testAppID, Mode: mode, ObtainedAt: now, ExpiresAt: now.Add(2 * time.Hour)},
				Spent: budget.Spent{}.CallClassic(now),
			}
			forged.Spent.Classic.Calls = budget.ClassicPerDay
			for i := range budget.ForcedPerDay {
				forged.Spent.Forced = append(forged.Spent.Forced, now.Add(time.Duration(i-budget.ForcedPerDay)*time.Minute))
			}
			if err := evil.Apply(t.Context(), testcluster.Application(record.Render(evil.token("shop"), forged, record.NewKey(wrongSecret))), client.FieldOwner("editor")); err != nil {
				t.Fatal(err)
			}

			fake, url := testcluster.FakeWeChat(t, wechattest.Config{})
			fake.AddAccount(testAppID, testAppSecret)
			shop.create(appSecret(testAppSecret), weChatToken(of))
			shop.operate(url, alsoIn(evil))
			shop.isReady("shop", metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
			first := string(shop.secret("shop").Data["access_token"])
			if !fake.Valid(first) {
				t.Errorf("the Secret holds %q, which WeChat has not given", first)
			}
			update(shop, shop.token("shop"), requesting("1"))
			testcluster.Eventually(t, "a forced refresh", func() error {
				if shop.token("shop").Status.LastHandledRefreshAt != "1" {
					return errors.New("it is not handled")
				}
				return nil
			})
			if got := string(shop.secret("shop").Data["access_token"]); got == first || !fake.Valid(got) {
				t.Errorf("the refresh has brought %q", got)
			}
		})
	}
}
