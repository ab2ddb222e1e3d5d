package controllers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Every row of the table of errors: what the conditions say, what status holds,
// and when WeChat is called again. Failing on costs no further write (P7), the
// operator recovers by itself (P1), and a valid token stays (P2).
func TestFailures(t *testing.T) {
	t.Parallel()
	code := func(n int, message string) wechattest.Fault {
		return wechattest.Fault{Kind: wechattest.FaultErrcode, Code: n, Message: message}
	}
	// The waits between calls, without the bit that spreads objects: at most a
	// tenth, and a minute.
	seconds := func(n ...int) (waits []time.Duration) {
		for _, s := range n {
			waits = append(waits, time.Duration(s)*time.Second)
		}
		return waits
	}
	minutes := func(n ...int) (waits []time.Duration) {
		for _, m := range n {
			waits = append(waits, time.Duration(m)*time.Minute)
		}
		return waits
	}
	hours := func(n ...int) (waits []time.Duration) {
		for _, h := range n {
			waits = append(waits, time.Duration(h)*time.Hour)
		}
		return waits
	}
	backoff := seconds(1, 2, 4, 8, 16, 32, 60, 60, 60)

	cases := map[string]struct {
		fault   wechattest.Fault
		reason  string
		other   string // the condition beside Ready
		message string // part of it: the remedy
		code    int64
		ip      string
		waits   []time.Duration
	}{
		"Busy":         {code(-1, ""), "WeChatUnavailable", "Reconciling", "WeChat answered -1", -1, "", backoff},
		"SystemError":  {wechattest.Fault{Kind: wechattest.FaultNull}, "WeChatUnavailable", "Reconciling", "WeChat answered -1000", -1000, "", backoff},
		"Unknown":      {code(99999, "never heard"), "WeChatUnavailable", "Reconciling", "WeChat answered 99999 (never heard)", 99999, "", backoff},
		"BadGateway":   {wechattest.Fault{Kind: wechattest.FaultStatus}, "WeChatUnavailable", "Reconciling", "HTTP status 502", 0, "", backoff},
		"Precondition": {wechattest.Fault{Kind: wechattest.FaultStatus, Status: 412}, "WeChatUnavailable", "Reconciling", "HTTP status 412", 0, "", backoff},
		"Echo":         {wechattest.Fault{Kind: wechattest.FaultEcho}, "WeChatUnavailable", "Reconciling", "HTTP status 502", 0, "", backoff},
		"EchoedSecret": {code(-1, "busy with secret="+testAppSecret), "WeChatUnavailable", "Reconciling", "[redacted]", -1, "", backoff},
		"Truncated":    {wechattest.Fault{Kind: wechattest.FaultTruncated}, "WeChatUnavailable", "Reconciling", "connection broke", 0, "", backoff},
		"Lost":         {wechattest.Fault{Kind: wechattest.FaultLost}, "WeChatUnavailable", "Reconciling", "connection broke", 0, "", backoff},
		"Garbage":      {wechattest.Fault{Kind: wechattest.FaultGarbage}, "WeChatUnavailable", "Reconciling", "not JSON", 0, "", backoff},
		"Reset":        {wechattest.Fault{Kind: wechattest.FaultReset}, "WeChatUnavailable", "Reconciling", "connection broke", 0, "", backoff},
		"Empty":        {wechattest.Fault{Kind: wechattest.FaultEmpty}, "WeChatUnavailable", "Reconciling", "no usable access_token", 0, "", backoff},
		"Huge":         {wechattest.Fault{Kind: wechattest.FaultHuge}, "WeChatUnavailable", "Reconciling", "larger than 64 KiB", 0, "", backoff},
		"NoLife":       {wechattest.Fault{Kind: wechattest.FaultBadTTL, ExpiresIn: -5}, "WeChatUnavailable", "Reconciling", "no usable expires_in", 0, "", backoff},
		"Hang":         {wechattest.Fault{Kind: wechattest.FaultHang}, "WeChatUnavailable", "Reconciling", "no whole answer within 10s", 0, "", backoff},
		"MinuteQuota":  {code(45011, ""), "MinuteQuotaExceeded", "Reconciling", "next minute", 45011, "", seconds(60, 60, 60)},
		"DayQuota":     {code(45009, ""), "DayQuotaExceeded", "Reconciling", "接口权限与额度", 45009, "", hours(1, 1, 1)},

		"WrongSecret40001": {code(40001, ""), "AppSecretInvalid", "Stalled", "spec.appSecretRef", 40001, "", hours(1, 1)},
		"GrantType":        {code(40002, ""), "RequestRejected", "Stalled", "proxy that changes requests", 40002, "", hours(1, 1)},
		"AppID":            {code(40013, ""), "AppIDInvalid", "Stalled", "Correct spec.appID", 40013, "", hours(1, 1)},
		"WrongSecret40125": {code(40125, ""), "AppSecretInvalid", "Stalled", "reset it", 40125, "", hours(1, 1)},
		"AppIDMissing":     {code(41002, ""), "RequestRejected", "Stalled", "check spec.appID", 41002, "", hours(1, 1)},
		"SecretMissing":    {code(41004, ""), "RequestRejected", "Stalled", "check spec.appID", 41004, "", hours(1, 1)},
		"NotPOST":          {code(43002, ""), "RequestRejected", "Stalled", "turns the POST into another request", 43002, "", minutes(5, 10, 20, 30, 30)},
		"OldAddress":       {code(48017, ""), "RequestRejected", "Stalled", "hostAliases", 48017, "", minutes(5, 10, 20, 30, 30)},
		"Ungranted":        {code(48001, ""), "RequestRejected", "Stalled", "接口权限与额度", 48001, "", hours(1, 1)},
		"Overseas":         {code(50001, ""), "RequestRejected", "Stalled", "--wechat-url", 50001, "", hours(1, 1)},
		"Platform":         {code(61024, ""), "RequestRejected", "Stalled", "third-party platform", 61024, "", hours(1, 1)},

		"IP":             {code(40164, "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist"), "IPNotAllowed", "Stalled", "Add 203.0.113.7 to the IP allow-list", 40164, "203.0.113.7", minutes(5, 10, 20, 30, 30)},
		"IPUnknown":      {code(40164, "not in whitelist"), "IPNotAllowed", "Stalled", "Add this cluster's address to the IP allow-list", 40164, "", minutes(5, 10, 20, 30, 30)},
		"NotRegistered":  {code(61004, "access clientip is not registered requestIP: 203.0.113.7"), "IPNotAllowed", "Stalled", "Add 203.0.113.7", 61004, "203.0.113.7", minutes(5, 10, 20, 30, 30)},
		"Frozen":         {code(40243, ""), "AppSecretFrozen", "Stalled", "开发密钥", 40243, "", minutes(5, 10, 20, 30, 30)},
		"Irregularities": {code(48004, ""), "AccountRestricted", "Stalled", "mp.weixin.qq.com", 48004, "", minutes(5, 10, 20, 30, 30)},
		"Limited":        {code(50002, ""), "AccountRestricted", "Stalled", "mp.weixin.qq.com", 50002, "", minutes(5, 10, 20, 30, 30)},
		"Punished":       {code(50004, ""), "AccountRestricted", "Stalled", "mp.weixin.qq.com", 50004, "", minutes(5, 10, 20, 30, 30)},
		"AccountFrozen":  {code(50007, ""), "AccountRestricted", "Stalled", "mp.weixin.qq.com", 50007, "", minutes(5, 10, 20, 30, 30)},
		"Confirm89501":   {code(89501, ""), "IPConfirmationPending", "Stalled", "must confirm", 89501, "", minutes(5, 10, 20, 30, 30)},
		"Confirm89503":   {code(89503, ""), "IPConfirmationPending", "Stalled", "must confirm", 89503, "", minutes(5, 10, 20, 30, 30)},
		"BlockedHour":    {code(89507, ""), "IPBlocked", "Stalled", "1 hour", 89507, "", hours(1, 1)},
		"BlockedDay":     {code(89506, ""), "IPBlocked", "Stalled", "24 hours", 89506, "", hours(24, 24)},
	}
	for name, tc := range cases {
		for mode, mod := range map[string]func(*v1alpha1.WeChatToken){"Stable": func(*v1alpha1.WeChatToken) {}, "Classic": classic} {
			t.Run(name+mode, func(t *testing.T) {
				inWorld(t, wechattest.Config{}, func(w *world) {
					w.weChat.SetFault(tc.fault)
					w.create(appSecret(testAppSecret), weChatToken(mod))
					for _, wait := range tc.waits {
						w.run(wait + min(wait/10, time.Minute) + 11*time.Second) // 11 s for a hanging call
					}

					status := w.get("shop").Status
					w.wantReady(metav1.ConditionFalse, tc.reason)
					if got := w.other(); got != tc.other {
						t.Errorf("condition %q beside Ready, want %s", got, tc.other)
					}
					if got := w.ready().Message; !strings.Contains(got, tc.message) || strings.Contains(got, "rid") {
						t.Errorf("message %q, want %q in it and no rid", got, tc.message)
					}
					if status.LastError == nil {
						t.Fatal("no lastError")
					}
					var gotCode int64
					if status.LastError.Code != nil {
						gotCode = *status.LastError.Code
					}
					if gotCode != tc.code || status.LastError.CallerIP != tc.ip {
						t.Errorf("lastError has code %d and caller %q, want %d and %q", gotCode, status.LastError.CallerIP, tc.code, tc.ip)
					}
					if w.statusWrites != 1 {
						t.Errorf("%d writes of the status for %d equal failures, want 1", w.statusWrites, w.calls())
					}
					w.wantWaits(tc.waits)

					w.weChat.ClearFaults()
					w.run(tc.waits[len(tc.waits)-1]*11/10 + 11*time.Second)
					w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)

					token := w.secret("shop").Data
					w.weChat.SetFault(tc.fault)
					w.change(requesting("now"))
					w.run(time.Minute)
					w.wantReady(metav1.ConditionTrue, tc.reason)
					if diff := cmp.Diff(token, w.secret("shop").Data); diff != "" {
						t.Errorf("the failure has changed the Secret (-before +after):\n%s", diff)
					}
					w.wantNoSecrets()
				})
			})
		}
	}
}

// wantWaits compares the pauses between the calls to WeChat with waits. Each may
// be longer by the bit that spreads objects, and by a call's timeout.
func (w *world) wantWaits(waits []time.Duration) {
	w.t.Helper()
	calls := w.weChat.Calls()
	var got []time.Duration
	for i := 1; i < len(calls) && i <= len(waits); i++ {
		pause := calls[i].At.Sub(calls[i-1].At)
		if calls[i-1].Fault == wechattest.FaultHang {
			pause -= 10 * time.Second
		}
		want := waits[i-1]
		if want == time.Minute && calls[i].Errcode == 45011 {
			pause = pause.Round(15 * time.Second) // to the start of the next minute
		}
		if pause >= want && pause <= want+min(want/10, time.Minute)+50*time.Millisecond {
			pause = want
		}
		got = append(got, pause)
	}
	if diff := cmp.Diff(waits[:len(got)], got); diff != "" || len(got) < 2 {
		w.t.Errorf("waits between calls (-want +got):\n%s", diff)
	}
}

// A person's change ends a long wait at once: of the AppSecret, of the spec, of
// the refresh annotation.
func TestChangeEndsTheWait(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		change func(*world)
	}{
		"AppSecret":  {"Another AppSecret is another try.", func(w *world) { w.edit("shop-app", setAppSecret(testAppSecret)) }},
		"Whitespace": {"A line feed behind the AppSecret does no harm.", func(w *world) { w.edit("shop-app", setAppSecret(testAppSecret+"\n")) }},
		"Reference": {"Another Secret is another try.", func(w *world) {
			other := appSecret(testAppSecret)
			other.Name = "other"
			w.create(other)
			w.change(func(wt *v1alpha1.WeChatToken) { wt.Spec.AppSecretRef.Name = "other" })
		}},
		"Generation": {"Any change of the spec is a wish to try again.", func(w *world) {
			w.weChat.SetSecret(testAppID, wrongSecret)
			w.change(writing("elsewhere"), writing("shop"), func(wt *v1alpha1.WeChatToken) { wt.Generation++ })
		}},
		"Request": {"So is a refresh request.", func(w *world) {
			w.weChat.SetSecret(testAppID, wrongSecret)
			w.change(requesting("now"))
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(wrongSecret), weChatToken())
				w.run(time.Minute)
				w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonAppSecretInvalid)
				calls := w.calls()
				tc.change(w)
				w.run(time.Second)
				if got := w.ready(); got.Status != metav1.ConditionTrue {
					t.Errorf("%s\nReady = %s %s", tc.reason, got.Status, got.Reason)
				}
				if got := w.calls() - calls; got != 1 {
					t.Errorf("%s\n%d calls, want 1", tc.reason, got)
				}
			})
		})
	}
}

func TestMissingAppSecretIsTold(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(weChatToken())
		w.run(time.Minute)
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonAppSecretMissing)
		if got := w.ready().Message; !strings.Contains(got, `no AppSecret in Secret "shop-app"`) || w.other() != v1alpha1.ConditionStalled {
			t.Errorf("message %q, condition %q", got, w.other())
		}
		missing := w.ready().Message
		w.create(appSecret(" \n"))
		w.run(time.Minute)
		if got := w.ready().Message; got != missing {
			t.Errorf("who may not read Secrets learns from %q that there is one", got)
		}
		w.edit("shop-app", setAppSecret(testAppSecret))
		w.run(time.Second)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)

		// Without its AppSecret the token is used until it expires.
		w.remove("shop-app")
		w.run(time.Minute)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonAppSecretMissing)
		w.run(3 * time.Hour)
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonAppSecretMissing)
	})
}

// Any Secret of the namespace can be named: the password of a database, a private
// key. Only an AppSecret is ever sent.
func TestOnlyAnAppSecretIsSent(t *testing.T) {
	inWorld(t, wechattest.Config{OpenAccounts: true}, func(w *world) {
		w.create(appSecret("hunter2-canary-password"), weChatToken(), weChatToken(named("classic"), classic))
		w.run(time.Minute)
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonAppSecretInvalid)
		if got := w.ready().Message; !strings.Contains(got, "not 32 hex digits") || strings.Contains(got, "canary") || w.other() != v1alpha1.ConditionStalled {
			t.Errorf("message %q, condition %q", got, w.other())
		}
		if got := w.calls(); got != 0 {
			t.Errorf("%d calls to WeChat, want none", got)
		}
		w.edit("shop-app", setAppSecret("\ufeff"+testAppSecret+"\r\n"))
		w.run(time.Second)
		w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenValid)
	})
}

// P11: an account that hangs holds up no other.
func TestHangingAccountDelaysNobody(t *testing.T) {
	inWorld(t, wechattest.Config{OpenAccounts: true}, func(w *world) {
		w.create(appSecret(testAppSecret))
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultHang, AppID: testAppID})
		w.create(weChatToken())
		w.run(time.Second)
		if w.callsUnderWay == 0 {
			t.Fatal("the hanging call is not under way")
		}
		// The world has one worker. It is free.
		w.create(weChatToken(named("other"), func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wxfedcba9876543210" }))
		w.run(time.Second)
		if w.secret("other") == nil {
			t.Error("the other account has no token while the first one hangs")
		}
	})
}
