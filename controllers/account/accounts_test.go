package account

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// weChat answers each call with a token after a while, and notes how many calls
// each appid has at once.
type weChat struct {
	takes func(appID string) time.Duration

	mu       sync.Mutex
	calls    map[string]int
	underWay map[string]int
	most     int
}

func (w *weChat) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	_, rest, _ := strings.Cut(string(body), `"appid":"`)
	appID, _, _ := strings.Cut(rest, `"`)
	w.mu.Lock()
	w.calls[appID]++
	w.underWay[appID]++
	w.most = max(w.most, w.underWay[appID])
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		w.underWay[appID]--
		w.mu.Unlock()
	}()
	select {
	case <-time.After(w.takes(appID)):
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Request: req,
		Body: io.NopCloser(strings.NewReader(`{"access_token":"98_of_` + appID + `","expires_in":7200}`))}, nil
}

// inAccounts runs a test in a bubble, with accounts that call w.
func inAccounts(t *testing.T, takes func(appID string) time.Duration, test func(*Accounts, *weChat)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &weChat{takes: takes, calls: map[string]int{}, underWay: map[string]int{}}
		a := New(Options{
			WeChat: wechat.NewClientWithTransports("https://wechat", 10*time.Second, w, w),
			Window: 5 * time.Minute,
			Wake:   func(types.NamespacedName, bool) {},
			Called: func(Call, Answer, time.Duration) {},
		})
		go func() { _ = a.Start(t.Context()) }()
		test(a, w)
	})
}

// join makes a WeChatToken use the account of an appid.
func join(a *Accounts, name, appID string) View {
	return a.Join(types.NamespacedName{Namespace: "web", Name: name}, wechat.Credentials{AppID: appID, AppSecret: "s"}, v1alpha1.ModeStable, Wants{UID: types.UID(name)}, nil, time.Now())
}

// P4: an account has one call at a time, whoever joins or leaves meanwhile.
func TestOneCallAtATime(t *testing.T) {
	inAccounts(t, func(string) time.Duration { return 5 * time.Second }, func(a *Accounts, w *weChat) {
		for i := range 20 {
			join(a, fmt.Sprint("shop-", i), "wx0")
		}
		time.Sleep(time.Second)
		for i := range 20 {
			a.Leave(types.NamespacedName{Namespace: "web", Name: fmt.Sprint("shop-", i)})
		}
		join(a, "again", "wx0")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if w.most != 1 {
			t.Errorf("%d calls at once, want 1", w.most)
		}
		if w.calls["wx0"] != 1 {
			t.Errorf("%d calls, want 1: the answer is the account's, though the WeChatToken that wanted it has left", w.calls["wx0"])
		}
		view := join(a, "again", "wx0")
		if view.Token(time.Now()) == nil {
			t.Error("there is no token")
		}
	})
}

// P11: 1,000 accounts that hang delay none of 100 that work.
func TestAHangingAccountDelaysNoOther(t *testing.T) {
	slow := func(appID string) time.Duration {
		if strings.HasPrefix(appID, "hang") {
			return time.Hour
		}
		return 50 * time.Millisecond
	}
	inAccounts(t, slow, func(a *Accounts, _ *weChat) {
		for round := range 5 { // the hanging ones are tried again and again
			for i := range 1000 {
				join(a, fmt.Sprint("hang-", i), fmt.Sprint("hang", i))
			}
			for i := range 100 {
				join(a, fmt.Sprint("good-", round, "-", i), fmt.Sprint("good", round, "x", i))
			}
			time.Sleep(time.Second)
			for i := range 100 {
				view := join(a, fmt.Sprint("good-", round, "-", i), fmt.Sprint("good", round, "x", i))
				if view.Token(time.Now()) == nil {
					t.Fatalf("round %d: account %d has no token after a second", round, i)
				}
			}
			time.Sleep(17 * time.Second)
		}
	})
}

// A changed AppSecret leaves nothing of the old account behind.
func TestLeftAccountIsForgotten(t *testing.T) {
	inAccounts(t, func(string) time.Duration { return time.Millisecond }, func(a *Accounts, _ *weChat) {
		join(a, "shop", "wx0")
		join(a, "shop", "wx1")
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(a.byID); n != 1 {
			t.Errorf("%d accounts are remembered, want 1", n)
		}
		a.Leave(types.NamespacedName{Namespace: "web", Name: "shop"})
		if n := len(a.byID) + len(a.of); n != 0 {
			t.Errorf("%d things are remembered of nobody", n)
		}
	})
}
