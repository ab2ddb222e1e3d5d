//go:build integration

package main

import (
	"fmt"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The tokens of 10 accounts are always valid, whatever 200 others do whose AppSecrets
// are wrong, or for which WeChat does not answer. It is worst when the operator
// starts, for then it has to do with all of them at once.
//
// If the calls that hang held up the workers, the others would wait for a minute or
// more. A token is due 7 s or more before it expires, for a machine that is busy.
func TestNoiseDelaysNobody(t *testing.T) {
	t.Parallel()
	const (
		life    = 20 * time.Second
		window  = 10 * time.Second
		timeout = time.Minute // of a call
		noisy   = 50          // accounts of each kind and mode
	)
	ns, others := newNamespace(t), newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{OpenAccounts: true, Life: life, Window: window, ClassicPerDay: -1})
	good := fleet(5)
	ns.create(good...)
	both := "--namespaces=" + ns.Name + "," + others.Name
	first := ns.start(url, both, "--stable-window="+window.String())
	ns.awaitReady()
	first.Kill()

	const wrong, hangs = 0, 1
	kind := func(i int) int { return i / 2 % 2 }
	var bad []app
	for n := range 2 * noisy {
		bad = append(bad, newApp(v1alpha1.ModeStable, 10_000+2*n), newApp(v1alpha1.ModeClassic, 10_001+2*n))
	}
	for i, a := range bad {
		fake.AddAccount(a.appID, "another")
		if kind(i) == hangs {
			fake.SetFault(wechattest.Fault{AppID: a.appID, Kind: wechattest.FaultHang})
		}
	}
	others.create(bad...)
	ns.start(url, both, "--stable-window="+window.String(), "--request-timeout="+timeout.String())
	valid := func() error {
		tokens, err := ns.tokens()
		if err != nil {
			return err
		}
		for _, a := range good {
			if !fake.Valid(tokens[a.name]) {
				return fmt.Errorf("that of %s is not", a.name)
			}
		}
		return nil
	}
	started := time.Now()
	testcluster.Eventually(t, "all tokens are valid", valid) // they may have expired before
	if took := time.Since(started); took > timeout/2 {
		t.Errorf("the operator took %s to bring valid tokens, want less than %s", took, timeout/2)
	}
	before := fake.Counts("")
	for end := time.Now().Add(life); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err := valid(); err != nil {
			t.Fatal(err)
		}
	}
	after := fake.Counts("")
	if rotated := after.Stable.Rotations + after.Classic.Rotations - before.Stable.Rotations - before.Classic.Rotations; rotated < len(good) {
		t.Errorf("%d refreshes, want %d or more", rotated, len(good))
	}
	var called [2]int
	for i, a := range bad {
		c := fake.Counts(a.appID)
		called[kind(i)] += c.Stable.Calls + c.Classic.Calls
	}
	// Calls that WeChat refuses are made slowly.
	if called[wrong] < noisy/5 || called[hangs] < noisy {
		t.Errorf("%d calls with a wrong AppSecret, and %d that hang; want %d and %d or more", called[wrong], called[hangs], noisy/5, noisy)
	}
}
