package consumers

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/contest"
	"wechattoken.io/operator/internal/record"
)

func TestWhenAWorkloadIsRestarted(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	token := func(mods ...func(*record.Record)) *record.Record {
		t := &record.Record{Token: record.Token{Value: "new", ObtainedAt: at, ExpiresAt: at.Add(2 * time.Hour)}, ReplacedAt: at}
		for _, mod := range mods {
			mod(t)
		}
		return t
	}
	const key = "restart.wechattoken.io/shop"
	base := func(mods ...func(*workload)) *workload {
		w := &workload{created: at.Add(-time.Hour), generation: 7, restarts: map[string]string{}, updated: true, available: true}
		for _, mod := range mods {
			mod(w)
		}
		return w
	}
	unfinished := func(w *workload) { w.updated, w.available = false, false }
	unavailable := func(w *workload) { w.available = false }
	const other = "restart.wechattoken.io/other"
	restarted := func(key, token string, when time.Duration) func(*workload) {
		return func(w *workload) {
			w.turn, w.restarts[key] = 1, mark{record.Fingerprint(token), at.Add(when), 1}.String()
		}
	}
	otherTemplate := func(w *workload) { w.turn = 0 }
	ours, earlier := restarted(key, "new", gathering), restarted(key, "old", -time.Hour)
	soon, late := at.Add(time.Minute), at.Add(testWindow)
	first := func(t *record.Record) { t.ReplacedAt = time.Time{} }
	classic := func(t *record.Record) { t.Token.Mode = v1alpha1.ModeClassic }
	undone := func(when ...time.Duration) (e contest.Effect) {
		for _, d := range when {
			e = e.Done(at.Add(d), retry(testWindow))
		}
		return e
	}
	invalid := func(t *record.Record) { t.Token.PredecessorInvalidAt = at }
	cases := map[string]struct {
		reason string
		w      *workload
		token  *record.Record
		known  rollout
		now    time.Time
		want   step
		until  time.Duration // after at
	}{
		"Due":                {reason: "The token has replaced another.", w: base(), token: token(), now: soon, want: stepDue},
		"DueAfterOurs":       {reason: "The restart for the token before does not count.", w: base(earlier), token: token(), now: soon, want: stepDue},
		"FirstToken":         {reason: "Pods that were there before it have waited for it.", w: base(), token: token(first), now: soon, want: stepDone},
		"ExpiredToken":       {reason: "An expired token is worth no restart.", w: base(), token: token(), now: at.Add(3 * time.Hour), want: stepDone},
		"OnDelete":           {reason: "A rollout would do nothing.", w: base(func(w *workload) { w.onDelete = true }), token: token(), now: soon, want: stepDone},
		"New":                {reason: "It is younger than the token.", w: base(func(w *workload) { w.created = at.Add(3 * time.Second) }), token: token(), now: soon, want: stepDone},
		"PerhapsOlder":       {reason: "In doubt it is older.", w: base(func(w *workload) { w.created = at.Add(time.Second) }), token: token(), now: soon, want: stepDue},
		"Fresh":              {reason: "Somebody else has restarted it meanwhile.", w: base(), token: token(), known: rollout{upToDate: true}, now: soon, want: stepDone},
		"Waits":              {reason: "An earlier rollout ends first.", w: base(unfinished), token: token(), now: soon, want: stepWaits, until: testWindow},
		"WaitsForPods":       {reason: "Its pods must be available.", w: base(unavailable), token: token(), now: soon, want: stepWaits, until: testWindow},
		"WaitsNoLonger":      {reason: "The old token is invalid, and pods may get ready only with the new one.", w: base(unavailable), token: token(), now: late, want: stepDue},
		"WaitsNotForInvalid": {reason: "The old token was invalid before.", w: base(unfinished), token: token(invalid), now: soon, want: stepDue},
		"Runs":               {reason: "Our rollout is under way.", w: base(ours, unfinished), token: token(), now: soon, want: stepRunning},
		"Late":               {reason: "Our rollout is under way, and the old token is invalid.", w: base(ours, unfinished), token: token(), now: late, want: stepRunning},
		"Done":               {reason: "Our rollout is finished.", w: base(ours), token: token(), now: soon, want: stepServed},
		"DoneLongAgo":        {reason: "All pods have the token, whether they are available or not.", w: base(ours, unavailable), token: token(), now: late, want: stepServed},
		"CacheBehind":        {reason: "The cache does not show our rollout yet.", w: base(), token: token(), known: rollout{generation: 8}, now: soon, want: stepRunning},
		"CacheHasCaughtUp":   {reason: "It shows it.", w: base(ours), token: token(), known: rollout{generation: 7}, now: soon, want: stepServed},
		"TakenBack":          {reason: "Somebody has undone our rollout.", w: base(earlier), token: token(), known: rollout{generation: 6}, now: soon, want: stepDue},
		"TemplateTakenBack":  {reason: "Somebody has applied the template before it.", w: base(ours, otherTemplate), token: token(), known: rollout{generation: 6}, now: at.Add(3 * time.Minute), want: stepDue},
		"TakenBackLately":    {reason: "A fight is slow.", w: base(earlier), token: token(), known: rollout{generation: 6, restarts: undone(30 * time.Second)}, now: soon, want: stepPauses, until: 3 * time.Minute},
		"TakenBackTwice":     {reason: "It gets slower.", w: base(earlier), token: token(), known: rollout{generation: 6, restarts: undone(-time.Minute, 30*time.Second)}, now: at.Add(4 * time.Minute), want: stepPauses, until: 330 * time.Second},
		"FirstClassic":       {reason: "Its call has ended what older pods have.", w: base(), token: token(first, classic), now: soon, want: stepDue},
		"FirstClassicLater":  {reason: "A younger workload has it.", w: base(func(w *workload) { w.created = at.Add(3 * time.Second) }), token: token(first, classic), now: soon, want: stepDone},

		"Gathers":        {reason: "Other tokens may come in the same moment.", w: base(), token: token(), now: at.Add(gathering - 1), want: stepGathers, until: gathering},
		"GathersInvalid": {reason: "One that comes too late for this restart would wait for much longer.", w: base(), token: token(invalid), now: at, want: stepGathers, until: gathering},
		"Gathered":       {reason: "They have come.", w: base(), token: token(), now: at.Add(gathering), want: stepDue},
		"FromTheFuture":  {reason: "The clock was set back: no wait is longer.", w: base(), token: token(), now: at.Add(-time.Hour), want: stepDue},

		"Pauses":           {reason: "It was restarted for another token, before this one was stored.", w: base(restarted(other, "other", -time.Minute)), token: token(), now: soon, want: stepPauses, until: 90 * time.Second},
		"PausesInTheSame":  {reason: "The pods may have started a moment before.", w: base(restarted(other, "other", time.Second)), token: token(), now: soon, want: stepPauses, until: 151 * time.Second},
		"PausesForOurs":    {reason: "It was restarted for the token before.", w: base(restarted(key, "old", -time.Minute)), token: token(), now: soon, want: stepPauses, until: 90 * time.Second},
		"PausesInvalid":    {reason: "An old token that is invalid is no way around the pause.", w: base(restarted(other, "other", -time.Minute)), token: token(invalid), now: soon, want: stepPauses, until: 90 * time.Second},
		"PausedLongEnough": {reason: "The pause is over, and half of the window is left.", w: base(restarted(other, "other", 0)), token: token(), now: at.Add(testWindow / 2), want: stepDue},
		"RollsFirst":       {reason: "What ends by an event is waited for first.", w: base(restarted(other, "other", 0), unfinished), token: token(), now: soon, want: stepWaits, until: testWindow},
		"OfANewerVersion":  {reason: "Nobody knows when.", w: base(func(w *workload) { w.restarts[other] = "b2c1@soon" }), token: token(), now: soon, want: stepDue},
		"Unreadable":       {reason: "It says no time.", w: base(func(w *workload) { w.restarts[other] = "b2c1" }), token: token(), now: soon, want: stepDue},
		"Forged":           {reason: "A time in the future keeps no restart away.", w: base(restarted(other, "other", time.Hour)), token: token(), now: soon, want: stepDue},

		"Served":       {reason: "The restart for another token brought this one, too.", w: base(restarted(other, "other", createdSlack)), token: token(), now: soon, want: stepServed},
		"IsServed":     {reason: "It goes on.", w: base(restarted(other, "other", createdSlack), unfinished), token: token(), now: soon, want: stepRunning},
		"IsServedLate": {reason: "Another restart on top would make it later.", w: base(restarted(other, "other", createdSlack), unfinished), token: token(), now: late, want: stepRunning},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, is := tc.w.step(tc.token, key, tc.known, testWindow, tc.now)
			if got != tc.want || tc.until != 0 && !is.wake.Equal(at.Add(tc.until)) {
				t.Errorf("%s got %d until %s, want %d until %s", tc.reason, got, is.wake, tc.want, at.Add(tc.until))
			}
		})
	}
}

func TestWhichPodsAreOlder(t *testing.T) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	token := &record.Record{ReplacedAt: at}
	d := &workload{kind: v1alpha1.KindDeployment, name: "shop", uid: "d"}
	s := &workload{kind: v1alpha1.KindStatefulSet, name: "shop", uid: "s"}
	pod := func(created time.Time, owner metav1.OwnerReference, mods ...func(*corev1.Pod)) *corev1.Pod {
		owner.Controller = new(true)
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created), OwnerReferences: []metav1.OwnerReference{owner}, Labels: map[string]string{appsv1.DefaultDeploymentUniqueLabelKey: "6d4b"}}}
		for _, mod := range mods {
			mod(p)
		}
		return p
	}
	rs := func(name string) metav1.OwnerReference { return metav1.OwnerReference{Kind: "ReplicaSet", Name: name} }
	before, after := at.Add(-time.Minute), at.Add(createdSlack)
	cases := map[string]struct {
		w    *workload
		pod  *corev1.Pod
		want bool
	}{
		"Older":           {d, pod(before, rs("shop-6d4b")), true},
		"SameSecond":      {d, pod(at.Add(time.Second), rs("shop-6d4b")), true},
		"Younger":         {d, pod(after, rs("shop-6d4b")), false},
		"OfAnother":       {d, pod(before, rs("shop-blue-6d4b")), false},
		"OfTheSet":        {d, pod(before, metav1.OwnerReference{Kind: "StatefulSet", Name: "shop", UID: "s"}), false},
		"NoHash":          {d, pod(before, rs("shop-"), func(p *corev1.Pod) { p.Labels = nil }), false},
		"Nobodys":         {d, pod(before, rs("shop-6d4b"), func(p *corev1.Pod) { p.OwnerReferences = nil }), false},
		"Set":             {s, pod(before, metav1.OwnerReference{Kind: "StatefulSet", Name: "shop", UID: "s"}), true},
		"SetBefore":       {s, pod(before, metav1.OwnerReference{Kind: "StatefulSet", Name: "shop", UID: "other"}), false},
		"Ending":          {d, pod(before, rs("shop-6d4b"), func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }), false},
		"Evicted":         {d, pod(before, rs("shop-6d4b"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), false},
		"Finished":        {d, pod(before, rs("shop-6d4b"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), false},
		"NotStarted":      {d, pod(before, rs("shop-6d4b"), func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }), true},
		"DaemonSetsAlike": {&workload{kind: v1alpha1.KindDaemonSet, uid: "s"}, pod(before, metav1.OwnerReference{Kind: "DaemonSet", UID: "s"}), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.w.ownsPod(tc.pod) && olderPod(tc.pod, token); got != tc.want {
				t.Errorf("got %t", got)
			}
		})
	}

	// Of a first token only what ran before it has another one: who waited for the Secret
	// was created before it, too.
	first := &record.Record{Token: record.Token{Mode: v1alpha1.ModeClassic, ObtainedAt: at}}
	runs := func(since time.Time) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(since)}}}}
		}
	}
	for reason, tc := range map[string]struct {
		pod  *corev1.Pod
		want bool
	}{
		"ran before":  {pod(before, rs("shop-6d4b"), runs(before)), true},
		"waited":      {pod(before, rs("shop-6d4b"), runs(after)), false},
		"waits":       {pod(before, rs("shop-6d4b")), false},
		"ran, ending": {pod(before, rs("shop-6d4b"), runs(before), func(p *corev1.Pod) { p.DeletionTimestamp = new(metav1.Now()) }), false},
	} {
		if got := olderPod(tc.pod, first); got != tc.want {
			t.Errorf("a pod that %s is older: %t", reason, got)
		}
	}
}

// Two templates take turns while each rollout ends before the next one begins. A turn that
// pods have is not taken: they would stay, with the old token.
func TestTurnsAlternate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		turn  int
		taken []int
		want  int
	}{
		"First":       {0, []int{0}, 1},
		"Back":        {1, []int{1}, 0},
		"Unfinished":  {1, []int{0, 1}, 2},
		"NotBegun":    {1, []int{0}, 2},
		"NoPods":      {0, nil, 1},
		"FillsTheGap": {2, []int{2, 0}, 1},
		"OfAPerson":   {7, []int{7}, 0},
	} {
		taken := map[int]bool{}
		for _, turn := range tc.taken {
			taken[turn] = true
		}
		if got := (&workload{turn: tc.turn}).nextTurn(taken); got != tc.want {
			t.Errorf("%s: turn %d follows %d, want %d", name, got, tc.turn, tc.want)
		}
	}
}

func TestEachWeChatTokenHasAnAnnotationOfItsOwn(t *testing.T) {
	long := strings.Repeat("a", 63)
	names := []string{"shop", "shop.eu", long, long + "b", long + "c", strings.Repeat("a.", 126) + "a"}
	seen := map[string]string{}
	for _, name := range names {
		key := restartAnnotation(name)
		if errs := validation.IsQualifiedName(key); len(errs) > 0 {
			t.Errorf("%s: %v", key, errs)
		}
		if other := seen[key]; other != "" {
			t.Errorf("%s and %s share %s", name, other, key)
		}
		seen[key] = name
	}
	if got, want := restartAnnotation("shop"), "restart.wechattoken.io/shop"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
