package controllers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// An edited token is mended, but a fight over it is slow too.
func TestFightsOverTheTokenAreSlow(t *testing.T) {
	for name, edit := range map[string]func(*corev1.Secret){
		"Token":      func(s *corev1.Secret) { s.Data["access_token"] = []byte("placeholder") },
		"Annotation": func(s *corev1.Secret) { delete(s.Annotations, annotationSeal) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Minute)
				writes := w.secretWrites
				for range 600 {
					w.edit("shop", edit)
					w.run(100 * time.Millisecond)
				}
				if got := w.secretWrites - writes; got < 2 || got > 7 {
					t.Errorf("%d writes in a minute of fighting, want at most 7", got)
				}
			})
		})
	}
}

// Refusals that quote.
func TestRefusalsAreRedacted(t *testing.T) {
	cases := map[string]func(token string) string{
		"Base64": func(token string) string { return base64.StdEncoding.EncodeToString([]byte(token)) },
		"Cut": func(token string) string {
			return strings.Repeat("x", maxText-60-len(`secrets "shop" is forbidden: `)) + token
		},
	}
	for name, quote := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Second)
				var said []string
				w.refuse = func() error {
					w.r.accounts.mu.Lock()
					defer w.r.accounts.mu.Unlock()
					for _, acc := range w.r.accounts.byID {
						said = append(said, acc.token.value)
						return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New(quote(acc.token.value)))
					}
					return nil
				}
				w.change(bumped("1"))
				w.run(time.Minute)
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonSecretRefused)
				for _, token := range said {
					for _, form := range []string{token[:24], base64.StdEncoding.EncodeToString([]byte(token))[:24]} {
						for _, text := range append(w.events, w.ready().Message) {
							if strings.Contains(text, form) {
								t.Fatalf("the token is told: …%s", text[len(text)-100:])
							}
						}
					}
				}
			})
		})
	}
}

// Errors that the queue logs.
func TestLoggedErrorsAreRedacted(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.refuse = func() error {
			return &apierrors.StatusError{ErrStatus: metav1.Status{Status: "Failure", Code: 401, Reason: metav1.StatusReasonUnauthorized,
				Message: "denied request: policy no-secrets, not even " + testAppSecret}}
		}
		for range 5 {
			_, err := w.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "web", Name: "shop"}})
			if err != nil && strings.Contains(err.Error(), testAppSecret) {
				t.Fatalf("the AppSecret stands in what is logged: %v", err)
			}
			time.Sleep(time.Second)
		}
	})
}

// Ready follows the token also while the cluster fails the operator.
func TestReadyFollowsTheTokenWhileTheClusterFails(t *testing.T) {
	t.Run("Read", func(t *testing.T) {
		inWorld(t, wechattest.Config{}, func(w *world) {
			w.create(appSecret(testAppSecret), weChatToken())
			w.run(time.Minute)
			w.r.Secrets = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
				Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
					return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("no RBAC"))
				},
			})
			w.run(3 * time.Hour)
			if w.ready().Status != metav1.ConditionFalse {
				t.Errorf("Ready = %s %s with a token dead since %s", w.ready().Status, w.ready().Reason, time.Since(w.get("shop").Status.ExpirationTime.Time))
			}
		})
	})
	t.Run("Write", func(t *testing.T) {
		inWorld(t, wechattest.Config{}, func(w *world) {
			w.create(appSecret(testAppSecret), weChatToken())
			w.run(time.Minute)
			w.refuse = func() error { return apierrors.NewServiceUnavailable("webhook: try later") }
			w.run(3 * time.Hour)
			if w.ready().Status != metav1.ConditionFalse {
				t.Errorf("Ready = %s %s with a token dead since %s", w.ready().Status, w.ready().Reason, time.Since(w.get("shop").Status.ExpirationTime.Time))
			}
		})
	})
}

// The clock was ahead and is set right.
func TestClockSetBack(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		// The process that wrote the Secret lived a day ahead.
		tok := *tokenIn(w.secret("shop"))
		tok.obtained, tok.expires = tok.obtained.Add(day), tok.expires.Add(day)
		w.edit("shop", func(s *corev1.Secret) {
			want := render(w.get("shop"), &tok)
			for k, v := range want.Annotations {
				s.Annotations[k] = v
			}
			for k, v := range want.Data {
				s.Data[k] = v
			}
		})
		w.restart()
		w.run(time.Minute)
		if dead := w.consume(6*time.Hour, time.Minute); dead > 0 {
			t.Errorf("%d of 360 reads found a dead token", dead)
		}
	})
}

// An AppSecret that the user tied to the WeChatToken must not be deleted.
func TestAppSecretIsNotRemoved(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		wt := weChatToken()
		w.create(wt)
		s := appSecret(testAppSecret)
		s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(w.get("shop"), v1alpha1.GroupVersion.WithKind(kind))}
		w.create(s)
		w.run(time.Minute)
		if w.secret("shop-app") == nil {
			t.Error("the operator deleted the AppSecret")
		}
	})
}

// Hot loop of a paused repair.
func TestPausedRepairDoesNotSpin(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		tok := *tokenIn(w.secret("shop"))
		tok.expires = time.Now().Add(100 * time.Second).Truncate(time.Second)
		w.restart()
		w.edit("shop", func(s *corev1.Secret) { // what a wrong answer of WeChat has led to, and a label that somebody took off
			want := render(w.get("shop"), &tok)
			for k, v := range want.Annotations {
				s.Annotations[k] = v
			}
			for k, v := range want.Data {
				s.Data[k] = v
			}
			s.Labels = nil
		})
		reads := 0
		w.r.Secrets = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				reads++
				return c.Get(ctx, key, obj, opts...)
			},
		})
		w.run(time.Minute)
		if reads > 100 {
			t.Errorf("%d reads of Secrets in a minute", reads)
		}
	})
}

// The same token given back at its very end.
func TestNoStormAtTheEnd(t *testing.T) {
	inWorld(t, wechattest.Config{Window: -1, Life: 600 * time.Second, Latency: 5 * time.Millisecond}, func(w *world) {
		w.window = 300 * time.Second
		w.restart()
		w.run(700 * time.Millisecond)
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Second)
		expires := w.get("shop").Status.ExpirationTime.Time
		w.run(time.Until(expires) - time.Second)
		calls := w.calls()
		w.run(3 * time.Second)
		if got := w.calls() - calls; got > 5 {
			t.Errorf("%d calls within 3 s", got)
		}
	})
}

// The first wait after a refusal that follows an outage.
func TestCountIsOfTheSameFailure(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus})
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(20 * time.Minute)
		w.weChat.ClearFaults()
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40164, Message: "invalid ip 203.0.113.7, not in whitelist"})
		w.run(2 * time.Minute)
		w.weChat.ClearFaults()
		w.run(6 * time.Minute)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	})
}

// Foreign conditions fill the list.
func TestForeignConditions(t *testing.T) {
	n := newNamespace(t)
	fake, url := fakeWeChat(t, wechattest.Config{})
	fake.AddAccount(testAppID, testAppSecret)
	wt := weChatToken()
	n.create(wt)
	for i := range 8 {
		meta.SetStatusCondition(&wt.Status.Conditions, metav1.Condition{Type: fmt.Sprint("X", i), Status: "True", Reason: "X"})
	}
	if err := n.Status().Update(t.Context(), wt); err != nil {
		t.Fatal(err)
	}
	n.operate(url)
	n.create(appSecret(testAppSecret))
	time.Sleep(5 * time.Second)
	c := meta.FindStatusCondition(n.token("shop").Status.Conditions, "Ready")
	if c == nil {
		t.Error("no Ready")
	}
}

// A storm at the end of a token given back again and again.
func TestStormOfShortLives(t *testing.T) {
	inWorld(t, wechattest.Config{Latency: 5 * time.Millisecond}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Second)
		w.run(time.Until(w.get("shop").Status.RefreshTime.Time) - time.Minute)
		w.restart()
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultBadTTL, ExpiresIn: 2, For: 20 * time.Second})
		w.edit("shop", func(s *corev1.Secret) { s.Annotations = nil })
		calls := w.calls()
		w.run(20 * time.Second)
		if got := w.calls() - calls; got > 25 {
			t.Errorf("%d calls in 20 s", got)
		}
	})
}

// The status that was written between two versions of the object.
func TestStatusIsNotStuck(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.change(bumped("1"))
		w.run(time.Second)

		// The cache is one version behind: the user takes the second bump back
		// while the operator is about to say that it waits.
		var behind *v1alpha1.WeChatToken
		armed := true
		c := w.r.Client
		w.r.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
			Get: func(ctx context.Context, _ client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if wt, ok := obj.(*v1alpha1.WeChatToken); ok && behind != nil {
					behind.DeepCopyInto(wt)
					return nil
				}
				return c.Get(ctx, key, obj, opts...)
			},
			SubResourcePatch: func(ctx context.Context, _ client.Client, sub string, obj client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				if armed {
					armed = false
					wt := w.get("shop")
					bumped("1")(wt)
					if err := w.client.Update(ctx, wt); err != nil {
						return err
					}
					behind = w.get("shop") // what the cache holds for the next moment
					w.wake(client.ObjectKeyFromObject(wt))
				}
				return c.SubResource(sub).Patch(ctx, obj, p, opts...)
			},
		})
		w.change(bumped("2"))
		w.run(100 * time.Millisecond)
		behind = nil // the cache has caught up; a change of the status alone wakes nobody
		w.run(time.Minute)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
	})
}

// An outage that is over leaves no trace in the next refresh.
func TestOutageLeavesNoTrace(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus, Count: 5})
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(5 * time.Minute)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenLive)
		events := len(w.events)
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultSlow, Delay: 3 * time.Second})
		w.run(7 * time.Hour)
		if got := w.events[events:]; len(got) != 0 {
			t.Errorf("events of good refreshes: %v", got)
		}
	})
}

// A Secret that was given away serves nobody here, though its token lives.
func TestGivenAwayIsNotReady(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		w.edit("shop", func(s *corev1.Secret) { s.OwnerReferences = nil })
		w.run(time.Second)
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
		if got := w.get("shop").Status.SecretName; got != "" {
			t.Errorf("status.secretName %q", got)
		}
	})
}

// The old target stays while there is no token for the new one.
func TestOldTargetStaysUntilThereIsAToken(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus})
		w.run(2 * time.Hour) // the token is dead
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

// Retries come sooner than the end of a token that has little left.
func TestRetriesFitIntoAShortLife(t *testing.T) {
	cfg := wechattest.Config{Life: 40 * time.Second, Window: 10 * time.Second, Overlap: 10 * time.Second}
	inWorld(t, cfg, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Second)
		w.run(time.Until(w.get("shop").Status.RefreshTime.Time))
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus, For: 7 * time.Second})
		if dead := w.consume(20*time.Second, 100*time.Millisecond); dead > 0 {
			t.Errorf("%d reads found a dead token", dead)
		}
	})
}

// between does something between the read of the Secret and the next write.
func (w *world) between(do func()) {
	w.refuse = func() error { w.refuse = nil; do(); return nil }
}

// P8: a Secret that appears between the read and the write is not overwritten.
func TestForeignSecretInBetweenIsNotOverwritten(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.between(func() {
			w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "shop"}, Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"access_token": []byte("theirs")}})
		})
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		if got := w.token(); got != "theirs" {
			t.Error("the Secret of somebody else was overwritten")
		}
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	})
}

// What was changed since it was read is not overwritten.
func TestWriteInsistsOnWhatWasSeen(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.between(func() { w.edit("shop", func(s *corev1.Secret) { s.OwnerReferences = nil }) })
		token := w.token()
		w.change(bumped("1"))
		w.run(time.Minute)
		if w.token() != token {
			t.Error("a Secret that was given away was overwritten")
		}
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
	})
}

// An annotation alone that leaves the spec leaves the Secret too.
func TestDroppedLabelAndAnnotationGo(t *testing.T) {
	for name, spec := range map[string]*v1alpha1.TokenSecret{
		"Label":      {Labels: map[string]v1alpha1.LabelValue{"team": "a"}},
		"Annotation": {Annotations: map[string]v1alpha1.AnnotationValue{"team": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(func(wt *v1alpha1.WeChatToken) { wt.Spec.Secret = spec }))
				w.run(time.Minute)
				w.change(func(wt *v1alpha1.WeChatToken) { wt.Spec.Secret = nil })
				w.run(time.Minute)
				if s := w.secret("shop"); s.Labels["team"]+s.Annotations["team"] != "" {
					t.Error("it is still there")
				}
			})
		})
	}
}

// Nothing of ours can be replaced by the spec, should admission fail.
func TestOwnAnnotationsWin(t *testing.T) {
	wt := weChatToken(func(wt *v1alpha1.WeChatToken) {
		wt.Spec.Secret = &v1alpha1.TokenSecret{Annotations: map[string]v1alpha1.AnnotationValue{annotationAppID: "mine", annotationSeal: "mine"}}
	})
	if got := render(wt, &issued{appID: testAppID}).Annotations; got[annotationAppID] != testAppID || got[annotationSeal] == "mine" {
		t.Error("the spec replaced an annotation of the operator")
	}
}

// A token that was replaced by another of its length is put back.
func TestForgedTokenIsReplaced(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		w.restart()
		w.edit("shop", func(s *corev1.Secret) { s.Data["access_token"] = []byte(strings.Repeat("x", len(w.token()))) })
		w.run(repairPause + time.Second)
		if !w.weChat.Alive(w.token()) {
			t.Error("the forged token is still there")
		}
	})
}

// P8: an owner that was taken off while the operator was away.
func TestOwnerIsPartOfWhatIsCarried(t *testing.T) {
	wt := weChatToken()
	wt.UID = "u"
	want := render(wt, &issued{})
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Labels: want.Labels, Annotations: want.Annotations}, Data: want.Data}
	if carries(s, want) {
		t.Error("a Secret without its owner carries all")
	}
}

// P7: a cache that is behind costs no second write and no second event.
func TestCacheBehindCostsNothing(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		behind := w.get("shop")
		c := w.r.Client
		w.r.Client = interceptor.NewClient(w.client.(client.WithWatch), interceptor.Funcs{
			Get: func(ctx context.Context, _ client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
				if wt, ok := obj.(*v1alpha1.WeChatToken); ok {
					behind.DeepCopyInto(wt)
					return nil
				}
				return c.Get(ctx, key, obj, opts...)
			},
			Apply: func(ctx context.Context, _ client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
				return c.Apply(ctx, obj, opts...)
			},
			SubResourcePatch: func(ctx context.Context, _ client.Client, sub string, obj client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				return c.SubResource(sub).Patch(ctx, obj, p, opts...)
			},
		})
		for range 5 {
			w.wake(client.ObjectKeyFromObject(behind))
			w.run(5 * time.Second)
		}
		if w.statusWrites != 1 || len(w.events) != 1 {
			t.Errorf("%d writes of the status and %d events, want 1 each", w.statusWrites, len(w.events))
		}
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

// A namespace that is going is no refusal: nothing is told.
func TestTerminatingNamespaceIsQuiet(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.refuse = func() error {
			err := apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("namespace web is being terminated"))
			err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
			return err
		}
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(10 * time.Minute)
		if w.statusWrites != 0 || len(w.events) != 0 || len(w.queue) != 0 {
			t.Errorf("%d writes of the status, events %v, queue %v", w.statusWrites, w.events, w.queue)
		}
	})
}

// A refusal that quotes the token.
func TestRefusalDoesNotTellTheToken(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		var token string
		w.refuse = func() error {
			for _, acc := range w.r.accounts.byID {
				token = acc.token.value
			}
			return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("not "+token))
		}
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		if got := w.ready().Message; token == "" || strings.Contains(got, token) || !strings.Contains(got, "not [redacted]") {
			t.Errorf("message %q", got)
		}
	})
}

// A refused write is tried again sooner when the token is about to die.
func TestRefusedWriteIsTriedBeforeTheEnd(t *testing.T) {
	cfg := wechattest.Config{Life: 40 * time.Second, Window: 10 * time.Second, Overlap: 10 * time.Second}
	inWorld(t, cfg, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Second)
		due := w.get("shop").Status.RefreshTime.Time
		w.refuse = func() error {
			if time.Since(due) < 4*time.Second {
				return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("quota"))
			}
			return nil
		}
		if dead := w.consume(time.Minute, 500*time.Millisecond); dead > 0 {
			t.Errorf("%d reads found a dead token", dead)
		}
	})
}

// The end is counted from before the call.
func TestEndIsCountedFromTheStartOfTheCall(t *testing.T) {
	inWorld(t, wechattest.Config{Latency: 5 * time.Second}, func(w *world) {
		start := time.Now()
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		if end := w.get("shop").Status.ExpirationTime.Time; end.After(start.Add(2 * time.Hour)) {
			t.Errorf("the token is said to end %s late", end.Sub(start)-2*time.Hour)
		}
	})
}

// A dead token is not put back: a deleted Secret stays away until there is a
// live one.
func TestDeadTokenIsNotPutBack(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus})
		w.run(2 * time.Hour)
		w.remove("shop")
		w.run(time.Minute)
		if w.secret("shop") != nil {
			t.Error("the Secret is back with a dead token")
		}
	})
}
