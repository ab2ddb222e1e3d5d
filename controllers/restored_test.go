package controllers

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// restored puts the cluster back to what a backup of the Secret "shop" has, into which
// the WeChatToken is applied again: the Secret has lost its owner.
func (w *world) restored(backup *corev1.Secret, mods ...func(*v1alpha1.WeChatToken)) {
	w.t.Helper()
	wt := w.get("shop")
	if err := w.client.Delete(w.t.Context(), wt); err != nil {
		w.t.Fatal(err)
	}
	w.remove("shop") // as the garbage collector does
	w.restart()
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: backup.Labels, Annotations: backup.Annotations},
		Type:       corev1.SecretTypeOpaque, Data: backup.Data,
	}, weChatToken(append(mods, func(wt *v1alpha1.WeChatToken) { wt.UID = "restored" })...))
}

// A Secret from a backup that is provably of the account is taken over by itself, and its
// token is checked before anybody is told that it is valid.
func TestRestoredSecretIsAdopted(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		reason         string
		mode           func(*v1alpha1.WeChatToken)
		since          func(*world) // the backup
		forced, asked  int
		keeps, classic bool
	}{
		"StableCurrent":  {reason: "A plain call brings the same token.", mode: stableMode, since: func(*world) {}, keeps: true},
		"StableForced":   {reason: "A plain call brings the one that was forced since.", mode: stableMode, since: forcedOutside},
		"StableOld":      {reason: "What has expired since yesterday needs a plain call, too.", mode: stableMode, since: func(w *world) { w.run(24 * time.Hour) }},
		"ClassicCurrent": {reason: "WeChat calls the token valid.", mode: classic, since: func(*world) {}, keeps: true, asked: 1},
		"ClassicFetched": {reason: "WeChat calls it invalid, and the next call replaces it.", mode: classic, since: fetchedOutside, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(tc.mode))
				w.run(time.Hour)
				backup := w.secret("shop")
				tc.since(w)
				before := w.weChat.Counts(testAppID)
				w.restored(backup, tc.mode)
				w.run(5 * time.Second)
				w.wantReady(metav1.ConditionTrue, w.ready().Reason)
				s := w.secret("shop")
				if !metav1.IsControlledBy(s, w.get("shop")) || !w.weChat.Valid(w.token()) {
					t.Errorf("%s\nthe Secret is not taken over, or its token invalid", tc.reason)
				}
				if same := string(s.Data["access_token"]) == string(backup.Data["access_token"]); same != tc.keeps {
					t.Errorf("%s\nthe token is that of the backup: %t", tc.reason, same)
				}
				after := w.weChat.Counts(testAppID)
				if after.Forced != before.Forced || after.Business.Calls-before.Business.Calls != tc.asked {
					t.Errorf("%s\n%d forced calls and %d questions, want none and %d", tc.reason, after.Forced-before.Forced, after.Business.Calls-before.Business.Calls, tc.asked)
				}
				w.wantNoSecrets()
			})
		})
	}
}

// A cluster that was restored from yesterday's snapshot, budgets and all, has a valid
// token within one check, and forces none.
func TestRestoredClusterIsValidWithinACheck(t *testing.T) {
	t.Parallel()
	for name, since := range map[string]func(*world){
		"AnHour": forcedOutside,
		"ADay":   func(w *world) { w.run(24 * time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(checking(60)))
				w.run(30 * time.Minute)
				snapshot, status := w.secret("shop"), w.get("shop").Status
				since(w)
				forced := w.weChat.Counts(testAppID).Forced
				w.stop()
				w.edit("shop", func(s *corev1.Secret) { s.Data, s.Annotations = snapshot.Data, snapshot.Annotations })
				wt := w.get("shop")
				wt.Status = status
				if err := w.client.Status().Update(t.Context(), wt); err != nil {
					t.Fatal(err)
				}
				w.restart()
				w.run(2 * time.Minute) // the first check comes an interval after the start
				if !w.weChat.Valid(w.token()) {
					t.Error("the token is invalid")
				}
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
				if got := w.weChat.Counts(testAppID).Forced - forced; got != 0 {
					t.Errorf("%d forced calls", got)
				}
			})
		})
	}
}

// What does not verify is nobody's, however much it looks like one of ours.
func TestForgedSecretIsNotAdopted(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(*corev1.Secret){
		"Edited": func(s *corev1.Secret) {
			s.Annotations[record.Annotation] = strings.Replace(s.Annotations[record.Annotation], `"obtainedAt":"2000`, `"obtainedAt":"2001`, 1)
		},
		"OtherKey":   func(s *corev1.Secret) { s.Data["access_token"] = []byte("98_of_somebody_else") },
		"NoRecord":   func(s *corev1.Secret) { s.Annotations = nil },
		"Controlled": func(s *corev1.Secret) { s.Annotations[record.Annotation] = "{}" },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Hour)
				backup := w.secret("shop")
				forge(backup)
				calls := w.calls()
				w.restored(backup)
				w.run(time.Minute)
				w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretConflict)
				if w.calls() != calls {
					t.Errorf("%d calls for a Secret that is left alone", w.calls()-calls)
				}
			})
		})
	}
}

// A Secret that somebody has made immutable makes room for the next token.
func TestImmutableSecretIsReplaced(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		w.edit("shop", func(s *corev1.Secret) { s.Immutable = new(true) })
		before := w.token()
		w.change(requesting("1"))
		w.run(time.Second)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
		if s := w.secret("shop"); w.token() == before || s.Immutable != nil || !metav1.IsControlledBy(s, w.get("shop")) {
			t.Errorf("the Secret is %v", s)
		}
		calls := w.calls()
		w.run(time.Minute)
		if w.calls() != calls {
			t.Error("the new Secret cost another call")
		}
	})
}

// What the API server says to a read is told, as what it says to a write; and Ready
// follows what was known of the token, to its end.
func TestUnreadableSecretIsTold(t *testing.T) {
	t.Parallel()
	forbidden := func() error {
		return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("no get on secrets"))
	}
	t.Run("New", func(t *testing.T) {
		inWorld(t, wechattest.Config{}, func(w *world) {
			w.refuseRead = forbidden
			w.create(appSecret(testAppSecret), weChatToken())
			w.run(time.Minute)
			w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretRefused)
			if w.other() != v1alpha1.ConditionStalled || !strings.Contains(w.ready().Message, "no get on secrets") {
				t.Errorf("condition %q, message %q", w.other(), w.ready().Message)
			}
			w.refuseRead = nil
			w.run(31 * time.Second)
			w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
		})
	})
	t.Run("AfterAStart", func(t *testing.T) {
		inWorld(t, wechattest.Config{}, func(w *world) {
			w.create(appSecret(testAppSecret), weChatToken())
			w.run(time.Hour)
			end, calls := w.get("shop").Status.ExpirationTime.Time, w.calls()
			w.refuseRead = forbidden
			w.restart()
			w.run(time.Minute)
			w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonSecretRefused)
			w.run(time.Until(end) + time.Second)
			w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretRefused)
			if w.calls() != calls {
				t.Errorf("%d calls for a Secret that cannot be read", w.calls()-calls)
			}
		})
	})
}

// Where the namespace is being deleted there is no token once the Secret is gone, and no
// call for another one.
func TestTerminatingNamespaceGetsNoToken(t *testing.T) {
	t.Parallel()
	terminating := func() error {
		err := apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("the namespace is being terminated"))
		err.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
		return err
	}
	for name, restarted := range map[string]bool{"Running": false, "AfterAStart": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(classic))
				w.run(time.Hour)
				calls := w.calls()
				w.refuse = terminating
				w.remove("shop")
				if restarted {
					w.restart()
				}
				w.run(3 * time.Hour)
				w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonNamespaceTerminating)
				if w.calls() != calls {
					t.Errorf("%d calls for a namespace that goes", w.calls()-calls)
				}
			})
		})
	}
}
