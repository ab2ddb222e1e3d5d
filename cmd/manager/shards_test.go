//go:build integration

package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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

// shardLabel is the label of the selectors here, as docs/sharding.md has it.
const shardLabel = "wechattoken.io/shard"

// shard is one install of several, with a WeChat of its own, so that a call of
// the wrong one is seen.
type shard struct {
	*namespace
	*testcluster.Program

	fake  *wechattest.Server
	url   string
	flags []string
}

// newShard is an install with flags of its own.
func newShard(ns *namespace, cfg wechattest.Config, flags ...string) *shard {
	cfg.OpenAccounts = true
	fake, url := testcluster.FakeWeChat(ns.T, cfg)
	return &shard{namespace: ns, fake: fake, url: url, flags: flags}
}

// newLabelled are two shards of one namespace, told apart by the label. They do
// not run yet.
func newLabelled(ns *namespace, cfg wechattest.Config) (a, b *shard) {
	return newShard(ns, cfg, "--selector="+shardLabel+"=a"), newShard(ns, cfg, "--selector="+shardLabel+"=b")
}

func (s *shard) run() {
	s.T.Helper()
	s.Program = s.start(s.url, s.flags...)
	s.AwaitReady()
}

// calls are those that the shard has made for an app.
func (s *shard) calls(a app) int { return s.fake.Counts(a.appID).Stable.Calls }

// in is the app with the label of a shard.
func (a app) in(shard string) app {
	a.labels = map[string]string{shardLabel: shard}
	return a
}

// move puts the WeChatToken of a into another shard, and returns the version
// that makes of it.
func (n *namespace) move(a app, to string) string {
	n.T.Helper()
	return n.note(a, "labels", shardLabel, to)
}

// asked is the value of the annotation that asks for a new token.
const asked = "now"

// requestRefresh asks for a new token.
func (n *namespace) requestRefresh(a app) {
	n.T.Helper()
	n.note(a, "annotations", v1alpha1.AnnotationRefreshRequestedAt, asked)
}

// note sets a label or an annotation of the WeChatToken of a, and returns its
// resource version.
func (n *namespace) note(a app, where, key, value string) string {
	n.T.Helper()
	wt := &v1alpha1.WeChatToken{ObjectMeta: metav1.ObjectMeta{Name: a.name}}
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{%q:{%q:%q}}}`, where, key, value))
	if err := n.Patch(n.T.Context(), wt, patch); err != nil {
		n.T.Fatal(err)
	}
	return wt.ResourceVersion
}

// awaitRefreshed waits for what requestRefresh asked for.
func (n *namespace) awaitRefreshed(a app) {
	n.T.Helper()
	testcluster.Eventually(n.T, "the refresh is done", func() error {
		if got := n.weChatTokens()[a.name].Status.LastHandledRefreshAt; got != asked {
			return fmt.Errorf("handled is %q, want %q", got, asked)
		}
		return nil
	})
}

// awaitReason waits until Ready of the WeChatToken of a has the reason.
func (n *namespace) awaitReason(a app, reason string) {
	n.T.Helper()
	testcluster.Eventually(n.T, a.name+" is "+reason, func() error {
		wt := n.weChatTokens()[a.name]
		if c := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Reason != reason {
			return fmt.Errorf("the condition is %v", c)
		}
		return nil
	})
}

// secret is the one with the name.
func (n *namespace) secret(name string) *corev1.Secret {
	n.T.Helper()
	var s corev1.Secret
	if err := n.Get(n.T.Context(), client.ObjectKey{Name: name}, &s); err != nil {
		n.T.Fatal(err)
	}
	return &s
}

// Each install works on its own WeChatTokens, and on those of another not even
// while that one is away.
func TestShardsLeaveEachOtherAlone(t *testing.T) {
	t.Parallel()
	// The whole cluster is watched where only a label parts it, so that this
	// namespace needs labels of its own.
	labelled := func(value string) func(string) string {
		return func(name string) string { return "--namespaces= --selector=" + shardLabel + "=" + value + name }
	}
	namespaces := func(name string) string { return "--namespaces=" + name }
	one, two := newApp(v1alpha1.ModeStable, 1), newApp(v1alpha1.ModeStable, 2)
	cases := map[string]struct {
		reason string
		apart  bool      // each shard has a namespace
		labels [2]string // of the apps, with the namespace behind it; empty for none
		flags  [2]func(namespace string) string
	}{
		"Labels":     {"A label parts what is in one namespace.", false, [2]string{"a", "b"}, [2]func(string) string{labelled("a"), labelled("b")}},
		"Namespaces": {"A namespace needs no label.", true, [2]string{}, [2]func(string) string{namespaces, namespaces}},
		"Both": {"A label parts what is in the namespaces of two shards, and what has none is for the rest.", false, [2]string{"a", ""}, [2]func(string) string{
			func(name string) string { return labelled("a")(name) + " " + namespaces(name) },
			func(name string) string { return namespaces(name) + " --selector=!" + shardLabel },
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := [2]*namespace{newNamespace(t)}
			if ns[1] = ns[0]; tc.apart {
				ns[1] = newNamespace(t)
			}
			var shards [2]*shard
			apps := [2]app{one, two}
			for i := range shards {
				shards[i] = newShard(ns[i], wechattest.Config{}, strings.Fields(tc.flags[i](ns[i].Name))...)
				shards[i].run()
				if label := tc.labels[i]; label != "" {
					apps[i] = apps[i].in(label + ns[i].Name)
				}
				ns[i].create(apps[i])
			}
			// calls are those of the shards for each other's, and for their own.
			calls := func() string {
				return fmt.Sprint(shards[0].calls(apps[1]), shards[1].calls(apps[0]), " ", shards[0].calls(apps[0]), shards[1].calls(apps[1]))
			}
			for i := range shards {
				ns[i].awaitReason(apps[i], v1alpha1.ReasonTokenValid)
			}
			if got := calls(); got != "0 0 1 1" {
				t.Errorf("%s\ncalls for each other's, and for their own: %s, want 0 0 1 1", tc.reason, got)
			}

			// What there is to do for the dead one is seen by the other: a
			// refresh request, and a Secret that is gone.
			shards[1].Kill()
			ns[1].requestRefresh(apps[1])
			before := ns[1].weChatTokens()[apps[1].name]
			ns[1].deleteSecret(apps[1].name)
			ns[0].requestRefresh(apps[0])
			ns[0].awaitRefreshed(apps[0])
			if diff := cmp.Diff(before, ns[1].weChatTokens()[apps[1].name]); diff != "" {
				t.Errorf("%s\nthe object of the dead one (-before +now):\n%s", tc.reason, diff)
			}
			if tokens, err := ns[1].tokens(); err != nil || tokens[apps[1].name] != "" {
				t.Errorf("%s\nthe other one made its Secret (%v)", tc.reason, err)
			}

			shards[1].run()
			ns[1].awaitRefreshed(apps[1])
			if other := shards[0].calls(apps[1]) + shards[1].calls(apps[0]); other != 0 {
				t.Errorf("%s\n%d calls for each other's in the end", tc.reason, other)
			}
		})
	}
}

// state changes with whatever is written for a. There is no event without a write
// of the status.
func (n *namespace) state(a app) map[string]string {
	n.T.Helper()
	wt := n.weChatTokens()[a.name]
	return map[string]string{
		"WeChatToken": wt.ResourceVersion,
		"Secret":      n.secret(wt.TokenSecretName()).ResourceVersion,
	}
}

// A WeChatToken with another label is taken over as after a restart: for
// nothing. Who had it forgets it.
func TestRelabelledIsTakenOver(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	a, b := newLabelled(ns, wechattest.Config{})
	a.run()
	b.run()
	shop := newApp(v1alpha1.ModeStable, 1)
	ns.create(shop.in("a"))
	ns.awaitReason(shop, v1alpha1.ReasonTokenValid)
	probes := 1
	// moves returns when the new shard has looked at it: what it is told next
	// is done.
	moves := func(to *shard, label string) {
		t.Helper()
		before, calls := ns.state(shop), a.calls(shop)+b.calls(shop)
		before["WeChatToken"] = ns.move(shop, label)
		probes++
		probe := newApp(v1alpha1.ModeStable, probes).in(label)
		ns.create(probe)
		ns.awaitReason(probe, v1alpha1.ReasonTokenValid)
		if to.calls(probe) != 1 {
			t.Errorf("the probe is not of shard %s", label)
		}
		if diff := cmp.Diff(before, ns.state(shop)); diff != "" {
			t.Errorf("writes of the move to %s (-before +now):\n%s", label, diff)
		}
		if got := a.calls(shop) + b.calls(shop) - calls; got != 0 {
			t.Errorf("the move to %s has cost %d calls", label, got)
		}
	}
	moves(b, "b")
	ns.requestRefresh(shop)
	ns.awaitRefreshed(shop)
	if got := fmt.Sprint(a.calls(shop), b.calls(shop)); got != "1 1" {
		t.Errorf("calls of a and of b after a refresh was asked for in b: %s, want 1 1", got)
	}
	// The older token, which a had when it was its own, is not written again.
	moves(a, "a")

	// What a shard was about to do for what is not its own any more, it leaves.
	stuck := newApp(v1alpha1.ModeStable, 1000)
	a.fake.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1, AppID: stuck.appID})
	ns.create(stuck.in("a"))
	testcluster.Eventually(t, "it has been tried", func() error {
		if a.calls(stuck) == 0 {
			return errors.New("no call")
		}
		return nil
	})
	ns.move(stuck, "b")
	ns.awaitReason(stuck, v1alpha1.ReasonTokenValid)
	before := a.calls(stuck)
	time.Sleep(3 * time.Second) // the first tries come after 1 and 2 s
	if got := a.calls(stuck) - before; got != 0 {
		t.Errorf("a has called %d times for what is not its own any more", got)
	}
}

// Of two WeChatTokens of two shards that name one Secret, who made it has
// it: neither shard knows of the other's, and so which is the older.
func TestSecretIsOfTheShardThatMadeIt(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	a, b := newLabelled(ns, wechattest.Config{})
	older, younger := newApp(v1alpha1.ModeStable, 1).in("b"), newApp(v1alpha1.ModeStable, 2).in("a")
	older.target, younger.target = "shared", "shared"
	ns.create(older)
	time.Sleep(time.Second) // they are told apart by the second they were made in
	ns.create(younger)
	a.run()
	ns.awaitReason(younger, v1alpha1.ReasonTokenValid)
	before := ns.state(younger)
	b.run()
	ns.awaitReason(older, v1alpha1.ReasonSecretConflict)
	a.Kill()
	a.run()
	for i, label := range []string{"a", "b"} { // both have looked again
		probe := newApp(v1alpha1.ModeStable, 10+i).in(label)
		ns.create(probe)
		ns.awaitReason(probe, v1alpha1.ReasonTokenValid)
	}
	if diff := cmp.Diff(before, ns.state(younger)); diff != "" {
		t.Errorf("the one that has it (-before +now):\n%s", diff)
	}
	if got := fmt.Sprint(a.calls(younger), b.calls(older)); got != "1 0" {
		t.Errorf("calls of who has it and of who has not: %s, want 1 0", got)
	}

	// So it is in one shard, too.
	ns.move(older, "a")
	probe := newApp(v1alpha1.ModeStable, 20).in("a")
	ns.create(probe)
	ns.awaitReason(probe, v1alpha1.ReasonTokenValid)
	ns.awaitReason(older, v1alpha1.ReasonSecretConflict)
	ns.awaitReason(younger, v1alpha1.ReasonTokenValid)
}

// Of two shards that make one Secret in the same moment the last to write has it,
// and they do not fight over it.
func TestShardsDoNotFightOverASecret(t *testing.T) {
	t.Parallel()
	const pairs = 10
	ns := newNamespace(t)
	a, b := newLabelled(ns, wechattest.Config{})
	var apps []app
	for i := range pairs {
		for j, label := range []string{"a", "b"} {
			one := newApp(v1alpha1.ModeStable, 2*i+j).in(label)
			one.target = fmt.Sprint("shared-", i)
			apps = append(apps, one)
		}
	}
	ns.create(apps...)
	q := newRequests(ns)
	for _, s := range []*shard{a, b} {
		s.Program = s.start(s.url, append(s.flags, "--kubeconfig="+q.kubeconfig)...)
	}
	settled := func() error {
		wts := ns.weChatTokens()
		for i := range pairs {
			var s corev1.Secret
			if err := ns.Get(t.Context(), client.ObjectKey{Name: fmt.Sprint("shared-", i)}, &s); err != nil {
				return err
			}
			owner := metav1.GetControllerOf(&s)
			for _, one := range apps[2*i : 2*i+2] {
				wt, want := wts[one.name], v1alpha1.ReasonSecretConflict
				if owner != nil && wt.UID == owner.UID {
					want = v1alpha1.ReasonTokenValid
					if got := wt.Status.TokenFingerprint; got != record.Fingerprint(string(s.Data["access_token"])) || string(s.Data["appid"]) != one.appID {
						return fmt.Errorf("%s says that the Secret holds %q, and it does not", one.name, got)
					}
				}
				if c := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionReady); c == nil || c.Reason != want {
					return fmt.Errorf("%s, of pair %d: got %v, want %s", one.name, i, c, want)
				}
			}
		}
		return nil
	}
	testcluster.Eventually(t, "of each pair one has the Secret, and the other knows", settled)
	before := q.writes()
	time.Sleep(3 * time.Second)
	written := since(before, q.writes())
	delete(written, "POST events") // the last ones are still on their way
	if diff := cmp.Diff(map[string]int{}, written); diff != "" {
		t.Errorf("writes afterwards (-want +got):\n%s", diff)
	}
	if err := settled(); err != nil {
		t.Error(err)
	}
}

// What docs/sharding.md says of an account in two shards: they do not know of
// each other's refreshes. A forced one ends the token of the other shard, which
// learns of it when it asks: by its next check, or for a report as here.
func TestAccountInTwoShardsIsFoundOut(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	// A forced call ends the old token at once here, and not in 5 minutes.
	a, b := newLabelled(ns, wechattest.Config{Overlap: -1})
	b.fake, b.url = a.fake, a.url
	here, there := newApp(v1alpha1.ModeStable, 1).in("a"), newApp(v1alpha1.ModeStable, 1).in("b")
	here.name, there.name = "here", "there"
	ns.create(here, there)
	a.run()
	b.run()
	token := func(one app) string { return string(ns.secret(one.name).Data["access_token"]) }
	for _, one := range []app{here, there} {
		ns.awaitReason(one, v1alpha1.ReasonTokenValid)
	}
	old := token(there)
	if token(here) != old || a.calls(here) != 2 {
		t.Errorf("%d calls, the same token %t; want one call of each shard, and the same token", a.calls(here), token(here) == old)
	}

	before := ns.state(there)
	ns.requestRefresh(here)
	ns.awaitRefreshed(here)
	if token(here) == old || a.fake.Valid(old) {
		t.Error("the refresh was not forced")
	}
	if diff := cmp.Diff(before, ns.state(there)); diff != "" {
		t.Errorf("the other shard has learnt of it by itself (-before +now):\n%s", diff)
	}

	ns.note(there, "annotations", v1alpha1.AnnotationInvalidToken, record.Fingerprint(old))
	testcluster.Eventually(t, "it has the token of the first, and says that somebody else has replaced its own", func() error {
		wt := ns.weChatTokens()[there.name]
		if is := wt.Status.ReplacedElsewhere; token(there) != token(here) || is.Count != 1 {
			return fmt.Errorf("the same token %t, replaced elsewhere %+v", token(there) == token(here), is)
		}
		return nil
	})
	if !a.fake.Valid(token(here)) || a.fake.Counts(here.appID).Forced != 1 {
		t.Error("the two shards kill each other's tokens")
	}
}

// A lease lets one work of all that share a namespace, so that an install needs
// one of its own.
func TestInstallsOfOneNamespaceWaitForEachOther(t *testing.T) {
	t.Parallel()
	ns, another := newNamespace(t), newNamespace(t)
	a, b := newLabelled(ns, wechattest.Config{})
	c := newShard(ns, wechattest.Config{}, "--selector="+shardLabel+"=c")
	for s, lease := range map[*shard]*namespace{a: ns, b: ns, c: another} {
		s.flags = append(s.flags, "--leader-elect=true", "--leader-election-namespace="+lease.Name)
	}
	a.run()
	ns.lease("")
	b.run()
	c.run()
	var apps []app
	for i, label := range []string{"a", "b", "c"} {
		apps = append(apps, newApp(v1alpha1.ModeStable, i).in(label))
	}
	ns.create(apps...)
	ns.awaitReason(apps[0], v1alpha1.ReasonTokenValid)
	ns.awaitReason(apps[2], v1alpha1.ReasonTokenValid)
	if b.calls(apps[1]) > 0 {
		t.Error("two installs of one namespace work at once")
	}
	if code := a.Terminate(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	ns.awaitReason(apps[1], v1alpha1.ReasonTokenValid)
}
