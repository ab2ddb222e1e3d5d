//go:build integration

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// TestCrashAtEveryEdge kills the manager before and after each call and each
// write, and starts it anew. What was to be done is done then, for one call more at
// most, and is remembered. Package controllers simulates a crash in every situation,
// between any two effects; these three are for what only a process, an API server
// and their caches can show.
//
// The points are enumerated, not drawn: a run without a crash tells which there
// are, and each gets a run, a process and a namespace of its own.
func TestCrashAtEveryEdge(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]crash{
		"FirstToken": {
			reason: "Of a call that nobody has written down only WeChat knows: it is made again.",
		},
		"ForcedRefreshOfTwoTheAskerLast": {
			reason:     "A forced refresh costs one of WeChat's 20, however the operator ends in it, and the token that the other WeChatToken has already is the one that was asked for.",
			living:     true,
			sister:     "desk",
			waits:      inBoth(map[string]string{"write Secret shop 1": "write status of desk"}),
			cause:      askForRefresh,
			forced:     1,
			plainFirst: true,
		},
		"InvalidToken": {
			reason:  "A token that was revoked is replaced by a forced refresh. In stable mode a plain call comes before WeChat is asked.",
			living:  true,
			cause:   endAndReport,
			invalid: true,
			waits: map[v1alpha1.Mode]map[string]string{ // for the status that tells that it is invalid
				v1alpha1.ModeStable:  {"call 2": "write status of shop"},
				v1alpha1.ModeClassic: {"call 1": "write status of shop"},
			},
			forced: 1,
			calls:  map[v1alpha1.Mode]int{v1alpha1.ModeStable: 2},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.run(t)
		})
	}
}

// crash is a situation in which the manager acts, and may die.
type crash struct {
	reason string

	living bool                                // there are tokens before
	sister string                              // one more WeChatToken, with the account of shop
	waits  map[v1alpha1.Mode]map[string]string // see effects.waits: it makes all trials take the same course

	cause   func(*testing.T, *trial, *wechattest.Server) // what makes the manager act; nil if time does
	invalid bool                                         // the token is invalid then

	forced     int                   // calls that count as forced
	calls      map[v1alpha1.Mode]int // without a crash, where that is not 1
	plainFirst bool                  // see trial.more
}

func inBoth(waits map[string]string) map[v1alpha1.Mode]map[string]string {
	return map[v1alpha1.Mode]map[string]string{v1alpha1.ModeStable: waits, v1alpha1.ModeClassic: waits}
}

// askForRefresh asks for a forced refresh of shop.
func askForRefresh(_ *testing.T, tr *trial, _ *wechattest.Server) {
	tr.ns.annotateShop(v1alpha1.AnnotationRefreshRequestedAt, "now")
}

// endAndReport ends the token of shop, and reports that.
func endAndReport(t *testing.T, tr *trial, fake *wechattest.Server) {
	t.Helper()
	if !fake.Revoke(tr.before) {
		t.Fatalf("%s: the token was invalid already", tr)
	}
	tr.ns.annotateShop(v1alpha1.AnnotationInvalidToken, record.Fingerprint(tr.before)+"@now")
}

func (n *namespace) annotateShop(key, value string) {
	n.T.Helper()
	wt := &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Name: "shop"}}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value))
	if err := n.Patch(n.T.Context(), wt, patch); err != nil {
		n.T.Fatal(err)
	}
}

// trial is one account in a namespace of its own, and a manager that is killed at
// one point.
type trial struct {
	mode  v1alpha1.Mode
	point string // empty: it is not killed
	ns    *namespace
	apps  []app
	day   string // on which it began, see today

	before string         // the token before
	calls  int            // calls that WeChat has had then
	points []string       // that the manager has passed
	did    map[string]int // what it did until it was killed
}

func (s crash) run(t *testing.T) {
	t.Helper()
	modes := []v1alpha1.Mode{v1alpha1.ModeStable, v1alpha1.ModeClassic}
	fake := wechattest.New(wechattest.Config{OpenAccounts: true})

	var whole []*trial
	for _, mode := range modes {
		whole = append(whole, s.newTrial(t, mode, "", len(whole)))
	}
	s.perform(t, fake, whole)

	var trials []*trial
	for _, w := range whole {
		for _, point := range w.points {
			trials = append(trials, s.newTrial(t, w.mode, point, len(whole)+len(trials)))
		}
	}
	s.perform(t, fake, trials)
	s.report(t, fake, whole, trials)
}

func (s crash) newTrial(t *testing.T, mode v1alpha1.Mode, point string, number int) *trial {
	t.Helper()
	tr := &trial{mode: mode, point: point, ns: newNamespace(t), day: today()}
	shop := newApp(mode, number)
	shop.name = "shop"
	tr.apps = []app{shop}
	if s.sister != "" {
		sister := shop
		sister.name = s.sister
		tr.apps = append(tr.apps, sister)
	}
	if s.living {
		tr.ns.create(tr.apps...)
	}
	return tr
}

// perform lets a manager act in each trial, and die there if it is to. What is
// left then is completed by another, and that one is followed by a third, which
// has nothing to do.
func (s crash) perform(t *testing.T, fake *wechattest.Server, trials []*trial) {
	t.Helper()
	// Without the check each minute: it is a call that no trial has, and a slow machine takes longer.
	flags := []string{"--log-level=WARN", "--check-interval=0s"}
	var all []string
	for _, tr := range trials {
		all = append(all, tr.ns.Name)
	}
	onAll := append([]string{"--namespaces=" + strings.Join(all, ",")}, flags...)
	one := trials[0].ns

	if s.living {
		first := newEffects(one, fake, "").start(onAll...)
		for _, tr := range trials {
			tr.await(t, "the first token", s.settled)
			tr.before, _ = tr.token(t)
			tr.calls = tr.weChatCalls(fake)
		}
		first.Kill()
	}

	theirs := make([]*effects, len(trials))
	for i, tr := range trials {
		theirs[i] = newEffects(tr.ns, fake, tr.point)
		theirs[i].waits = s.waits[tr.mode]
		theirs[i].start(flags...)
	}
	for i, tr := range trials {
		if s.living {
			tr.awaitLook(t, theirs[i])
		} else {
			tr.ns.create(tr.apps...)
		}
		if s.cause != nil {
			s.cause(t, tr, fake)
		}
	}
	for i, tr := range trials {
		if tr.point == "" {
			tr.await(t, "the new token", s.done)
			theirs[i].victim.Kill()
		}
		testcluster.Eventually(t, "the manager is struck "+tr.point, func() error {
			select {
			case <-theirs[i].victim.Ended():
				return nil
			default:
				points, _ := theirs[i].had()
				return fmt.Errorf("it runs; so far: %s", strings.Join(points, ", "))
			}
		})
		tr.points, tr.did = theirs[i].had()
	}
	if !s.invalid {
		for _, tr := range trials {
			tr.checkValid(t, fake, "right after the crash")
		}
	}

	second := newEffects(one, fake, "").start(onAll...)
	for _, tr := range trials {
		tr.await(t, "what was to be done", s.done)
	}
	second.Kill()
	for _, tr := range trials {
		s.check(t, fake, tr)
	}

	s.checkNothingToDo(t, newEffects(one, fake, ""), onAll, fake, trials)
}

// check says whether a trial has ended well.
func (s crash) check(t *testing.T, fake *wechattest.Server, tr *trial) {
	t.Helper()
	tr.checkValid(t, fake, "in the end")
	counts := fake.Counts(tr.apps[0].appID)
	again := 0
	if tr.mode == v1alpha1.ModeStable {
		again = tr.outdated(fake)
	}
	if got, want := tr.weChatCalls(fake)-tr.calls, max(s.calls[tr.mode], 1)+tr.more(s); got < want || got > want+again {
		t.Errorf("%s: %d calls, want %d, and %d more at most", tr, got, want, again)
	}
	if tr.mode == v1alpha1.ModeStable && (counts.Forced != s.forced || counts.ForceRefused > 0) {
		t.Errorf("%s: WeChat had %d forced calls and refused %d, want %d and 0", tr, counts.Forced, counts.ForceRefused, s.forced)
	}
	for _, a := range tr.apps {
		forced, classic := tr.budget(t, a)
		if forced != s.forced {
			t.Errorf("%s: Secret %s counts %d forced calls, want %d", tr, a.name, forced, s.forced)
		}
		// A classic call of which nothing was written is not counted: nobody
		// but WeChat knows of it.
		if want := counts.Classic.Calls - min(tr.lost(), counts.Classic.Calls); classic != want && tr.day == today() {
			t.Errorf("%s: Secret %s counts %d classic calls, want %d", tr, a.name, classic, want)
		}
	}
}

// outdated is how many plain calls were 5 s older than WeChat's word that the token is
// invalid, as on a slow machine: such a call is made once more.
func (tr *trial) outdated(fake *wechattest.Server) (n int) {
	var plain time.Time
	for _, c := range fake.Calls() {
		switch {
		case c.AppID != tr.apps[0].appID:
		case c.Endpoint == wechattest.Stable && !c.Forced:
			plain = c.At
		case c.InvalidToken && c.At.Sub(plain) >= 5*time.Second:
			n++
		}
	}
	return n
}

// today is the present day of WeChat's, by which classic calls are counted.
func today() string {
	return time.Now().In(time.FixedZone("UTC+8", 8*60*60)).Format(time.DateOnly)
}

// lost is 1 if the manager was killed between a call and the first write of what it
// brought, and otherwise 0.
func (tr *trial) lost() int {
	if tr.did["call"] > 0 && !tr.wrote() {
		return 1
	}
	return 0
}

func (tr *trial) wrote() bool {
	return slices.ContainsFunc(tr.apps, func(a app) bool { return tr.did["write Secret "+a.name] > 0 })
}

// more is how many calls a crash costs.
func (tr *trial) more(s crash) int {
	if tr.point == "" || tr.wrote() {
		return 0
	}
	// With a forced refresh pending, a process that has just started cannot
	// know whether the one before it has made the call. In stable mode it asks:
	// a plain call is free, and brings the token that such a call has made.
	if s.plainFirst && tr.mode == v1alpha1.ModeStable {
		return 1
	}
	return tr.lost()
}

// checkNothingToDo says whether one more process makes no call and no write.
func (s crash) checkNothingToDo(t *testing.T, e *effects, flags []string, fake *wechattest.Server, trials []*trial) {
	t.Helper()
	before := make([]int, len(trials))
	for i, tr := range trials {
		before[i] = tr.weChatCalls(fake)
	}
	m := e.start(flags...)
	for _, tr := range trials {
		tr.awaitLook(t, e)
	}
	// What it had to do it would have begun before this.
	probe := newApp(v1alpha1.ModeStable, 1<<20)
	probe.name = "probe"
	trials[0].ns.create(probe)
	trials[0].ns.awaitReady()
	m.Kill()
	_, did := e.had()
	for what, n := range did {
		if what != "call" && !strings.HasSuffix(what, " "+probe.name) {
			t.Errorf("a restart with nothing to do: %d times %q", n, what)
		}
	}
	for i, tr := range trials {
		if n := tr.weChatCalls(fake) - before[i]; n > 0 {
			t.Errorf("%s: a restart with nothing to do: %d calls", tr, n)
		}
	}
}

func (tr *trial) String() string {
	if tr.point == "" {
		return string(tr.mode) + ", no crash"
	}
	return string(tr.mode) + ", struck " + tr.point
}

func (tr *trial) weChatCalls(fake *wechattest.Server) int {
	c := fake.Counts(tr.apps[0].appID)
	return c.Stable.Calls + c.Classic.Calls
}

// await waits until holds says of each WeChatToken that it is as it should be,
// and they share one token.
func (tr *trial) await(t *testing.T, what string, holds func(*trial, v1alpha1.WeChatToken, string) error) {
	t.Helper()
	testcluster.Eventually(t, fmt.Sprintf("%s: %s", tr, what), func() error {
		token, ok := tr.token(t)
		if !ok {
			return errors.New("not all have the same token")
		}
		all := tr.ns.weChatTokens()
		for _, a := range tr.apps {
			if err := holds(tr, all[a.name], token); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
		return nil
	})
}

// awaitLook waits until the manager has looked at each WeChatToken: of two
// Secrets it reads the one with the AppSecret last.
func (tr *trial) awaitLook(t *testing.T, e *effects) {
	t.Helper()
	testcluster.Eventually(t, fmt.Sprintf("%s: the manager has looked", tr), func() error {
		for _, a := range tr.apps {
			if e.looks(tr.ns.Name, a.name+"-app") == 0 {
				return errors.New("not at " + a.name)
			}
		}
		return nil
	})
}

// checkValid says whether the Secrets there are hold valid tokens.
func (tr *trial) checkValid(t *testing.T, fake *wechattest.Server, when string) {
	t.Helper()
	tokens, err := tr.ns.tokens()
	if err != nil {
		t.Fatal(err)
	}
	for secret, token := range tokens {
		if !fake.Valid(token) {
			t.Errorf("%s: Secret %s holds an invalid token %s", tr, secret, when)
		}
	}
}

// token is the token that all Secrets of the trial hold; false if they do not.
func (tr *trial) token(t *testing.T) (string, bool) {
	t.Helper()
	tokens, err := tr.ns.tokens()
	if err != nil {
		t.Fatal(err)
	}
	first := tokens[tr.apps[0].name]
	for _, a := range tr.apps {
		if tokens[a.name] == "" || tokens[a.name] != first {
			return first, false
		}
	}
	return first, true
}

// settled is nil when a WeChatToken tells of the token in its Secret, and of
// nothing else: its manager has nothing more to do.
func (crash) settled(_ *trial, wt v1alpha1.WeChatToken, token string) error {
	switch c := wt.Status.Conditions; {
	case wt.Status.TokenFingerprint != record.Fingerprint(token):
		return errors.New("the status tells of another token")
	case len(c) != 1 || !meta.IsStatusConditionTrue(c, v1alpha1.ConditionReady):
		return errors.New("not Ready and nothing else")
	}
	return nil
}

// done is nil when what was to be done is done.
func (s crash) done(tr *trial, wt v1alpha1.WeChatToken, token string) error {
	if token == tr.before {
		return errors.New("the old token")
	}
	if asked := wt.Annotations[v1alpha1.AnnotationRefreshRequestedAt]; wt.Status.LastHandledRefreshAt != asked {
		return errors.New("the refresh that was asked for is not echoed")
	}
	if report := wt.Annotations[v1alpha1.AnnotationInvalidToken]; wt.Status.LastHandledInvalidToken != report {
		return errors.New("the report is not echoed")
	}
	return s.settled(tr, wt, token)
}

// budget is what the Secret says was spent.
func (tr *trial) budget(t *testing.T, a app) (forced, classic int) {
	t.Helper()
	var s corev1.Secret
	if err := tr.ns.Get(t.Context(), client.ObjectKey{Name: a.name}, &s); err != nil {
		t.Fatal(err)
	}
	r := record.Read(&s, nil)
	if r == nil {
		t.Fatalf("%s: Secret %s has no record", tr, a.name)
	}
	return len(r.Spent.Forced), r.Spent.Classic.Calls
}

// report logs what each crash cost.
func (s crash) report(t *testing.T, fake *wechattest.Server, whole, trials []*trial) {
	t.Helper()
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "mode\tstruck\tcalls\tforced, to WeChat\tto the Secret\tclassic, to WeChat\tto the Secret")
	for _, tr := range slices.Concat(whole, trials) {
		c := fake.Counts(tr.apps[0].appID)
		forced, classic := tr.budget(t, tr.apps[0])
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%d\n", tr.mode, tr.point, tr.weChatCalls(fake)-tr.calls, c.Forced-c.ForceRefused, forced, c.Classic.Calls, classic)
	}
	table.Flush()
	t.Logf("%s\n%s", s.reason, text.String())
}
