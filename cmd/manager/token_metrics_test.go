//go:build integration

package main

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// told is a manager whose metrics are scraped.
type told struct {
	*testcluster.Program

	t               testing.TB
	address, bearer string
}

// startTold starts one of the replicas that share the lease of the namespace.
func (n *namespace) startTold(weChat, bearer string, flags ...string) told {
	n.T.Helper()
	address := freeAddress(n.T)
	flags = append([]string{"--metrics-bind-address=" + address, "--leader-elect=true", "--leader-election-namespace=" + n.Name}, flags...)
	return told{n.start(weChat, flags...), n.T, address, bearer}
}

// sample is a line of a scrape.
var sample = regexp.MustCompile(`(?m)^([a-z_]+(?:\{.*\})?) (\S+)$`)

// samples are the values of a scrape, by name and labels.
func (m told) samples() (map[string]float64, error) {
	status, body := scrape(m.t, "https://"+m.address+"/metrics", m.bearer)
	if status != http.StatusOK {
		return nil, fmt.Errorf("status %d: %.200s", status, body)
	}
	values := map[string]float64{}
	for _, line := range sample.FindAllStringSubmatch(body, -1) {
		v, err := strconv.ParseFloat(line[2], 64)
		if err != nil {
			return nil, err
		}
		values[line[1]] = v
	}
	return values, nil
}

// absent stands for a series that is not to be there.
var absent = math.Inf(-1)

// awaitTold waits until what is told is what want says at that time.
func (m told) awaitTold(when string, want func() map[string]float64) {
	m.t.Helper()
	testcluster.Eventually(m.t, when, func() error {
		wanted := want()
		all, err := m.samples()
		if err != nil {
			return err
		}
		got := map[string]float64{}
		for series := range wanted {
			got[series] = absent
			if v, ok := all[series]; ok {
				got[series] = v
			}
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			return fmt.Errorf("series (-want +got):\n%s", diff)
		}
		return nil
	})
}

// of is the series of a WeChatToken.
func (n *namespace) of(a app, metric string) string {
	return fmt.Sprintf("wechattoken_%s{name=%q,namespace=%q}", metric, a.name, n.Name)
}

func (n *namespace) reasonOf(a app, reason string) string {
	return fmt.Sprintf("wechattoken_ready_reason{name=%q,namespace=%q,reason=%q}", a.name, n.Name, reason)
}

// statusAs is what the series of a WeChatToken must tell by its status.
func (n *namespace) statusAs(a app, reason string) map[string]float64 {
	n.T.Helper()
	wt, there := n.weChatTokens()[a.name]
	s := wt.Status
	if !there || s.ExpirationTime == nil || s.NextRefreshTime == nil || s.LastRefreshTime == nil {
		n.T.Fatalf("%s has no token", a.name)
	}
	return map[string]float64{
		n.of(a, "ready"):                          1,
		n.reasonOf(a, reason):                     1,
		n.of(a, "expiration_timestamp_seconds"):   float64(s.ExpirationTime.Unix()),
		n.of(a, "refresh_timestamp_seconds"):      float64(s.NextRefreshTime.Unix()),
		n.of(a, "last_refresh_timestamp_seconds"): float64(s.LastRefreshTime.Unix()),
	}
}

const (
	leads     = `leader_election_master_status{name="` + name + `"}`
	succeeded = `wechattoken_refreshes_total{errcode="",result="success"}`
	notOnList = `wechattoken_refreshes_total{errcode="40164",result="failure"}`
	reported  = `wechattoken_invalid_token_reports_total{verdict="invalid"}`
	rotations = `wechattoken_rotation_duration_seconds_count`
	skew      = `wechattoken_clock_skew_seconds`
)

// The metrics tell what is, on the leader and on a stand-by, through all that a
// token is there to see; and a new process tells it at once, without a call to WeChat.
func TestMetricsTellOfTheTokens(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	const weChatAhead = 5 * time.Minute
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{OpenAccounts: true, ClockOffset: weChatAhead})
	bearer := ns.bearerForMetrics()
	leader := ns.startTold(url, bearer)
	held := ns.lease("")
	standby := ns.startTold(url, bearer)
	shop, old, dying := newApp(v1alpha1.ModeStable, 1), newApp(v1alpha1.ModeClassic, 2), newApp(v1alpha1.ModeStable, 3)
	ns.create(shop, old, dying)
	ns.awaitReady()

	for _, m := range []told{leader, standby} {
		for _, a := range []app{shop, old, dying} {
			m.awaitTold("the first token of "+a.name, func() map[string]float64 { return ns.statusAs(a, v1alpha1.ReasonTokenValid) })
		}
	}
	leader.awaitTold("what the leader knows", func() map[string]float64 {
		return map[string]float64{
			leads: 1, succeeded: 3, rotations: 3, notOnList: 0, reported: 0,
			ns.of(shop, "forced_refreshes_remaining"): 20,
			ns.of(shop, "calls_remaining"):            absent,
			ns.of(old, "forced_refreshes_remaining"):  1799,
			ns.of(old, "calls_remaining"):             1999,
			`wechattoken_wechat_request_duration_seconds_count{endpoint="stable_token",result="success"}`: 2,
			`wechattoken_wechat_request_duration_seconds_count{endpoint="token",result="success"}`:        1,
		}
	})
	standby.awaitTold("what a stand-by knows", func() map[string]float64 {
		return map[string]float64{leads: 0, succeeded: 0, skew: absent, ns.of(shop, "forced_refreshes_remaining"): absent}
	})
	// A call takes 10 s at most, and the middle of it counts.
	if got, err := leader.samples(); err != nil || math.Abs(got[skew]+weChatAhead.Seconds()) > 6 {
		t.Errorf("clock skew %v, %v, want %v and a little", got[skew], err, -weChatAhead.Seconds())
	}

	// A forced refresh.
	ns.requestRefresh(shop)
	ns.awaitRefreshed(shop)
	leader.awaitTold("a forced refresh", func() map[string]float64 {
		want := ns.statusAs(shop, v1alpha1.ReasonTokenValid)
		want[ns.of(shop, "forced_refreshes_remaining")], want[succeeded], want[rotations] = 19, 4, 4
		return want
	})

	// A failure, while the token is valid.
	fake.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: 40164, AppID: old.appID})
	ns.requestRefresh(old)
	ns.awaitReason(old, v1alpha1.ReasonIPNotAllowed)
	for _, m := range []told{leader, standby} {
		m.awaitTold("a failure", func() map[string]float64 {
			want := ns.statusAs(old, v1alpha1.ReasonIPNotAllowed)
			want[ns.reasonOf(old, v1alpha1.ReasonTokenValid)] = absent
			return want
		})
	}
	leader.awaitTold("a failure", func() map[string]float64 {
		return map[string]float64{notOnList: 1, succeeded: 4, ns.of(old, "calls_remaining"): 1998}
	})

	// A token that WeChat calls invalid early, which a consumer reports.
	fake.Revoke(string(ns.secret(dying.name).Data["access_token"]))
	ns.kubectl("annotate", "wxt", dying.name, v1alpha1.AnnotationInvalidToken+"="+ns.weChatTokens()[dying.name].Status.TokenFingerprint)
	leader.awaitTold("a report", func() map[string]float64 {
		want := ns.statusAs(dying, v1alpha1.ReasonTokenRevoked)
		want[reported], want[succeeded], want[ns.of(dying, "forced_refreshes_remaining")] = 1, 5, 19
		want[`wechattoken_wechat_request_duration_seconds_count{endpoint="get_api_domain_ip",result="success"}`] = 1
		want[`wechattoken_wechat_request_duration_seconds_count{endpoint="stable_token",result="success"}`] = 2 + 1 + 2 // the first tokens, the forced refresh, and now a plain call before a forced one
		return want
	})

	// What is deleted is told of no more.
	ns.kubectl("delete", "wxt", old.name)
	for _, m := range []told{leader, standby} {
		testcluster.Eventually(t, "nothing is told of what is gone", func() error {
			all, err := m.samples()
			for series := range all {
				if strings.Contains(series, fmt.Sprintf("name=%q", old.name)) {
					err = errors.Join(err, errors.New(series))
				}
			}
			return err
		})
	}

	// The stand-by leads, and a new process stands by.
	before := calls(fake)
	leader.Terminate()
	ns.lease(*held.HolderIdentity)
	standby.awaitTold("a new leader", func() map[string]float64 {
		want := ns.statusAs(shop, v1alpha1.ReasonTokenValid)
		want[leads], want[ns.of(shop, "forced_refreshes_remaining")], want[ns.of(dying, "forced_refreshes_remaining")] = 1, 19, 19
		return want
	})
	again := ns.startTold(url, bearer)
	again.AwaitReady()
	var all map[string]float64
	testcluster.Eventually(t, "a new process answers", func() (err error) {
		all, err = again.samples()
		return err
	})
	for series, want := range ns.statusAs(dying, v1alpha1.ReasonTokenRevoked) {
		if got, ok := all[series]; !ok || got != want {
			t.Errorf("a new process that is ready tells %s %v (there: %t), want %v", series, got, ok, want)
		}
	}
	if got := calls(fake) - before; got != 0 {
		t.Errorf("the restart cost %d calls", got)
	}
}

// To be scraped costs the two questions who scrapes, and nothing else: no call to
// WeChat, no read and no write.
func TestScrapeCostsTwoQuestions(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{OpenAccounts: true})
	q := newRequests(ns)
	m := ns.startTold(url, ns.bearerForMetrics(), "--kubeconfig="+q.kubeconfig, "--leader-elect=false")
	apps := fleet(5)
	q.after(t, len(apps), func() {
		ns.create(apps...)
		ns.awaitReady()
		m.awaitTold("the first scrape", func() map[string]float64 { return map[string]float64{succeeded: float64(len(apps))} })
	})
	callsBefore := calls(fake)
	const scrapes = 10
	got := q.after(t, 0, func() {
		for range scrapes {
			all, err := m.samples()
			if err != nil || all[ns.of(apps[0], "ready")] != 1 {
				t.Fatalf("ready: %v, %v", all[ns.of(apps[0], "ready")], err)
			}
		}
	})
	want := map[string]int{"POST tokenreviews": scrapes, "POST subjectaccessreviews": scrapes}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests for %d scrapes (-want +got):\n%s", scrapes, diff)
	}
	if got := calls(fake) - callsBefore; got != 0 {
		t.Errorf("%d calls to WeChat for %d scrapes", got, scrapes)
	}
}

// The version is that of the metrics, too.
func TestVersionIsTold(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := runManager(t, nil, "--version")
	if code != 0 || !strings.HasPrefix(stdout, name+" ") || stderr != "" {
		t.Fatalf("exit code %d, said %q and %q; want 0 and the version", code, stdout, stderr)
	}
	ns := newNamespace(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{})
	m := ns.startTold(url, ns.bearerForMetrics())
	m.AwaitReady()
	info := regexp.MustCompile(`^wechattoken_build_info\{goversion="(.+)",revision="(.*)",version="(.+)"\}$`)
	testcluster.Eventually(t, "the build is told", func() error {
		all, err := m.samples()
		for series, v := range all {
			if labels := info.FindStringSubmatch(series); labels != nil && v == 1 {
				for _, label := range labels[1:] {
					if !strings.Contains(stdout, label) {
						t.Errorf("--version says %q, and not %q", stdout, label)
					}
				}
				return nil
			}
		}
		return errors.Join(err, errors.New("no wechattoken_build_info"))
	})
}

// What the pages name is there to be scraped.
func TestDocumentedMetricsAreThere(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	fake, url := testcluster.FakeWeChat(t, wechattest.Config{OpenAccounts: true})
	m := ns.startTold(url, ns.bearerForMetrics())
	ns.create(newApp(v1alpha1.ModeStable, 1), newApp(v1alpha1.ModeClassic, 2))
	ns.awaitReady()
	fake.SetFault(wechattest.Fault{Kind: wechattest.FaultReset})
	ns.create(newApp(v1alpha1.ModeStable, 3)) // has an error
	named := regexp.MustCompile(`\b(wechattoken|controller_runtime|workqueue|rest_client|leader_election|process|go)_[a-z_]+[a-z]\b`)
	for _, page := range []string{"../../docs/metrics.md", "../../docs/zh/metrics.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		names := named.FindAllString(string(text), -1)
		if len(names) < 20 {
			t.Fatalf("%s names only %d metrics", page, len(names))
		}
		testcluster.Eventually(t, page, func() error {
			_, body := scrape(t, "https://"+m.address+"/metrics", m.bearer)
			for _, metric := range names {
				if metric == "wechattoken_namespace_unreadable" || strings.HasPrefix(metric, "wechattoken_server_") {
					continue // it is there with such a namespace only, or the token server's
				}
				if !strings.Contains(body, "\n"+metric+"{") && !strings.Contains(body, "\n"+metric+" ") && !strings.Contains(body, "# TYPE "+metric+" ") {
					return fmt.Errorf("there is no %s", metric)
				}
			}
			return nil
		})
	}
}
