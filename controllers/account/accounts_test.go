package account

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat"
)

// wire answers each call for a stable token of an appid with another token. An
// appid that begins with "hang" never answers, one that begins with "slow" takes
// 5 s.
type wire struct {
	mu               sync.Mutex
	calls            map[string]int // by appid
	under, mostUnder map[string]int // calls under way
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	var ask struct {
		AppID string `json:"appid"`
	}
	if err := json.NewDecoder(req.Body).Decode(&ask); err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.calls[ask.AppID]++
	n := w.calls[ask.AppID]
	w.under[ask.AppID]++
	w.mostUnder[ask.AppID] = max(w.mostUnder[ask.AppID], w.under[ask.AppID])
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.under[ask.AppID]--
	}()
	switch {
	case strings.HasPrefix(ask.AppID, "hang"):
		<-req.Context().Done()
		return nil, req.Context().Err()
	case strings.HasPrefix(ask.AppID, "slow"):
		time.Sleep(5 * time.Second)
	case strings.HasPrefix(ask.AppID, "refused"):
		return w.answer(req, `{"errcode":40013,"errmsg":"invalid appid"}`)
	case strings.HasPrefix(ask.AppID, "busy"):
		return w.answer(req, `{"errcode":-1,"errmsg":"system error"}`)
	}
	return w.answer(req, fmt.Sprintf(`{"access_token":"%s_%d","expires_in":7200}`, ask.AppID, n))
}

func (*wire) answer(req *http.Request, body string) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: req}, nil
}

// total counts the calls for appids that begin so.
func (w *wire) total(prefix string) (calls int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for appID, n := range w.calls {
		if strings.HasPrefix(appID, prefix) {
			calls += n
		}
	}
	return calls
}

// appIDs counts the appids that begin so and were called.
func (w *wire) appIDs(prefix string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for appID := range w.calls {
		if strings.HasPrefix(appID, prefix) {
			n++
		}
	}
	return n
}

// office is Accounts at work in a bubble, with what is heard of them.
type office struct {
	*Accounts
	wire *wire

	mu    sync.Mutex
	woken map[types.NamespacedName]int

	t *testing.T // of the bubble
}

// inOffice runs test with Accounts that call a fake WeChat.
func inOffice(t *testing.T, test func(*office)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		o := &office{
			t:     t,
			wire:  &wire{calls: map[string]int{}, under: map[string]int{}, mostUnder: map[string]int{}},
			woken: map[types.NamespacedName]int{},
		}
		o.Accounts = New(Options{
			WeChat: wechat.NewClientWithTransports("https://wechat", 10*time.Second, o.wire, o.wire),
			Window: 5 * time.Minute,
			Wake: func(key types.NamespacedName, _ bool) {
				o.mu.Lock()
				defer o.mu.Unlock()
				o.woken[key]++
			},
			Called: func(Call, Answer, time.Duration) {}, Elsewhere: func() {},
		})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- o.Start(ctx) }()
		test(o)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func key(name string) types.NamespacedName { return types.NamespacedName{Namespace: "web", Name: name} }

func credentials(appID string) wechat.Credentials {
	return wechat.Credentials{AppID: appID, AppSecret: shop.AppSecret}
}

// join joins the WeChatToken, with what its Secret holds.
func (o *office) join(name, appID string, found *record.Record, mods ...func(*Wants)) View {
	w := Wants{UID: early, Generation: 1, Secret: found}
	for _, mod := range mods {
		mod(&w)
	}
	return o.Join(key(name), credentials(appID), v1alpha1.ModeStable, w, found, time.Now())
}

// joinIn joins a WeChatToken of another namespace.
func (o *office) joinIn(namespace, name, appID string) {
	o.Join(types.NamespacedName{Namespace: namespace, Name: name}, credentials(appID), v1alpha1.ModeStable, Wants{UID: early}, nil, time.Now())
}

func takes(namespace string) func(*Wants) {
	return func(w *Wants) { w.AppSecretIn, w.NeverForce = namespace, true }
}

func requesting(request string) func(*Wants) { return func(w *Wants) { w.Request = request } }

func uid(id types.UID) func(*Wants) { return func(w *Wants) { w.UID = id } }

// after lets time pass, and all that is due in it happen.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (o *office) calls(appID string) int {
	o.wire.mu.Lock()
	defer o.wire.mu.Unlock()
	return o.wire.calls[appID]
}

func (o *office) wokenOf(name string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.woken[key(name)]
}

func (o *office) count() int {
	o.Accounts.mu.Lock()
	defer o.Accounts.mu.Unlock()
	return len(o.byID)
}

// onSecret is a record of the appid "good".
func onSecret(value string) *record.Record {
	now := time.Now().UTC().Truncate(time.Second)
	return &record.Record{Verified: true, Token: record.Token{
		Value: value, AppID: "good", Mode: v1alpha1.ModeStable, ObtainedAt: now, ExpiresAt: now.Add(2 * time.Hour),
	}}
}

func wantToken(t *testing.T, v View, value string) {
	t.Helper()
	got := ""
	if want := v.Want(time.Now()); want != nil {
		got = want.Token.Value
	}
	if got != value {
		t.Errorf("the Secret should hold %q, want %q", got, value)
	}
}

func TestMembersShareOneToken(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		t := o.t
		for _, name := range []string{"a", "b", "c"} {
			o.join(name, "good", nil)
		}
		after(time.Second)
		for _, name := range []string{"a", "b", "c"} {
			wantToken(t, o.join(name, "good", nil), "good_1")
			if o.wokenOf(name) == 0 {
				t.Errorf("%s has not heard of the token", name)
			}
		}
		after(time.Hour)
		if got := o.calls("good"); got != 1 {
			t.Errorf("%d calls, want 1", got)
		}
	})
}

func TestNewsOnOneSecretWakesTheOthers(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		t := o.t
		found := onSecret("found")
		o.join("a", "good", found)
		o.join("b", "good", found)
		after(time.Minute)
		o.join("a", "good", onSecret("newer"))
		if o.wokenOf("a") != 0 || o.wokenOf("b") != 1 {
			t.Errorf("a was woken %d times and b %d times, want 0 and 1", o.wokenOf("a"), o.wokenOf("b"))
		}
		wantToken(t, o.join("b", "good", found), "newer")
	})
}

// Nobody calls for an appid before all are heard of that had a Secret at the start:
// one of them may have a valid token.
func TestRollCallSparesTheCall(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		arrives func(*office)
		calls   int
	}{
		"WithToken": {"Another WeChatToken has a valid token.", func(o *office) { o.join("b", "good", onSecret("found")) }, 0},
		"Without":   {"It has none.", func(o *office) { o.join("b", "good", nil) }, 1},
		"Paused":    {"It has no AppSecret.", func(o *office) { o.Pause(key("b"), time.Now()) }, 1},
		"Gone":      {"It was deleted.", func(o *office) { o.Leave(key("b"), time.Now()) }, 1},
		"Stranger": {"It has another AppSecret.", func(o *office) {
			creds := credentials("good")
			creds.AppSecret = "another"
			o.Join(key("b"), creds, v1alpha1.ModeStable, Wants{UID: "b"}, nil, time.Now())
		}, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inOffice(t, func(o *office) {
				t := o.t
				o.Expect(key("a"), "good", v1alpha1.ModeStable, time.Now())
				o.Expect(key("b"), "good", v1alpha1.ModeStable, time.Now())
				o.Expect(key("c"), "other", v1alpha1.ModeStable, time.Now()) // another appid holds up nobody
				o.Expect(key("d"), "good", v1alpha1.ModeClassic, time.Now()) // nor does another mode
				o.join("a", "good", nil)
				after(longestRollCall / 2)
				if got := o.calls("good"); got != 0 {
					t.Errorf("%d calls before b was heard of", got)
				}
				tc.arrives(o)
				after(time.Second)
				if got := o.calls("good"); got < tc.calls || (tc.calls == 0 && got > 0) {
					t.Errorf("%s\n%d calls, want %d", tc.reason, got, tc.calls)
				}
				if tc.calls == 0 {
					wantToken(t, o.join("a", "good", nil), "found")
				}
			})
		})
	}
}

// Somebody whose Secret cannot be read holds up the others for a while only.
func TestRollCallEnds(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		o.Expect(key("b"), "good", v1alpha1.ModeStable, time.Now())
		o.join("a", "good", nil)
		after(longestRollCall + time.Second)
		if got := o.calls("good"); got != 1 {
			o.t.Errorf("%d calls, want 1", got)
		}
	})
}

// Of a record that is not verified only the budget counts.
func TestUnverifiedRecordIsOnlyABudget(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		t := o.t
		found := onSecret("edited")
		found.Verified = false
		found.Spent.Forced = []time.Time{time.Now()}
		wantToken(t, o.join("a", "good", found), "")
		o.join("a", "good", &record.Record{Token: record.Token{AppID: "good"}}) // takes nothing back
		if spent, known := o.Spent(key("a")); !known || len(spent.Forced) != 1 {
			t.Errorf("%d forced calls are counted, want 1", len(spent.Forced))
		}
		o.join("a", "other", found) // a budget is its appid's
		if spent, known := o.Spent(key("a")); !known || len(spent.Forced) != 0 {
			t.Errorf("%d forced calls of another appid are counted, want none", len(spent.Forced))
		}
	})
}

// A request that is there when a process joins may have been carried out by an
// earlier one: its Secret tells, or the token of another one does, or a plain call.
func TestRequestOfAnEarlierProcess(t *testing.T) {
	t.Parallel()
	older := func(r *record.Record) { r.Token.ObtainedAt = r.Token.ObtainedAt.Add(-time.Hour) }
	forced := func(r *record.Record) { r.Spent.Forced = []time.Time{r.Token.ObtainedAt} }
	answers := func(request string) func(*record.Record) {
		return func(r *record.Record) { r.HandledRefresh = request }
	}
	type facts = []func(*record.Record)
	cases := map[string]struct {
		reason         string
		sibling, found facts // nil for no Secret
		handled        string
		uncounted      bool
	}{
		"FirstToken":  {"An earlier process may have ended after the call.", nil, nil, "", true},
		"Handled":     {"The Secret says so.", nil, facts{answers("1")}, "1", false},
		"Another":     {"The Secret answers another request.", nil, facts{answers("0")}, "0", true},
		"OnlySibling": {"The process ended before it wrote the second Secret.", facts{forced}, facts{older}, "1", false},
		"NotForced":   {"The newer token came in its time.", facts{}, facts{older}, "", true},

		"OnlySiblingLate": {"The process ended before it wrote the second Secret, which is looked at first.", facts{forced}, facts{older}, "1", false},
		"NotForcedLate":   {"The newer token came in its time.", facts{}, facts{older}, "", true},
	}
	for name, tc := range cases {
		late := strings.HasSuffix(name, "Late")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inOffice(t, func(o *office) {
				holding := func(value string, all facts) *record.Record {
					if all == nil {
						return nil
					}
					r := onSecret(value)
					for _, fact := range all {
						fact(r)
					}
					return r
				}
				found := holding("found", tc.found)
				if late {
					o.join("a", "good", found, requesting("1"))
				}
				if tc.sibling != nil {
					o.join("sibling", "good", holding("newer", tc.sibling))
				}
				v := o.join("a", "good", found, requesting("1"))
				if v.Wants.handled != tc.handled || v.forcedUncounted != tc.uncounted {
					o.t.Errorf("%s\nrequest %q is handled, a forced call may be uncounted: %t; want %q and %t", tc.reason, v.Wants.handled, v.forcedUncounted, tc.handled, tc.uncounted)
				}
			})
		})
	}
}

// The newer token of a WeChatToken that is heard of last answers the request of one
// that was heard of before, also if that has not joined again yet.
func TestALateTokenSparesTheForcedCall(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		o.Expect(key("late"), "good", v1alpha1.ModeStable, time.Now())
		found, newer := onSecret("found"), onSecret("newer")
		found.Token.ObtainedAt = found.Token.ObtainedAt.Add(-time.Hour)
		newer.Spent.Forced = []time.Time{newer.Token.ObtainedAt}
		o.join("a", "good", found, requesting("1"))
		o.join("late", "good", newer)
		after(time.Minute)
		if got := o.calls("good"); got != 0 {
			o.t.Errorf("%d calls, want none", got)
		}
	})
}

// A newcomer waits after a failure as the others do: its spec is not a new one.
func TestNewcomerDoesNotHammer(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		o.join("a", "hang", nil)
		after(21*time.Second + time.Second/2) // two calls, a second apart
		o.join("b", "hang", nil)
		after(time.Second)
		if got := o.calls("hang"); got != 2 {
			o.t.Errorf("%d calls, want 2", got)
		}
	})
}

func TestLeaveForgetsTheAccount(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		leave  func(o *office)
		want   int
	}{
		"One":     {"The other uses it.", func(o *office) { o.Leave(key("a"), time.Now()) }, 1},
		"All":     {"Nobody uses it.", func(o *office) { o.Leave(key("a"), time.Now()); o.Leave(key("b"), time.Now()) }, 0},
		"Twice":   {"It is gone already.", func(o *office) { o.Leave(key("a"), time.Now()); o.Leave(key("a"), time.Now()) }, 1},
		"Unknown": {"It never joined.", func(o *office) { o.Leave(key("x"), time.Now()) }, 1},
		"Moved":   {"Both use another account now.", func(o *office) { o.join("a", "other", nil); o.join("b", "other", nil) }, 1},
		"OneMove": {"Each uses its own.", func(o *office) { o.join("b", "other", nil) }, 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inOffice(t, func(o *office) {
				t := o.t
				o.join("a", "good", nil)
				o.join("b", "good", nil)
				after(time.Second)
				tc.leave(o)
				if got := o.count(); got != tc.want {
					t.Errorf("%s\n%d accounts are known, want %d", tc.reason, got, tc.want)
				}
			})
		})
	}
}

// A WeChatToken that was created again under its name is another one: no request
// of the old one is handled for it.
func TestCreatedAgainIsAnother(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		t := o.t
		v := o.join("a", "good", nil, requesting("1"))
		after(time.Second)
		v = o.join("a", "good", v.Want(time.Now()), requesting("1"))
		if got := v.Want(time.Now()).HandledRefresh; got != "1" {
			t.Fatalf("the first token answers request %q, want 1", got)
		}
		v = o.join("a", "good", nil, uid("another"))
		if got := v.Wants.handled; got != "" {
			t.Errorf("request %q is handled, want none", got)
		}
	})
}

func TestOneCallAtATime(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		t := o.t
		for i := range 100 {
			o.join(fmt.Sprint("shop", i%10), "slow", nil, requesting(fmt.Sprint(i)))
			after(100 * time.Millisecond)
		}
		after(time.Minute)
		if got := o.wire.mostUnder["slow"]; got != 1 {
			t.Errorf("%d calls at a time, want 1", got)
		}
	})
}

// A call answers all that was requested before it began.
func TestRequestDuringACallIsNotAnsweredByIt(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		t := o.t
		o.join("before", "slow", nil, requesting("1"))
		o.join("too", "slow", nil, requesting("1"))
		o.join("during", "slow", nil)
		after(time.Second)
		o.join("during", "slow", nil, requesting("2"))
		after(4*time.Second + time.Millisecond)
		var got []string
		for _, of := range [][2]string{{"before", "1"}, {"too", "1"}, {"during", "2"}} {
			got = append(got, o.join(of[0], "slow", nil, requesting(of[1])).Wants.handled)
		}
		if diff := cmp.Diff([]string{"1", "1", ""}, got); diff != "" {
			t.Errorf("handled (-want +got):\n%s", diff)
		}
	})
}

func TestHangingAccountsDelayNoOther(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		t := o.t
		for i := range 1000 {
			name := fmt.Sprint("hang", i)
			o.join(name, name, nil)
		}
		synctest.Wait() // all of them hang
		for i := range 100 {
			name := fmt.Sprint("good", i)
			o.join(name, name, nil)
		}
		after(time.Millisecond)
		for i := range 100 {
			name := fmt.Sprint("good", i)
			wantToken(t, o.join(name, name, nil), name+"_1")
		}
	})
}

// Beyond maxCalls a call waits for a place, and those that fail stand behind.
func TestFailingAccountsStandBehind(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		t := o.t
		for i := range 2 * maxCalls {
			name := fmt.Sprint("hang", i)
			o.join(name, name, nil)
		}
		after(time.Minute) // each has failed
		for i := range 100 {
			name := fmt.Sprint("good", i)
			o.join(name, name, nil)
		}
		after(10*time.Second + time.Millisecond)
		for i := range 100 {
			name := fmt.Sprint("good", i)
			wantToken(t, o.join(name, name, nil), name+"_1")
		}
	})
}

func TestMemberLeavesDuringACall(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		t := o.t
		o.join("leaves", "slow", nil)
		after(time.Second)
		o.Leave(key("leaves"), time.Now())
		after(10 * time.Second)
		if o.count() != 0 || o.wokenOf("leaves") != 0 || o.calls("slow") != 1 {
			t.Errorf("%d accounts, woken %d times, %d calls; want the answer to be dropped", o.count(), o.wokenOf("leaves"), o.calls("slow"))
		}
	})
	inOffice(t, func(o *office) {
		t := o.t
		o.join("leaves", "slow", nil)
		o.join("stays", "slow", nil)
		after(time.Second)
		o.Leave(key("leaves"), time.Now())
		after(10 * time.Second)
		wantToken(t, o.join("stays", "slow", nil), "slow_1")
		if o.wokenOf("leaves") != 0 || o.wokenOf("stays") != 1 {
			t.Errorf("woken %d and %d times, want 0 and 1", o.wokenOf("leaves"), o.wokenOf("stays"))
		}
	})
	inOffice(t, func(o *office) {
		t := o.t
		o.join("leaves", "slow", nil)
		after(time.Second)
		o.Leave(key("leaves"), time.Now())
		o.join("comes", "slow", nil)
		after(10 * time.Second)
		wantToken(t, o.join("comes", "slow", nil), "slow_1") // the answer is the account's
		if got := o.wire.mostUnder["slow"]; got != 1 {
			t.Errorf("%d calls at a time, want 1", got)
		}
	})
}

// The wait of a Secret for its token is told once.
func TestWroteTellsSinceWhen(t *testing.T) {
	t.Parallel()
	inOffice(t, func(o *office) {
		t := o.t
		o.join("a", "good", nil)
		after(0)
		began := time.Now()
		after(3 * time.Second)
		v := o.join("a", "good", nil)
		if got := o.Wrote(key("a"), v.Want(time.Now())); !got.Equal(began) {
			t.Errorf("the newest token since %s, want %s", got, began)
		}
		if got := o.Wrote(key("a"), v.Want(time.Now())); !got.IsZero() {
			t.Errorf("told again, since %s", got)
		}
	})
	inOffice(t, func(o *office) {
		suspended := func(is bool) func(*Wants) { return func(w *Wants) { w.Suspended = is } }
		o.join("a", "good", nil, suspended(true))
		o.join("b", "good", nil)
		after(0)
		o.join("a", "good", nil, suspended(true))
		v := o.join("a", "good", nil, suspended(false))
		if got := o.Wrote(key("a"), v.Want(time.Now())); !got.IsZero() {
			o.t.Errorf("suspended, a Secret has waited since %s", got)
		}
	})
}
