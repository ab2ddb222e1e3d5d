package main

import (
	"slices"
	"sync"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// The tokens of 100 accounts are refreshed in time, whatever 1,000 others do
// meanwhile whose AppSecrets are wrong, or for which WeChat does not answer. It
// is worst when the operator starts, for then it has to do with all of them at
// once. What is in time on this machine now, the 100 alone tell.
func TestNoiseDelaysNobody(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute and a half")
	}
	const (
		life    = 12 * time.Second // so that each is refreshed every 6 to 7.5 s
		window  = 6 * time.Second
		timeout = 5 * time.Second  // of a call
		half    = 10 * time.Second // of a measurement: every token is due once or twice
		noisy   = 500              // accounts of each mode
		allowed = time.Second
	)
	ns := newNamespace(t)
	fake, url := serve(t, wechattest.Config{OpenAccounts: true, Life: life, Window: window, ClassicPerDay: -1})
	good := fleet(50)
	ns.create(good...)
	start := func(namespaces string) *manager {
		return ns.start(url, "--namespaces="+namespaces, "--stable-window="+window.String(), "--request-timeout="+timeout.String())
	}
	m := start(ns.name)
	ns.awaitReady()
	dues := ns.noteDues()
	defer dues.stop()

	// measure starts a new manager, and returns how late the refreshes are at
	// first and later.
	measure := func(what, namespaces string) measured {
		t.Helper()
		m.kill()
		begun := time.Now()
		m = start(namespaces)
		time.Sleep(2 * half)
		var late measured
		for i, part := range []string{"at first", "later"} {
			late[i] = dues.lateness(fake, good, begun.Add(time.Duration(i)*half), begun.Add(time.Duration(i+1)*half))
			if len(late[i]) < len(good) {
				t.Fatalf("%s, %s: %d refreshes, want %d or more", what, part, len(late[i]), len(good))
			}
			t.Logf("%-36s %-8s %d refreshes, late by %s in the median, %s in 99 of 100, %s at most",
				what, part, len(late[i]), late[i].share(0.5), late[i].share(0.99), late[i].share(1))
		}
		return late
	}
	alone := measure("alone", ns.name)

	for i, what := range []string{"beside 1,000 wrong AppSecrets", "beside 1,000 without an answer"} {
		others := newNamespace(t)
		var apps []app
		for n := range noisy {
			number := 10_000*(i+1) + 2*n
			apps = append(apps, newApp(v1alpha1.ModeStable, number), newApp(v1alpha1.ModeClassic, number+1))
		}
		for _, a := range apps {
			fake.AddAccount(a.appID, "another")
			if i == 1 {
				fake.SetFault(wechattest.Fault{AppID: a.appID, Kind: wechattest.FaultHang})
			}
		}
		others.createAtOnce(apps) // the manager at work does not watch them
		before := fake.Counts("")
		// The machine may have had more to do than before, for others: what holds
		// up refreshes does so each time.
		const tries = 3
		for try := 1; ; try++ {
			worst := measure(what, ns.name+","+others.name).later(alone)
			if worst <= allowed {
				break
			}
			if try == tries {
				t.Errorf("%s refreshes are %s later than alone, %d times in a row", what, worst, tries)
				break
			}
			t.Logf("%s refreshes are %s later than alone; once more", what, worst)
			alone = measure("alone", ns.name)
		}
		after := fake.Counts("")
		failed := func(e wechattest.EndpointCounts) int { return e.Calls - e.OK }
		want := len(apps)
		if i == 0 {
			want /= 10 // calls that WeChat refuses are made slowly
		}
		if n := failed(after.Stable) + failed(after.Classic) - failed(before.Stable) - failed(before.Classic); n < want {
			t.Errorf("%s: %d calls failed, want %d or more", what, n, want)
		}
	}
	ns.awaitReady()
}

// createAtOnce is create, by 8 at once.
func (n *namespace) createAtOnce(apps []app) {
	n.t.Helper()
	var all sync.WaitGroup
	for part := range slices.Chunk(apps, (len(apps)+7)/8) {
		all.Go(func() { n.create(part...) })
	}
	all.Wait()
}

// dues are the times at which refreshes were due, by appid.
type dues struct {
	stop func() // ends the noting

	mu sync.Mutex
	at map[string][]time.Time
}

// noteDues notes when the WeChatTokens of the namespace are due, as their status
// tells.
func (n *namespace) noteDues() *dues {
	done := make(chan struct{})
	var noting sync.WaitGroup
	d := &dues{at: map[string][]time.Time{}, stop: func() {
		close(done)
		noting.Wait()
	}}
	noting.Go(func() {
		for {
			for _, wt := range n.weChatTokens() {
				if wt.Status.NextRefreshTime != nil {
					d.note(wt.Spec.AppID, wt.Status.NextRefreshTime.Time)
				}
			}
			select {
			case <-done:
				return
			case <-time.After(time.Second):
			}
		}
	})
	return d
}

func (d *dues) note(appID string, due time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !slices.ContainsFunc(d.at[appID], due.Equal) {
		d.at[appID] = append(d.at[appID], due)
	}
}

// lateness is how late refreshes were, the latest last. The status tells whole
// seconds, so that each seems late by up to one; that is always the same for one
// account, for its tokens end on whole seconds.
type lateness []time.Duration

// share is the lateness that so large a share of the refreshes did not exceed.
func (l lateness) share(share float64) time.Duration {
	return l[int(share*float64(len(l)-1))].Round(time.Millisecond)
}

// lateness is that of the refreshes of apps which were made in a time.
func (d *dues) lateness(fake *wechattest.Server, apps []app, from, until time.Time) lateness {
	d.mu.Lock()
	defer d.mu.Unlock()
	ours := map[string]bool{}
	for _, a := range apps {
		ours[a.appID] = true
	}
	var late lateness
	for _, call := range fake.Calls() {
		if !ours[call.AppID] || !call.Rotated || call.At.Before(from) || call.At.After(until) {
			continue
		}
		var due time.Time // the last one before the call
		for _, at := range d.at[call.AppID] {
			if at.After(due) && !at.After(call.At) {
				due = at
			}
		}
		late = append(late, call.At.Sub(due))
	}
	slices.Sort(late)
	return late
}

// measured is the lateness at first and later.
type measured [2]lateness

// later is by how much m is later than alone, in the median or in 99 of 100.
func (m measured) later(alone measured) time.Duration {
	var worst time.Duration
	for part := range m {
		for _, share := range []float64{0.5, 0.99} {
			worst = max(worst, m[part].share(share)-alone[part].share(share))
		}
	}
	return worst
}
