//go:build integration

package attack

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
)

// wrongKey is that of an AppSecret that the editor has made up.
var wrongKey = record.NewKey("00000000000000000000000000000000")

// freshRecord is better than any that the operator has.
func freshRecord(wt *v1alpha1.WeChatToken, token string) record.Record {
	now := time.Now().UTC().Truncate(time.Second)
	return record.Record{Token: record.Token{
		Value: token, AppID: wt.Spec.AppID, Mode: wt.Spec.ModeOrDefault(), ObtainedAt: now, ExpiresAt: now.Add(2 * time.Hour),
	}}
}

// A forgery changes a fresh record of a forged token, or the Secret that holds it.
// copied is the victim's annotation, which somebody has let the editor read.
type forgery struct {
	record func(r *record.Record)
	secret func(s *corev1.Secret, copied string)
}

var inRecord = regexp.MustCompile(`"(token|obtainedAt|expiresAt)":"[^"]+"`)

var forgeries = map[string]forgery{
	"wrong-key":    {},
	"copied":       {secret: func(s *corev1.Secret, copied string) { s.Annotations[record.Annotation] = copied }},
	"nobodys":      {secret: func(s *corev1.Secret, _ string) { s.OwnerReferences = nil }},
	"twenty-years": {record: func(r *record.Record) { r.Token.ExpiresAt = r.Token.ExpiresAt.AddDate(20, 0, 0) }},
	"line-feeds":   {record: func(r *record.Record) { r.Token.Value += "\r\nX-Injected: 1" }},
	"nul":          {record: func(r *record.Record) { r.Token.Value += "\x00" }},
	"large":        {record: func(r *record.Record) { r.Token.Value += strings.Repeat("x", 300<<10) }},
	"edited": {secret: func(s *corev1.Secret, copied string) {
		ours := inRecord.FindAllString(s.Annotations[record.Annotation], -1)
		s.Annotations[record.Annotation] = inRecord.ReplaceAllStringFunc(copied, func(field string) string {
			name, _, _ := strings.Cut(field, ":")
			return ours[slices.IndexFunc(ours, func(f string) bool { return strings.HasPrefix(f, name) })]
		})
	}},
	"year-10000": {record: func(r *record.Record) {
		r.Token.ExpiresAt, r.ReplacedAt = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(99999, 1, 1, 0, 0, 0, 0, time.UTC)
	}},
	"future": {record: func(r *record.Record) {
		r.Token.ObtainedAt, r.Token.ExpiresAt = r.Token.ObtainedAt.Add(time.Hour), r.Token.ExpiresAt.Add(time.Hour)
	}},
	"ticket": {record: func(r *record.Record) {
		r.Tickets[0] = record.Ticket{Value: forged, FirstSeen: r.Token.ObtainedAt, Life: 2 * time.Hour, ExpiresAt: r.Token.ExpiresAt}
	}},
}

func (f forgery) make(t *testing.T, wt *v1alpha1.WeChatToken, copied string) *corev1.Secret {
	t.Helper()
	r := freshRecord(wt, forged)
	if f.record != nil {
		f.record(&r)
	}
	s := record.Render(wt, r, wrongKey)
	if f.secret != nil {
		f.secret(s, copied)
	}
	return s
}

func annotationOf(t *testing.T, v *victim) string {
	t.Helper()
	return secretOf(t, v.Namespace, v.TokenSecretName()).Annotations[record.Annotation]
}

// joins makes a WeChatToken of the victim's appid in the editor's namespace, with a
// wrong AppSecret.
func joins(t *testing.T, who client.Client, evil, name string, v *victim, suspend bool) *v1alpha1.WeChatToken {
	t.Helper()
	wt := newWeChatToken(evil, name, v.Spec.AppID)
	wt.Spec.Mode, wt.Spec.Suspend, wt.Spec.Tickets = v.Spec.Mode, suspend, v.Spec.Tickets
	create(t, who, wt, newAppSecret())
	return wt
}

func TestAForgedRecordReachesNoOtherNamespace(t *testing.T) {
	tried(t, editor, "%d forged records of the victim's appid, suspended or not, around restarts", 2*len(forgeries)+1)
	evil, shop := newNamespace(t, "evil"), newNamespace(t, "shop")
	v := newVictim(t, shop, func(wt *v1alpha1.WeChatToken) { wt.Spec.Tickets = []v1alpha1.TicketType{v1alpha1.TicketJSAPI} })
	who := as(t, editor, evil)
	forgeAll := func(suffix string, suspend bool) {
		copied := annotationOf(t, v)
		for name, forgery := range forgeries {
			wt := joins(t, who, evil, name+suffix, v, suspend)
			must(t, who.Create(t.Context(), forgery.make(t, wt, copied)))
		}
	}

	// The token of another account is valid, too.
	other := newVictim(t, newNamespace(t, "other"))
	v.mu.Lock()
	v.foreign = other.has()
	v.mu.Unlock()
	wt := joins(t, who, evil, "foreign", v, true)
	must(t, who.Create(t.Context(), record.Render(wt, freshRecord(wt, other.has()), wrongKey)))

	forgeAll("-suspended", true)
	restart(t)
	v.awaitReady(t)
	annotate(t, admin, v.WeChatToken, v1alpha1.AnnotationInvalidToken, v.Status.TokenFingerprint+"@1")
	v.refresh(t)
	forgeAll("", false)
	restart(t)
	v.awaitReady(t)
}

func TestAForgedRecordIsReplacedInItsOwnNamespace(t *testing.T) {
	tried(t, editor, "the same, on the target of a WeChatToken with the right AppSecret")
	shop := newNamespace(t, "shop")
	who := as(t, editor, shop)
	var all []*v1alpha1.WeChatToken
	for name, forgery := range forgeries {
		if name == "nobodys" {
			continue // a person's Secret is not touched
		}
		wt := newWeChatToken(shop, name, newAppID())
		wt.Spec.Suspend = true
		create(t, who, wt, weChat.newAccount(wt.Spec.AppID))
		must(t, who.Create(t.Context(), forgery.make(t, wt, `{"version":1,"record":{},"mac":"00"}`)))
		all = append(all, wt)
	}
	restart(t)
	for _, wt := range all {
		must(t, who.Patch(t.Context(), nameOf(wt), merge(`{"spec":{"suspend":false}}`)))
	}
	for _, wt := range all {
		testcluster.Eventually(t, wt.Name+" has a valid token", func() error {
			var s corev1.Secret
			if err := who.Get(t.Context(), client.ObjectKeyFromObject(wt), &s); err != nil {
				return err
			}
			if r := readyOf(t, wt); !weChat.Valid(string(s.Data["access_token"])) || r.Status != metav1.ConditionTrue {
				return fmt.Errorf("%s: %s", r.Reason, r.Message)
			}
			return nil
		})
	}
}

func TestATokenIsNotStolenWithAWrongAppSecret(t *testing.T) {
	tried(t, editor, "the victim's appid with a wrong AppSecret, without and with the victim's record")
	evil, shop := newNamespace(t, "evil"), newNamespace(t, "shop")
	v := newVictim(t, shop)
	who := as(t, editor, evil)
	plain, copied := joins(t, who, evil, "plain", v, false), joins(t, who, evil, "copied", v, true)
	must(t, who.Create(t.Context(), forgeries["copied"].make(t, copied, annotationOf(t, v))))
	must(t, who.Patch(t.Context(), nameOf(copied), merge(`{"spec":{"suspend":false}}`)))
	v.refresh(t)
	restart(t)
	for _, wt := range []*v1alpha1.WeChatToken{plain, copied} {
		awaitReason(t, wt, v1alpha1.ReasonAppSecretInvalid)
	}
	var all corev1.SecretList
	must(t, who.List(t.Context(), &all, client.InNamespace(evil)))
	for i := range all.Items {
		for key, value := range all.Items[i].Data {
			if weChat.Valid(string(value)) {
				t.Errorf("Secret %s of the editor holds a valid token under %s", all.Items[i].Name, key)
			}
		}
	}
	v.awaitReady(t)
}

func TestABudgetOfStrangersBindsNobody(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	forcedCalls := func(n int) (s budget.Spent) {
		for i := range n {
			s.Forced = append(s.Forced, now.Add(-time.Duration(i)*time.Second))
		}
		return s
	}
	classic := func(day time.Time) budget.Spent { return budget.Spent{}.CallClassic(day) }
	today := classic(now)
	today.Classic.Calls = 2000
	tomorrow := classic(now.Add(24 * time.Hour))
	tomorrow.Classic.Calls = 1 << 30
	cases := map[string]struct {
		mode  v1alpha1.Mode
		spent budget.Spent
	}{
		"20 forced calls":              {v1alpha1.ModeStable, forcedCalls(20)},
		"20,000 forced calls":          {v1alpha1.ModeStable, forcedCalls(20_000)},
		"2,000 classic calls today":    {v1alpha1.ModeClassic, today},
		"2^30 classic calls, tomorrow": {v1alpha1.ModeClassic, tomorrow},
	}
	victims, evil := map[string]*victim{}, newNamespace(t, "evil")
	who := as(t, editor, evil)
	for name, tc := range cases {
		v := newVictim(t, newNamespace(t, "shop"), func(wt *v1alpha1.WeChatToken) {
			wt.Spec.Mode, wt.Spec.AllowedNamespaces = tc.mode, []v1alpha1.AllowedNamespace{v1alpha1.AllowedNamespace(evil)}
		})
		for i, suspend := range []bool{true, false} {
			wt := joins(t, who, evil, fmt.Sprintf("budget-%d-%d", len(victims), i), v, suspend)
			r := freshRecord(wt, forged)
			r.Spent = tc.spent
			must(t, who.Create(t.Context(), record.Render(wt, r, wrongKey)))
		}
		taker := newTaker(evil, fmt.Sprintf("taker-%d", len(victims)), v.WeChatToken)
		must(t, admin.Create(t.Context(), taker))
		awaitReason(t, taker, v1alpha1.ReasonTokenValid)
		s := secretOf(t, evil, taker.Name)
		r := freshRecord(v.WeChatToken, string(s.Data["access_token"]))
		r.Spent = tc.spent
		s.Annotations[record.Annotation] = record.Render(taker, r, wrongKey).Annotations[record.Annotation]
		must(t, who.Update(t.Context(), s))
		victims[name] = v
	}
	restart(t)
	for name := range cases {
		t.Run(name, func(t *testing.T) {
			tried(t, editor, "a forged budget of the victim's appid: %s", name)
			v := victims[name]
			v.awaitReady(t)
			v.refresh(t)
			if n := len(annotationOf(t, v)); n > 4<<10 {
				t.Errorf("the victim's record has %d bytes", n)
			}
		})
	}
}

func TestManyWrongAppSecretsDelayNobody(t *testing.T) {
	inSize(t, editor, "WeChatTokens of the victim's appid, each with another wrong AppSecret that changes", 60, 600, func(t *testing.T, n int) {
		t.Helper()
		evil, v := newNamespace(t, "evil"), newVictim(t, newNamespace(t, "shop"))
		who := as(t, editor, evil)
		t.Run("created", func(t *testing.T) {
			readsFewSecrets(t, n, func() {
				delaysNobody(t, func() {
					inParallel(t, "WeChatTokens", n, func(i int) error {
						wt := newWeChatToken(evil, fmt.Sprintf("wrong-%d", i), v.Spec.AppID)
						if err := who.Create(t.Context(), appSecretOf(wt, newAppSecret())); err != nil {
							return err
						}
						return who.Create(t.Context(), wt)
					})
				})
			})
		})
		t.Run("changed", func(t *testing.T) {
			readsFewSecrets(t, 2*n, func() {
				delaysNobody(t, func() {
					inParallel(t, "changed AppSecrets", 2*n, func(i int) error {
						s := newSecret(evil, fmt.Sprintf("wrong-%d-app", i%n), nil)
						return who.Patch(t.Context(), s, merge(`{"stringData":{"appsecret":%q}}`, newAppSecret()))
					})
				})
			})
		})
		v.refresh(t)
	})
}

func TestFakeOwnedSecretsAreNotRead(t *testing.T) {
	inSize(t, editor, "Secrets that name the editor's or the victim's WeChatToken as their owner", 100, 4000, func(t *testing.T, n int) {
		t.Helper()
		evil, v := newNamespace(t, "evil"), newVictim(t, newNamespace(t, "shop"))
		who, bait := as(t, editor, evil), newVictim(t, evil)
		for name, owner := range map[string]*victim{"own": bait, "another's": v} {
			t.Run(name, func(t *testing.T) {
				readsFewSecrets(t, 2, func() {
					delaysNobody(t, func() {
						inParallel(t, "Secrets", n, func(i int) error {
							s := newSecret(evil, fmt.Sprintf("owned-%s-%d", owner.UID, i), map[string]string{"access_token": forged})
							s.Annotations = map[string]string{record.Annotation: `{"version":1}`}
							s.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(owner, v1alpha1.GroupVersion.WithKind(v1alpha1.Kind))}
							return who.Create(t.Context(), s)
						})
					})
					owner.refresh(t)
					awaitNoReads(t)
				})
			})
		}
	})
}

func TestManyClaimantsCostNobodyElse(t *testing.T) {
	inSize(t, editor, "WeChatTokens with one target", 80, 800, func(t *testing.T, n int) {
		t.Helper()
		evil := newNamespace(t, "evil")
		who, appID := as(t, editor, evil), newAppID()
		must(t, who.Create(t.Context(), newSecret(evil, "app", map[string]string{"appsecret": weChat.newAccount(appID)})))
		readsFewSecrets(t, n, func() {
			delaysNobody(t, func() {
				inParallel(t, "WeChatTokens", n, func(i int) error {
					wt := newWeChatToken(evil, fmt.Sprintf("claimant-%d", i), appID)
					wt.Spec.AppSecretRef.Name, wt.Spec.Secret = "app", &v1alpha1.TokenSecret{Name: "target"}
					return who.Create(t.Context(), wt)
				})
				inParallel(t, "deletions", n/4, func(i int) error {
					return who.Delete(t.Context(), newWeChatToken(evil, fmt.Sprintf("claimant-%d", i), ""))
				})
			})
			awaitNoReads(t)
		})
	})
}
