package controllers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// ticket is what stands under a key of a Secret; empty if there is none.
func (w *world) ticket(secret, key string) string { return string(w.pods[secret][key]) }

// ticketsReady is that condition of a WeChatToken; zero if there is none.
func (w *world) ticketsReady(name string) metav1.Condition {
	w.t.Helper()
	if c := meta.FindStatusCondition(w.get(name).Status.Conditions, v1alpha1.ConditionTicketsReady); c != nil {
		return *c
	}
	return metav1.Condition{}
}

func (w *world) wantTicketsReady(status metav1.ConditionStatus, reason string) {
	w.t.Helper()
	if got := w.ticketsReady("shop"); got.Status != status || got.Reason != reason {
		w.t.Errorf("TicketsReady = %s %s (%s), want %s %s", got.Status, got.Reason, got.Message, status, reason)
	}
}

// polls counts the calls for tickets.
func (w *world) polls() int { return w.weChat.Counts("").Ticket.Calls }

// sign reads the Secret "shop" every pause for d, as a server does that signs
// pages, and says what was wrong with the tickets it found.
func (w *world) sign(d, pause time.Duration, keys ...string) {
	w.t.Helper()
	wrong := 0
	for end := time.Now().Add(d); time.Now().Before(end) && wrong < 5; {
		w.run(pause)
		for _, key := range keys {
			value, until := w.ticket("shop", key), w.ticket("shop", key+"_expires_at")
			trusted, err := time.Parse(time.RFC3339, until)
			switch works := w.weChat.TicketEnd(value); {
			case !w.weChat.TicketValid(value):
				w.t.Errorf("at %s: the %s does not work", time.Now().Format(time.TimeOnly), key)
			case err != nil || trusted.After(works):
				w.t.Errorf("at %s: the %s is trusted until %s and works until %s (%v)", time.Now().Format(time.TimeOnly), key, until, works.Format(time.TimeOnly), err)
			case time.Now().After(trusted):
				w.t.Errorf("at %s: the %s is past its trusted end %s", time.Now().Format(time.TimeOnly), key, until)
			default:
				continue
			}
			wrong++
		}
	}
}

// P1, P7: hours of tickets, or a day. Whenever a server reads one, it works, and its end
// is not beyond the real one. WeChat is asked every 10 minutes, and a ticket is
// written once; but the first of all, whose age nobody knows, every second poll.
func TestTicketsNeverRunOut(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		mode   func(*v1alpha1.WeChatToken)
		weChat wechattest.Config
		after  time.Duration // into the life of a ticket, the operator starts
		life   time.Duration
		run    time.Duration
		pause  time.Duration
	}{
		"Stable":    {"", stableMode, wechattest.Config{}, 0, 2 * time.Hour, 24 * time.Hour, 30 * time.Second},
		"Classic":   {"What becomes of the token touches no ticket.", classic, wechattest.Config{}, 37 * time.Minute, 2 * time.Hour, 8 * time.Hour, 10 * time.Second},
		"OldTicket": {"The first ticket is nearly invalid, and says that it is new.", stableMode, wechattest.Config{}, 119 * time.Minute, 2 * time.Hour, 8 * time.Hour, 10 * time.Second},
		"LittleOverlap": {"The old ticket works for as long as it is trusted without being given, and no second more.", stableMode,
			wechattest.Config{TicketOverlap: 30 * time.Minute}, 50 * time.Minute, 2 * time.Hour, 8 * time.Hour, 10 * time.Second},
		"Compressed": {"A life of 40 s works as one of 2 hours does.", stableMode,
			wechattest.Config{Life: 40 * time.Second, Window: 10 * time.Second, Overlap: 10 * time.Second, TicketLife: 40 * time.Second, TicketOverlap: 20 * time.Second, TicketsPerDay: -1},
			13 * time.Second, 40 * time.Second, 20 * time.Minute, time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, tc.weChat, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(tc.mode, bothTickets))
				time.Sleep(tc.after)
				w.run(time.Second)
				w.wantTicketsReady(metav1.ConditionTrue, v1alpha1.ReasonTicketsValid)
				w.sign(tc.run, tc.pause, "jsapi_ticket", "wx_card_ticket")
				w.wantTicketsReady(metav1.ConditionTrue, v1alpha1.ReasonTicketsValid)

				// Both types are polled in the same slots.
				every := (tc.life / 12).Truncate(time.Second)
				count := int(tc.run / tc.life)
				tokens := w.weChat.Counts("").Stable.Rotations + w.weChat.Counts("").Classic.Rotations
				if got, want := w.polls(), 2*int(tc.run/every); got > want+2 || got < want*9/10 {
					t.Errorf("%s\n%d calls for tickets, want %d", tc.reason, got, want)
				}
				if got, made := w.weChat.Counts("").Ticket.Rotations, 2*(count+1); got < made-2 || got > made {
					t.Errorf("%s\nWeChat made %d tickets, want %d", tc.reason, got, made)
				}
				// A first ticket is prolonged at every second of 12 polls at most.
				if got, most := w.secretWrites-tokens, 2*(count+1)+2*6; got > most {
					t.Errorf("%s\n%d writes of the Secret for tickets, want %d at most", tc.reason, got, most)
				}
				if w.statusWrites > w.secretWrites+1 {
					t.Errorf("%s\n%d writes of the status for %d of the Secret", tc.reason, w.statusWrites, w.secretWrites)
				}
				if w.calls() != tokens {
					t.Errorf("%s\n%d calls for %d tokens", tc.reason, w.calls(), tokens)
				}
				if got := len(w.events); got > 3 {
					t.Errorf("%s\nevents %q", tc.reason, w.events)
				}
			})
		})
	}
}

// P3: what stands on the Secrets is enough. A start costs nothing, and moves no
// poll.
func TestRestartWithTicketsCostsNothing(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret))
		for i := range 10 {
			w.create(weChatToken(named(fmt.Sprint("shop", i)), bothTickets))
		}
		w.run(4*time.Hour + 5*time.Minute)
		counts, writes, events := w.weChat.Counts(""), w.secretWrites+w.statusWrites, len(w.events)
		for range 3 {
			w.restart()
			w.run(30 * time.Second)
		}
		if diff := cmp.Diff(counts, w.weChat.Counts("")); diff != "" {
			t.Errorf("calls (-before +after):\n%s", diff)
		}
		if got := w.secretWrites + w.statusWrites - writes; got > 0 || len(w.events) > events {
			t.Errorf("%d writes, events %q", got, w.events[events:])
		}
		seen := w.get("shop0").Status.Tickets[0].LastRefreshTime.Time
		w.run(10 * time.Minute)
		calls := w.weChat.Calls()
		if got := calls[len(calls)-1]; w.polls() != counts.Ticket.Calls+2 || got.At.Sub(seen)%(10*time.Minute) > time.Minute {
			t.Errorf("%d polls in 10 minutes, the last one %s after the ticket was seen", w.polls()-counts.Ticket.Calls, got.At.Sub(seen))
		}

		// A new object of the account learns from the Secrets of the others.
		polls := w.polls()
		w.restart()
		w.create(weChatToken(named("new"), bothTickets))
		w.run(time.Second)
		if w.polls() != polls || w.ticket("new", "jsapi_ticket") != w.ticket("shop0", "jsapi_ticket") {
			t.Errorf("%d calls, and the new one has the ticket: %t", w.polls()-polls, w.ticket("new", "jsapi_ticket") != "")
		}
	})
}

// The trust ends while the operator cannot ask: TicketsReady turns False in that
// second, the ticket stays, and the first good poll repairs it.
func TestTicketsReadyFollowsTheTrust(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		stop, start func(*world)
		late        time.Duration
	}{
		"Suspended": {
			func(w *world) { w.change(suspendedSpec) },
			func(w *world) { w.change(func(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = false }) },
			0,
		},
		"NoAppSecret": {
			func(w *world) { w.remove("shop-app") },
			func(w *world) { w.create(appSecret(testAppSecret)) },
			0,
		},
		"ClusterRefusesWrites": {
			func(w *world) {
				w.refuse = func() error { return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", fmt.Errorf("no")) }
			},
			func(w *world) { w.refuse = nil },
			0,
		},
		"ClusterIsDown": {
			func(w *world) {
				w.refuse = func() error { return apierrors.NewServiceUnavailable("later") }
			},
			func(w *world) { w.refuse = nil },
			time.Second, // the queue's backoff
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(wanting(v1alpha1.TicketJSAPI)))
				w.run(time.Minute)
				value, until := w.ticket("shop", "jsapi_ticket"), w.get("shop").Status.Tickets[0].ExpirationTime.Time
				tc.stop(w)
				w.run(time.Until(until) - time.Second)
				if got := w.ticketsReady("shop"); got.Status != metav1.ConditionTrue {
					t.Errorf("TicketsReady = %s %s before the end", got.Status, got.Reason)
				}
				w.run(time.Second + tc.late)
				w.wantTicketsReady(metav1.ConditionFalse, v1alpha1.ReasonTicketExpired)
				w.run(10 * time.Minute)
				if w.ticket("shop", "jsapi_ticket") != value {
					t.Error("the old ticket is gone")
				}
				tc.start(w)
				w.run(time.Minute)
				w.wantTicketsReady(metav1.ConditionTrue, v1alpha1.ReasonTicketsValid)
				if !w.weChat.TicketValid(w.ticket("shop", "jsapi_ticket")) {
					t.Error("the ticket does not work")
				}
			})
		})
	}
}

// A slow ticket endpoint delays the token by its own call at most, and never by
// the calls of both types.
func TestSlowTicketsDelayNoToken(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(bothTickets))
		w.run(time.Minute)
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultSlow, Delay: 8 * time.Second, Endpoint: wechattest.Ticket})
		calls := w.polls()
		for w.polls() == calls { // a call has just begun
			w.run(time.Second)
		}
		w.change(requesting("1"))
		w.run(10 * time.Second)
		if got := w.get("shop").Status.LastHandledRefreshAt; got != "1" {
			t.Errorf("the forced refresh waits for more than the call under way: %s", strings.Join(w.effects[len(w.effects)-6:], ", "))
		}
	})
}

// Another AppSecret of the same appid keeps the tickets, which are the appid's.
// Another appid does not.
func TestTicketsAreTheAppIDs(t *testing.T) {
	inWorld(t, wechattest.Config{OpenAccounts: true}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(wanting(v1alpha1.TicketJSAPI)))
		w.run(5 * time.Minute)
		value, polls := w.ticket("shop", "jsapi_ticket"), w.polls()
		w.weChat.SetSecret(testAppID, wrongSecret)
		w.edit("shop-app", setAppSecret(wrongSecret))
		w.run(time.Minute)
		if w.ticket("shop", "jsapi_ticket") != value || w.polls() != polls {
			t.Errorf("%d calls for the ticket that was there", w.polls()-polls)
		}
		w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1, Endpoint: wechattest.Ticket})
		w.change(func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wxfedcba9876543210" })
		w.run(time.Minute)
		if w.ticket("shop", "jsapi_ticket") != "" {
			t.Error("the ticket of the old appid stands beside the token of the new one")
		}
	})
}
