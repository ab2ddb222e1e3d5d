package controllers

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// An operator that starts finds the token of a Classic account on the Secret of a taker, where
// the source has lost its own: a call would end it.
func TestStartingOperatorReadsTheTakersFirst(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(classic, func(wt *v1alpha1.WeChatToken) { wt.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespace{"web"} }))
		w.create(weChatToken(named("taker"), func(wt *v1alpha1.WeChatToken) {
			wt.Spec = v1alpha1.WeChatTokenSpec{SourceRef: v1alpha1.SourceReference{Namespace: "web", Name: "shop"}}
		}))
		w.run(time.Hour)
		token, calls := string(w.secret("taker").Data["access_token"]), w.calls()
		w.remove("shop")
		w.restart()
		w.reconcile(client.ObjectKey{Namespace: "web", Name: "shop"}) // the source comes first
		w.run(time.Minute)
		if got := w.calls(); got != calls || w.token() != token || token == "" {
			t.Errorf("%d more calls; the source has the token of the taker: %t", got-calls, w.token() == token)
		}
	})
}

// All that is said of the account, the source says.
func TestATakerFollowsTheSpecOfItsSource(t *testing.T) {
	t.Parallel()
	source := weChatToken(classic, suspendedSpec, bothTickets, func(wt *v1alpha1.WeChatToken) { wt.Spec.ClassicCallsPerDay = 200 })
	taker := weChatToken(writing("mine"), wanting(v1alpha1.TicketJSAPI))
	want := taker.DeepCopy().Spec
	want.Mode, want.ClassicCallsPerDay, want.Suspend = v1alpha1.ModeClassic, 200, true
	taker.Spec.AppID, taker.Spec.AppSecretRef = "", v1alpha1.AppSecretReference{}
	follow(taker, source)
	if diff := cmp.Diff(want, taker.Spec); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// An edit of a taker is no reason for a call before the wait after a failure is over: in mode
// Classic each counts. One of the source is.
func TestAnEditOfATakerEndsNoWait(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(classic, func(wt *v1alpha1.WeChatToken) { wt.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespace{"web"} }))
		w.create(weChatToken(named("taker"), func(wt *v1alpha1.WeChatToken) {
			wt.Spec = v1alpha1.WeChatTokenSpec{SourceRef: v1alpha1.SourceReference{Namespace: "web", Name: "shop"}}
		}))
		w.run(time.Second)
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40164})
		w.run(6 * time.Hour)
		calls, since := w.calls(), time.Now()
		for i := range 100 {
			w.changeOf("taker", func(wt *v1alpha1.WeChatToken) {
				wt.Spec.Secret = &v1alpha1.TokenSecret{Labels: map[string]v1alpha1.LabelValue{"edit": v1alpha1.LabelValue(strconv.Itoa(i))}}
			})
			w.run(time.Second)
		}
		if got, most := w.calls()-calls, 1+int(time.Since(since)/(30*time.Minute)); got > most {
			t.Errorf("%d calls for 100 edits, want at most %d", got, most)
		}
		calls = w.calls()
		w.change(func(wt *v1alpha1.WeChatToken) { wt.Spec.ClassicCallsPerDay = 1999 })
		w.run(time.Second)
		if got := w.calls() - calls; got != 1 {
			t.Errorf("%d calls for an edit of the source, want 1", got)
		}
	})
}
