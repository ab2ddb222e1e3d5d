package controllers

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The Secret follows the spec, without a call where the token stays the same.
func TestSecretFollowsTheSpec(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		change func(*v1alpha1.WeChatToken)
		data   []string // keys
		labels map[string]string
		calls  int
	}{
		"Keys": {
			reason: "A renamed key leaves nothing under the old name.",
			change: func(wt *v1alpha1.WeChatToken) {
				wt.Spec.Secret = &v1alpha1.TokenSecret{Keys: &v1alpha1.SecretKeys{AccessToken: "WECHAT_TOKEN", AppID: "WECHAT_APPID"}}
			},
			data:   []string{"WECHAT_APPID", "WECHAT_TOKEN", "expires_at", "obtained_at"},
			labels: map[string]string{record.LabelName: "shop", record.LabelManagedBy: record.ManagedBy},
		},
		"Labels": {
			reason: "Labels of the spec are added; the operator's own cannot be replaced.",
			change: func(wt *v1alpha1.WeChatToken) {
				wt.Spec.Secret = &v1alpha1.TokenSecret{Labels: map[string]v1alpha1.LabelValue{"team": "shop", record.LabelManagedBy: "me"}}
			},
			data:   []string{"access_token", "appid", "expires_at", "obtained_at"},
			labels: map[string]string{record.LabelName: "shop", record.LabelManagedBy: record.ManagedBy, "team": "shop"},
		},
		"AppID": {
			reason: "Another appid is another token.",
			change: func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wxfedcba9876543210" },
			data:   []string{"access_token", "appid", "expires_at", "obtained_at"},
			labels: map[string]string{record.LabelName: "shop", record.LabelManagedBy: record.ManagedBy},
			calls:  1,
		},
		"Mode": {
			reason: "So is another mode.",
			change: classic,
			data:   []string{"access_token", "appid", "expires_at", "obtained_at"},
			labels: map[string]string{record.LabelName: "shop", record.LabelManagedBy: record.ManagedBy},
			calls:  1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{OpenAccounts: true}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Hour)
				token, calls := w.recordOf("shop").Token.Value, w.calls()
				w.change(tc.change)
				w.run(time.Second)
				s := w.secret("shop")
				if diff := cmp.Diff(tc.data, sortedKeys(s.Data)); diff != "" {
					t.Errorf("%s\nkeys (-want +got):\n%s", tc.reason, diff)
				}
				if diff := cmp.Diff(tc.labels, s.Labels); diff != "" {
					t.Errorf("%s\nlabels (-want +got):\n%s", tc.reason, diff)
				}
				got := record.Read(s, nil).Token
				if !got.Serves(w.get("shop")) || !w.weChat.Valid(got.Value) || (got.Value == token) != (tc.calls == 0) {
					t.Errorf("%s\ntoken changed %t, valid %t", tc.reason, got.Value != token, w.weChat.Valid(got.Value))
				}
				if w.calls()-calls != tc.calls {
					t.Errorf("%s\n%d calls, want %d", tc.reason, w.calls()-calls, tc.calls)
				}
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
				if got := w.get("shop"); got.Status.ObservedGeneration != got.Generation {
					t.Errorf("observedGeneration %d of %d", got.Status.ObservedGeneration, got.Generation)
				}
				// Back again, the label and the keys go too.
				w.change(func(wt *v1alpha1.WeChatToken) { wt.Spec = weChatToken().Spec })
				w.run(repairData.First + time.Second)
				s = w.secret("shop")
				if diff := cmp.Diff([]string{"access_token", "appid", "expires_at", "obtained_at"}, sortedKeys(s.Data)); diff != "" {
					t.Errorf("%s\nkeys after the change back (-want +got):\n%s", tc.reason, diff)
				}
				if len(s.Labels) != 2 {
					t.Errorf("%s\nlabels after the change back: %v", tc.reason, s.Labels)
				}
			})
		})
	}
}

// A renamed target takes the token along, and the old Secret goes once the new
// one is there.
func TestTargetMovesWithItsToken(t *testing.T) {
	t.Parallel()
	for name, meanwhile := range map[string]func(*world){"Running": func(*world) {}, "Restarted": (*world).restart} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(classic))
				w.run(time.Hour)
				token := w.token()
				meanwhile(w)
				w.change(writing("moved"))
				w.run(time.Second)
				s := w.secret("moved")
				if s == nil || string(s.Data["access_token"]) != token || w.calls() != 1 {
					t.Fatalf("moved Secret %v with %d calls, want the same token and 1 call", s != nil, w.calls())
				}
				if w.secret("shop") != nil {
					t.Error("the old Secret is still there")
				}
				if got := w.get("shop").Status.SecretName; got != "moved" {
					t.Errorf("status.secretName %q", got)
				}
			})
		})
	}
}

// P8: a Secret of somebody else is left alone, and the user is told.
func TestForeignSecretIsLeftAlone(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		theirs := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Data: map[string][]byte{"access_token": []byte("x")}}
		w.create(theirs, appSecret(testAppSecret), weChatToken())
		before := w.secret("shop")
		w.run(time.Hour)
		if diff := cmp.Diff(before, w.secret("shop")); diff != "" {
			t.Errorf("the Secret changed:\n%s", diff)
		}
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
		if w.other() != v1alpha1.ConditionStalled || w.calls() != 0 {
			t.Errorf("condition %q and %d calls, want Stalled and none", w.other(), w.calls())
		}
		w.remove("shop")
		w.run(time.Second)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	})
}

// P8: a Secret stays with the WeChatToken that has it, also against an older one: to
// name a Secret is not to get it. When it goes the other one takes over.
func TestASecretStaysWithItsHolder(t *testing.T) {
	inWorld(t, wechattest.Config{OpenAccounts: true}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(named("older"), func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wxfedcba9876543210" }))
		w.run(time.Minute)
		w.create(weChatToken())
		w.run(time.Minute)
		before := w.secret("shop")
		w.changeOf("older", writing("shop"))
		w.run(time.Minute)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
		if diff := cmp.Diff(before, w.secret("shop")); diff != "" {
			t.Errorf("the Secret has changed:\n%s", diff)
		}
		if c := meta.FindStatusCondition(w.get("older").Status.Conditions, v1alpha1.ConditionReady); c.Reason != v1alpha1.ReasonSecretConflict || !strings.Contains(c.Message, `belongs to WeChatToken "shop"`) {
			t.Errorf("Ready of the older one is %s: %s", c.Reason, c.Message)
		}

		for _, restarted := range []bool{false, true} { // also when its Secret is lost
			before = w.secret("shop")
			if restarted {
				w.restart()
			}
			w.remove("shop")
			w.run(time.Minute)
			if s := w.secret("shop"); s == nil || !metav1.IsControlledBy(s, w.get("shop")) || s.UID == before.UID && s.ResourceVersion == before.ResourceVersion {
				t.Errorf("restarted %t: the Secret is not the holder's", restarted)
			}
		}

		w.change(writing("moved"))
		w.run(time.Minute)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
		w.seen(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "web", Name: "shop"}}) // the watch tells
		w.run(time.Minute)
		if s := w.secret("shop"); s == nil || s.OwnerReferences[0].Name != "older" {
			t.Errorf("the older one did not take over: %v", s)
		}
	})
}

// While there is no Secret the oldest has the claim; the next one waits for it to
// go, and for nothing else.
func TestTheOldestHasTheClaim(t *testing.T) {
	t.Parallel()
	for name, leave := range map[string]func(*world){
		"Renamed": func(w *world) { w.changeOf("older", writing("another")) },
		"Deleted": func(w *world) {
			older := w.get("older")
			if err := w.client.Delete(t.Context(), older); err != nil {
				t.Fatal(err)
			}
			w.seen(older)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				noAppSecret := func(wt *v1alpha1.WeChatToken) { wt.Spec.AppSecretRef.Name = "none" }
				w.create(appSecret(testAppSecret), weChatToken(named("older"), writing("shop"), noAppSecret))
				w.run(time.Minute)
				w.create(weChatToken(), weChatToken(named("third"), writing("shop")))
				w.run(time.Hour)
				w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
				if got := w.ready().Message; !strings.Contains(got, `claimed by WeChatToken "older"`) || w.calls() != 0 {
					t.Errorf("message %q, %d calls", got, w.calls())
				}
				w.restart() // in whatever order they are looked at
				w.run(time.Minute)
				w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
				leave(w)
				w.run(time.Second)
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
			})
		})
	}
}

// What the watch says is not there is not read again and again, however often
// somebody wakes those that name it.
func TestWhatIsNotThereIsReadOnce(t *testing.T) {
	noAppSecret := func(wt *v1alpha1.WeChatToken) { wt.Spec.AppSecretRef.Name = "none" }
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(weChatToken(noAppSecret))
		w.run(time.Minute)
		w.create(weChatToken(named("rival"), writing("shop"), noAppSecret))
		w.run(time.Minute)
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonAppSecretMissing)
		reads := 0
		w.refuseRead = func() error { reads++; return nil }
		for range 10 {
			w.wake(types.NamespacedName{Namespace: "web", Name: "shop"})
			w.wake(types.NamespacedName{Namespace: "web", Name: "rival"})
			w.run(time.Second)
		}
		if reads > 0 {
			t.Errorf("%d reads of Secrets that are not there", reads)
		}
	})
}

// A WeChatToken that is going gets no Secret any more, and holds nothing up
// (P10).
func TestDeletedIsLeftToTheGarbageCollector(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		wt := w.get("shop")
		if len(wt.Finalizers) != 0 {
			t.Errorf("finalizers %v", wt.Finalizers)
		}
		if err := w.client.Delete(t.Context(), wt); err != nil {
			t.Fatal(err)
		}
		w.seen(wt)
		w.run(time.Minute)
		w.remove("shop")
		w.wake(client.ObjectKeyFromObject(wt))
		w.run(time.Hour)
		if w.secret("shop") != nil {
			t.Error("the Secret is back")
		}
		if _, known := w.r.Accounts.Spent(client.ObjectKeyFromObject(wt)); known {
			t.Error("the account is remembered")
		}
	})
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// An AppSecret that the user tied to the WeChatToken must not be deleted.
func TestAppSecretIsNotRemoved(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		wt := weChatToken()
		w.create(wt)
		s := appSecret(testAppSecret)
		s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(w.get("shop"), v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))}
		w.create(s)
		w.run(time.Minute)
		if w.secret("shop-app") == nil {
			t.Error("the operator deleted the AppSecret")
		}
	})
}

// The old target stays while there is no token for the new one.
func TestOldTargetStaysUntilThereIsAToken(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus})
		w.run(2 * time.Hour) // the token is invalid
		w.change(writing("moved"))
		w.run(time.Minute)
		if w.secret("shop") == nil {
			t.Error("the old Secret is gone and there is no new one")
		}
		w.weChat.ClearFaults()
		w.run(2 * time.Minute)
		if w.secret("shop") != nil || w.secret("moved") == nil {
			t.Error("the Secret did not move")
		}
	})
}

// between does something between the read of the Secret and the next write.
func (w *world) between(do func()) {
	w.refuse = func() error { w.refuse = nil; do(); return nil }
}

// What was changed since it was read is not overwritten.
func TestWriteInsistsOnWhatWasSeen(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.between(func() {
			w.edit("shop", func(s *corev1.Secret) {
				s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "Deployment", Name: "theirs", UID: "theirs", Controller: new(true)}}
			})
		})
		token := w.token()
		w.change(requesting("1"))
		w.run(time.Minute)
		if w.token() != token {
			t.Error("a Secret that was given away was overwritten")
		}
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	})
}

// The old Secret stays while the write of the new one fails.
func TestOldTargetStaysWhileTheWriteFails(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.refuse = func() error { return apierrors.NewServiceUnavailable("away") }
		w.change(writing("moved"))
		w.run(time.Minute)
		if w.secret("shop") == nil {
			t.Error("the old Secret is gone, and the new one is not there")
		}
	})
}

// A write that somebody was faster than is made again, and is no error.
func TestConflictIsNoError(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		w.between(func() { w.edit("shop", func(s *corev1.Secret) { s.Labels["theirs"] = "1" }) })
		w.change(requesting("1"))
		w.run(time.Second)
		if got := w.get("shop").Status.LastHandledRefreshAt; got != "1" || w.secret("shop").Labels["theirs"] != "1" {
			t.Errorf("echo %q, labels %v", got, w.secret("shop").Labels)
		}
		if strings.Contains(w.log.String(), "Reconciler error") {
			t.Errorf("logged:\n%s", w.log.String())
		}
	})
}
