//go:build integration

package main

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// read is what a consumer has found in a Secret.
type read struct {
	at    time.Time
	token string // fingerprint
}

// consume reads the tokens of the namespace until stop is closed, as programs do that
// call WeChat with them.
func (n *namespace) consume(stop <-chan struct{}) <-chan []read {
	result := make(chan []read, 1)
	go func() {
		var all []read
		for {
			select {
			case <-stop:
				result <- all
				return
			case <-time.After(100 * time.Millisecond):
			}
			at := time.Now()
			tokens, err := n.tokens()
			if err != nil {
				n.T.Errorf("read the Secrets: %v", err)
			}
			for _, token := range tokens {
				all = append(all, read{at, record.Fingerprint(token)})
			}
		}
	}()
	return result
}

// Two clusters use the same accounts and know nothing of each other. Each forces
// refreshes, one operator is killed, and WeChat is away for a while: no consumer in
// either reads an invalid token. Without checks many do.
func TestTwoClustersShareAccounts(t *testing.T) {
	t.Parallel()
	another, err := testcluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := another.Stop(); err != nil {
			t.Error(err)
		}
	})
	for name, tc := range map[string]struct {
		flags   []string
		invalid bool
	}{
		"Checked":   {flags: []string{"--check-interval=6s"}},
		"Unchecked": {flags: []string{"--check-interval=0s"}, invalid: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const window = 30 * time.Second // of which the interval is a fifth
			fake, url := testcluster.FakeWeChat(t, wechattest.Config{Life: 4 * window, Window: window, Overlap: window})
			clusters := []*namespace{newNamespace(t), {another.NewNamespace(t)}}
			flags := append([]string{"--stable-window=" + window.String()}, tc.flags...)
			var apps []app
			for i := range 4 {
				apps = append(apps, newApp(v1alpha1.ModeStable, 3000+i))
				fake.AddAccount(apps[i].appID, apps[i].secret)
			}
			stop := make(chan struct{})
			var reads []<-chan []read
			var managers []*testcluster.Program
			for _, n := range clusters {
				n.create(apps...)
				managers = append(managers, n.start(url, flags...))
				n.awaitReady()
				reads = append(reads, n.consume(stop))
			}

			for i, a := range apps {
				clusters[i%2].kubectl("annotate", "wxt/"+a.name, v1alpha1.AnnotationRefreshRequestedAt+"=now")
			}
			managers[1].Signal(syscall.SIGKILL)
			managers[1].AwaitEnd()
			clusters[1].start(url, flags...)
			testcluster.Eventually(t, "all are forced, before WeChat is away", func() error {
				if got := fake.Counts("").Forced; got < len(apps) {
					return fmt.Errorf("%d of %d", got, len(apps))
				}
				return nil
			})
			fake.SetFault(wechattest.Fault{Kind: wechattest.FaultStatus, Status: 502, For: window / 5})
			time.Sleep(window + window/3)
			close(stop)

			ends := map[string]time.Time{}
			for _, token := range fake.Tokens() {
				ends[token.Fingerprint] = token.Ends
			}
			total, invalid := 0, 0
			for _, r := range reads {
				for _, read := range <-r {
					total++
					if !read.at.Before(ends[read.token]) {
						invalid++
					}
				}
			}
			t.Logf("%d of %d reads found an invalid token", invalid, total)
			if total < 1000 || (invalid > 0) != tc.invalid {
				t.Errorf("%d of %d reads found an invalid token, want some: %t", invalid, total, tc.invalid)
			}
			if c := fake.Counts(""); c.Forced != len(apps) || c.Business.Calls != 0 {
				t.Errorf("%d forced calls and %d questions, want the %d that were requested and none", c.Forced, c.Business.Calls, len(apps))
			}
		})
	}
}
