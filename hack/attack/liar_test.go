//go:build integration

package attack

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// squash leaves of a text what does not change when it is spaced, quoted or shouted.
func squash(text string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(text))
}

// share reports whether a text has 8 characters of a secret in it, in one form or
// another.
func share(text, secret string) bool {
	text = squash(text)
	for form, shared := range map[string]int{
		secret: 8, hex.EncodeToString([]byte(secret)): 16, base64.StdEncoding.EncodeToString([]byte(secret)): 11,
	} {
		form = squash(form)
		for i := range max(0, len(form)-shared+1) {
			if strings.Contains(text, form[i:i+shared]) {
				return true
			}
		}
	}
	return false
}

// echoes are how a gateway may quote what it was sent.
var echoes = map[string]func(secret string) string{
	"plain":      func(s string) string { return s },
	"upper-case": strings.ToUpper,
	"hex":        func(s string) string { return hex.EncodeToString([]byte(s)) },
	"hex-upper":  func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
	"base64":     func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"spaced":     func(s string) string { return strings.Join(strings.Split(s, ""), " ") },
	"grouped":    func(s string) string { return s[:4] + "-" + s[4:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:] },
	"beginning":  func(s string) string { return s[:len(s)/2] + "..." },
	"end":        func(s string) string { return "..." + s[len(s)-12:] },
	"middle":     func(s string) string { return "***" + s[8:20] + "***" },
	"two-lines":  func(s string) string { return s[:10] + "\n" + s[10:] },
	"json":       func(s string) string { return fmt.Sprintf(`{"secret":%q}`, s) },
}

// echoed makes WeChat answer with each echo, with an errcode that we know and with one
// that nobody knows.
func echoed(t *testing.T, do func(t *testing.T, answer func(appID, secret string))) {
	t.Helper()
	for _, code := range []int{40125, 99999} {
		for name, echo := range echoes {
			t.Run(fmt.Sprintf("%s/%d", name, code), func(t *testing.T) {
				t.Parallel()
				do(t, func(appID, secret string) {
					weChat.SetFault(wechattest.Fault{AppID: appID, Kind: wechattest.FaultErrcode, Code: code, Message: "denied " + echo(secret) + " by gateway"})
				})
			})
		}
	}
}

func TestEchoesAreMasked(t *testing.T) {
	t.Parallel()
	tried(t, liar, "the AppSecret in an errmsg, in %d forms, and a page that quotes the request", len(echoes))
	echoed(t, func(t *testing.T, answer func(appID, secret string)) {
		t.Helper()
		wt, appSecret := newWeChatToken(newNamespace(t, "shop"), "fails", newAppID()), newAppSecret()
		answer(wt.Spec.AppID, appSecret)
		create(t, admin, wt, appSecret)
		tellsNothing(t, wt, appSecret)
	})
	for _, mode := range []v1alpha1.Mode{v1alpha1.ModeStable, v1alpha1.ModeClassic} {
		t.Run("page/"+string(mode), func(t *testing.T) {
			t.Parallel()
			wt, appSecret := newWeChatToken(newNamespace(t, "shop"), "fails", newAppID()), newAppSecret()
			wt.Spec.Mode = mode
			weChat.SetFault(wechattest.Fault{AppID: wt.Spec.AppID, Kind: wechattest.FaultEcho})
			create(t, admin, wt, appSecret)
			tellsNothing(t, wt, appSecret)
		})
	}
}

func TestEchoesOfTheTokenAreMasked(t *testing.T) {
	t.Parallel()
	tried(t, liar, "the present token in an errmsg, in %d forms", len(echoes))
	echoed(t, func(t *testing.T, answer func(appID, secret string)) {
		t.Helper()
		v := newVictim(t, newNamespace(t, "shop"))
		answer(v.Spec.AppID, v.has())
		annotate(t, admin, v.WeChatToken, v1alpha1.AnnotationRefreshRequestedAt, "1")
		tellsNothing(t, v.WeChatToken, v.has())
	})
}

// tellsNothing waits for the failure of wt, and looks for a secret in all that is
// said of it.
func tellsNothing(t *testing.T, wt *v1alpha1.WeChatToken, secret string) {
	t.Helper()
	known.Store(secret[:32], true)
	testcluster.Eventually(t, wt.Name+" has failed", func() error {
		readyOf(t, wt)
		if wt.Status.LastError == nil {
			return fmt.Errorf("no error yet: %v", wt.Status.Conditions)
		}
		return nil
	})
	status, err := json.Marshal(wt.Status)
	must(t, err)
	if share(string(status), secret) {
		t.Errorf("the status has some of the secret in it: %.60s", wt.Status.LastError.Message)
	}
	var events eventsv1.EventList
	must(t, admin.List(t.Context(), &events, client.InNamespace(wt.Namespace)))
	for _, e := range events.Items {
		if share(e.Note, secret) {
			t.Errorf("an event has some of the secret in it: %.80s", e.Note)
		}
	}
}

func TestGoodIsNotReplacedByBad(t *testing.T) {
	t.Parallel()
	tried(t, liar, "forced refreshes that are answered with rubbish, nothing, too much, and an expires_in of 0 s to 100 years")
	faults := map[string]wechattest.Fault{
		"Garbage": {Kind: wechattest.FaultGarbage}, "Null": {Kind: wechattest.FaultNull}, "Empty": {Kind: wechattest.FaultEmpty},
		"Huge": {Kind: wechattest.FaultHuge}, "HugeToken": {Kind: wechattest.FaultHuge, Bytes: 100_000}, "Truncated": {Kind: wechattest.FaultTruncated},
		"Lost": {Kind: wechattest.FaultLost}, "Page": {Kind: wechattest.FaultStatus, Status: 200}, "Redirect": {Kind: wechattest.FaultStatus, Status: 302},
		"NoLife": {Kind: wechattest.FaultBadTTL}, "Negative": {Kind: wechattest.FaultBadTTL, ExpiresIn: -1},
		"Century": {Kind: wechattest.FaultBadTTL, ExpiresIn: 3_153_600_000}, "Overflow": {Kind: wechattest.FaultBadTTL, ExpiresIn: 1 << 62},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t, newNamespace(t, "shop"))
			fault.AppID = v.Spec.AppID
			before := len(weChat.sentFor(v.Spec.AppID))
			id := weChat.SetFault(fault)
			annotate(t, admin, v.WeChatToken, v1alpha1.AnnotationRefreshRequestedAt, "1")
			testcluster.Eventually(t, "WeChat is asked", func() error {
				if calls := len(weChat.sentFor(v.Spec.AppID)); calls <= before {
					return fmt.Errorf("%d calls", calls)
				}
				return nil
			})
			time.Sleep(500 * time.Millisecond)
			v.check(t)
			weChat.ClearFaults(id)
			v.awaitReady(t)
		})
	}
}
