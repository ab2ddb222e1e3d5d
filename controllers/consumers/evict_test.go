package consumers

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// A quarter of the pods may be missing, one at least and 20 at most, whatever the reason;
// an old pod that is not ready is missing anyhow.
func TestWhichPodsAreEvicted(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	// Each letter is a pod: Old and ready, old and not ready, Young, young and not ready;
	// x is ready and younger than half a window, though older than the token.
	podsOf := func(letters string) (pods []livePod) {
		for i, letter := range letters {
			pod := livePod{name: string(letter) + string(rune('0'+i%10)), created: now.Add(-time.Hour), ready: strings.ContainsRune("OYx", letter), older: strings.ContainsRune("Oox", letter)}
			if letter == 'x' {
				pod.created = now.Add(1 - pause(testWindow))
			}
			pods = append(pods, pod)
		}
		return pods
	}
	for name, tc := range map[string]struct {
		reason  string
		pods    string
		desired int
		want    string
	}{
		"One":           {"There is no other way.", "O", 1, "O0"},
		"Two":           {"One at a time.", "OO", 2, "O0"},
		"TwoOnePending": {"The one that replaces it comes first.", "Oy", 2, ""},
		"TwoOneGone":    {"Nothing stands for it yet.", "O", 2, ""},
		"TwoOneYoung":   {"It goes on.", "OY", 2, "O0"},
		"Eight":         {"A quarter.", "OOOOOOOO", 8, "O0 O1"},
		"EightOneDown":  {"The other of the two.", "OOOOOOOy", 8, "O0"},
		"NotReady":      {"It costs nothing, and goes first.", "OOOo", 4, "o3"},
		"NoneReady":     {"They may wait for the new token.", "oooo", 4, "o0 o1 o2 o3"},
		"NewNeverReady": {"An outage does not spread.", "OOOOOOyy", 8, ""},
		"Surge":         {"A rollout has begun: more are ready than desired.", "OOOOYY", 4, "O0 O1 O2"},
		"Young":         {"It was made for another token a moment ago.", "xxOO", 4, "O2"},
		"YoungOnes":     {"They wait.", "xx", 2, ""},
		"Many":          {"20 at once.", strings.Repeat("O", 200), 200, strings.TrimSpace(strings.Repeat("O0 O1 O2 O3 O4 O5 O6 O7 O8 O9 ", 2))},
		"ManyNotReady":  {"20 at once.", strings.Repeat("o", 200), 200, strings.TrimSpace(strings.Repeat("o0 o1 o2 o3 o4 o5 o6 o7 o8 o9 ", 2))},
		"None":          {"All have the token.", "YYy", 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			for _, pod := range toEvict(podsOf(tc.pods), tc.desired, testWindow, now) {
				got = append(got, pod.name)
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// With OnDelete an eviction would roll out a template that somebody withholds.
func TestEvictionsLeaveAWithheldTemplateAlone(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	stored := &record.Record{Token: record.Token{Value: "second", ExpiresAt: now.Add(time.Hour)}, ReplacedAt: now.Add(-time.Minute)}
	w := &workload{uid: "shop", onDelete: true}
	f, err := (&Reconciler{Window: testWindow}).evictWorkload(t.Context(), weChatToken(), w, stored, &memory{rollouts: map[types.UID]rollout{}}, now)
	if err != nil || f.reason != v1alpha1.ReasonRestartWaits || !strings.Contains(f.why, "OnDelete") {
		t.Errorf("got %+v, %v", f, err)
	}
}

// What no watch finds is restarted by the operator as the spec says.
func TestOtherKindsAreRestartedAsTheSpecSays(t *testing.T) {
	t.Parallel()
	other := func(kind, name string, by v1alpha1.Restarter, how ...v1alpha1.SecretUse) v1alpha1.Consumer {
		return v1alpha1.Consumer{APIVersion: "example.com/v1", Kind: kind, Name: name, RestartedBy: by, Uses: how}
	}
	target := func(kind v1alpha1.WorkloadKind, name string) v1alpha1.RestartTarget {
		return v1alpha1.RestartTarget{APIVersion: "example.com/v1", Kind: kind, Name: name, Method: v1alpha1.RestartByEviction}
	}
	const env, file, ours, reloader = v1alpha1.UseEnv, v1alpha1.UseFile, v1alpha1.RestarterOperator, v1alpha1.RestarterReloader
	found := []v1alpha1.Consumer{other("Clone", "env", "", env), other("Clone", "file", "", file), other("Clone", "theirs", reloader, env), other("Game", "env", "", env)}
	for name, tc := range map[string]struct {
		targets []v1alpha1.RestartTarget
		want    []v1alpha1.Consumer
	}{
		"None": {nil, found},
		"OfAKind": {
			[]v1alpha1.RestartTarget{target("Clone", "")},
			[]v1alpha1.Consumer{other("Clone", "env", ours, env), found[1], found[2], found[3]},
		},
		"Named": {
			[]v1alpha1.RestartTarget{target("Clone", "file"), target("Clone", "theirs"), target("Game", "new"), {Kind: v1alpha1.KindDeployment, Name: "env"}},
			[]v1alpha1.Consumer{found[0], other("Clone", "file", ours, file), other("Clone", "theirs", ours, env), found[3], other("Game", "new", ours)},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wt := weChatToken()
			wt.Spec.Restart.Workloads = tc.targets
			if diff := cmp.Diff(tc.want, withRestarts(wt, found)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
