package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/controllers/account"
	"wechattoken.io/operator/internal/contest"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// noon is when the tables of plan.go and status.go observe.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// early is a UID with an offset of almost nothing, so that the times in a table
// are those of the policy.
const early types.UID = "early-17426778"

// a sight makes one thing different in what was observed, and a fact one in a
// record.
type (
	sight func(*observation)
	fact  func(*record.Record)
)

// observed is what there is at noon if nothing else is said: a WeChatToken in mode
// Stable, and a Secret with the token that its account knows. That was obtained an
// hour ago, and ends in an hour.
func observed(sights ...sight) *observation {
	wt := weChatToken()
	wt.Namespace, wt.UID, wt.Generation = "web", early, 3
	o := &observation{
		wt:          wt,
		credentials: &wechat.Credentials{AppID: testAppID, AppSecret: testAppSecret},
		key:         record.NewKey(testAppSecret),
		account:     &account.View{State: account.State{Mode: v1alpha1.ModeStable, Window: testWindow, Since: noon.Add(-time.Hour)}},
	}
	known()(o)
	for _, sight := range sights {
		sight(o)
	}
	if o.account != nil {
		report, reported := reportOn(wt)
		o.account.Wants = account.Wants{
			UID: wt.UID, Generation: wt.Generation, Suspended: wt.Spec.Suspend,
			RefreshBefore: wt.Spec.RefreshBeforeOrDefault(), CheckInterval: wt.Spec.CheckIntervalOr(0),
			Tickets: record.Wanted(wt), Request: requestOn(wt), Report: report, Reported: reported,
			Secret: o.onTarget,
		}
	}
	return o
}

// remembered is the record of the token of observed.
func remembered(facts ...fact) *record.Record {
	r := &record.Record{
		Verified: true,
		Token: record.Token{
			Value: "98_present", AppID: testAppID, Mode: v1alpha1.ModeStable,
			ObtainedAt: noon.Add(-time.Hour), ExpiresAt: noon.Add(time.Hour),
		},
	}
	for _, fact := range facts {
		fact(r)
	}
	return r
}

// next is the token that comes after that of observed.
func next(r *record.Record) {
	r.Token.Value, r.Token.ObtainedAt, r.Token.ExpiresAt = "98_next", noon, noon.Add(2*time.Hour)
}

func inClassic(r *record.Record) { r.Token.Mode = v1alpha1.ModeClassic }

func endsIn(d time.Duration) fact {
	return func(r *record.Record) { r.Token.ExpiresAt = noon.Add(d) }
}

// replaced is when the token has replaced another one in the Secret.
func replaced(ago time.Duration) fact {
	return func(r *record.Record) { r.ReplacedAt = noon.Add(-ago) }
}

// forcedNow is one forced call, made at noon.
func forcedNow(r *record.Record) { r.Spent.Forced = []time.Time{noon} }

// The places of the types of tickets.
const (
	jsapi = iota
	wxCard
)

// ticket is there, and trusted for so long.
func ticket(place int, trusted time.Duration) fact {
	return func(r *record.Record) {
		r.Tickets[place] = record.Ticket{Value: "ticket", FirstSeen: noon.Add(-time.Minute), Life: 2 * time.Hour, ExpiresAt: noon.Add(trusted)}
	}
}

// spec changes the WeChatToken since the Secret was written.
func spec(mods ...func(*v1alpha1.WeChatToken)) sight {
	return func(o *observation) {
		for _, mod := range mods {
			mod(o.wt)
		}
	}
}

// known is what the account knows, and the Secret too.
func known(facts ...fact) sight {
	return func(o *observation) {
		accountKnows(facts...)(o)
		secretHolds(facts...)(o)
	}
}

func accountKnows(facts ...fact) sight {
	return func(o *observation) { o.account.Known = *remembered(facts...) }
}

// secretHolds is what the operator has written to the target.
func secretHolds(facts ...fact) sight {
	return func(o *observation) {
		o.target = record.Render(o.wt, *remembered(facts...), o.key)
		o.onTarget = record.Read(o.target, o.key)
	}
}

// edited is what somebody else has done to the target.
func edited(edit func(*corev1.Secret)) sight {
	return func(o *observation) {
		edit(o.target)
		o.onTarget = record.Read(o.target, o.key)
	}
}

func withoutLabels(s *corev1.Secret) { s.Labels = nil }

func withAnotherValue(s *corev1.Secret) { s.Data["access_token"] = []byte("x") }

// inModeClassic has everything of observed in the other mode.
func inModeClassic(o *observation) {
	classic(o.wt)
	o.account.Mode = v1alpha1.ModeClassic
	known(inClassic)(o)
}

func noSecret(o *observation) { o.target, o.onTarget = nil, nil }

// noToken says that neither the account knows one nor the Secret holds one.
func noToken(o *observation) {
	o.account.Known = record.Record{}
	noSecret(o)
}

func appSecretMissing(o *observation) {
	o.credentials, o.key, o.account, o.missing = nil, nil, nil, ofAppSecret(o.wt.Spec.AppSecretRef, "")
	o.onTarget = record.Read(o.target, nil)
}

// targetTaken is all that observe says of a target that is somebody else's.
func targetTaken(o *observation) {
	o.conflict = `is claimed by WeChatToken "older"`
	o.credentials, o.key, o.account, o.onTarget = nil, nil, nil, nil
}

// moved says that the Secret of the name before is still there.
func moved(o *observation) { o.old = oldSecrets() }

func oldSecrets() []*corev1.Secret {
	return []*corev1.Secret{{ObjectMeta: metav1.ObjectMeta{Name: "old"}}}
}

// wrote is what this process has made the target hold last.
func wrote(facts ...fact) sight {
	return func(o *observation) {
		r := remembered(facts...)
		o.last.what, o.last.token, o.last.replacedAt = contentsOf(o, r), r.Token.Fingerprint(), r.ReplacedAt
	}
}

// repaired is when this process last wrote the same once more.
func repaired(ago time.Duration) sight {
	return func(o *observation) { o.last.repairs = contest.Effect{}.Done(noon.Add(-ago), repairData) }
}

// answered is the end of a call that WeChat answers, with the token in use.
func answered(kind account.Kind, a account.Answer) sight {
	return func(o *observation) {
		call := account.Call{Kind: kind, Mode: o.account.Mode, Credentials: *o.credentials, Token: o.account.Known.Token, Start: noon}
		o.account.Done(call, a, noon)
	}
}

// failed is the end of a call that WeChat answers with an errcode.
func failed(kind account.Kind, code int64) sight {
	return answered(kind, account.Answer{Err: &wechat.Error{Code: code, Message: "errmsg"}})
}

// foundInvalid says that WeChat has called the token in use invalid.
func foundInvalid(o *observation) { answered(account.Verify, account.Answer{})(o) }

// foundValid says that WeChat has called the token in use valid.
func foundValid(o *observation) { answered(account.Verify, account.Answer{Valid: true})(o) }

// fingerprintOfPresent is the report of the token of observed.
var fingerprintOfPresent = remembered().Token.Fingerprint()
