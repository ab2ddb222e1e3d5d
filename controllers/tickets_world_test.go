package controllers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// ticket is what stands under a key of a Secret; empty if there is none.
func (w *world) ticket(secret, key string) string {
	w.t.Helper()
	if s := w.secret(secret); s != nil {
		return string(s.Data[key])
	}
	return ""
}

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

// P1, P7: a day of tickets. Whenever a server reads one, it works, and its end
// is not beyond the real one. WeChat is asked every 10 minutes, and a ticket is
// written once; but the first of all, whose age nobody knows, every second poll.
func TestTicketsNeverRunOut(t *testing.T) {
	cases := map[string]struct {
		reason string
		mode   func(*v1alpha1.WeChatToken)
		weChat wechattest.Config
		after  time.Duration // into the life of a ticket, the operator starts
		life   time.Duration
		run    time.Duration
		pause  time.Duration
	}{
		"Stable":    {"", stableMode, wechattest.Config{}, 0, 2 * time.Hour, 24 * time.Hour, 10 * time.Second},
		"Classic":   {"What becomes of the token touches no ticket.", classic, wechattest.Config{}, 37 * time.Minute, 2 * time.Hour, 24 * time.Hour, 10 * time.Second},
		"OldTicket": {"The first ticket is nearly invalid, and says that it is new.", stableMode, wechattest.Config{}, 119 * time.Minute, 2 * time.Hour, 24 * time.Hour, 10 * time.Second},
		"LittleOverlap": {"The old ticket works for as long as it is trusted without being given, and no second more.", stableMode,
			wechattest.Config{TicketOverlap: 30 * time.Minute}, 50 * time.Minute, 2 * time.Hour, 24 * time.Hour, 10 * time.Second},
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

// In the steady state a ticket costs one write in its two hours, and what is
// told of it stands in the status.
func TestTicketCostsOneWrite(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		time.Sleep(43 * time.Minute)
		w.create(appSecret(testAppSecret), weChatToken(wanting(v1alpha1.TicketJSAPI)))
		w.run(4 * time.Hour)
		tokens, secrets, statuses := w.weChat.Counts("").Stable.Rotations, w.secretWrites, w.statusWrites
		w.run(20 * time.Hour)
		tokens = w.weChat.Counts("").Stable.Rotations - tokens
		if secrets, statuses = w.secretWrites-secrets-tokens, w.statusWrites-statuses-tokens; secrets != 10 || statuses != 10 {
			t.Errorf("%d writes of the Secret and %d of the status for 10 tickets", secrets, statuses)
		}

		value := w.ticket("shop", "jsapi_ticket")
		status := w.get("shop").Status
		if len(status.Tickets) != 1 {
			t.Fatalf("status %+v", status.Tickets)
		}
		got := status.Tickets[0]
		if got.Type != v1alpha1.TicketJSAPI || got.Fingerprint != record.Fingerprint(value) || got.LastError != nil ||
			got.ExpirationTime.UTC().Format(time.RFC3339) != w.ticket("shop", "jsapi_ticket_expires_at") || time.Since(got.LastRefreshTime.Time) > 2*time.Hour {
			t.Errorf("status %+v", got)
		}
		w.wantNoSecrets()
	})
}

// P4: those who share a token share the tickets. One poll is for all, and who
// wants none gets none and pays nothing.
func TestTicketsAreShared(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(bothTickets), weChatToken(named("b"), wanting(v1alpha1.TicketJSAPI)), weChatToken(named("none")))
		w.run(time.Minute)
		plain := w.secret("none").ResourceVersion
		if got := w.polls(); got != 2 {
			t.Errorf("%d calls for tickets of 2 types", got)
		}
		w.create(weChatToken(named("late"), wanting(v1alpha1.TicketWxCard)))
		w.run(time.Second)
		if got := w.polls(); got != 2 || w.ticket("late", "wx_card_ticket") != w.ticket("shop", "wx_card_ticket") {
			t.Errorf("%d calls after the late one came, which has the ticket: %t", got, w.ticket("late", "wx_card_ticket") != "")
		}
		polls := w.polls()
		w.run(85 * time.Minute)
		if got := w.polls() - polls; got != 2*8 {
			t.Errorf("%d calls for tickets in 85 minutes, want one of each type every 10", got)
		}
		if w.secret("none").ResourceVersion != plain || w.get("none").Status.Tickets != nil || w.ticketsReady("none").Type != "" {
			t.Error("the one that wants no tickets was written")
		}
		w.run(time.Hour)
		for secret, keys := range map[string][]string{
			"shop": {"access_token", "appid", "expires_at", "jsapi_ticket", "jsapi_ticket_expires_at", "obtained_at", "wx_card_ticket", "wx_card_ticket_expires_at"},
			"b":    {"access_token", "appid", "expires_at", "jsapi_ticket", "jsapi_ticket_expires_at", "obtained_at"},
			"none": {"access_token", "appid", "expires_at", "obtained_at"},
		} {
			if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(w.secret(secret).Data))); diff != "" {
				t.Errorf("keys of %s (-want +got):\n%s", secret, diff)
			}
		}
		if w.ticket("b", "jsapi_ticket") != w.ticket("shop", "jsapi_ticket") || !w.weChat.TicketValid(w.ticket("b", "jsapi_ticket")) {
			t.Error("the Secrets of one account have different tickets")
		}
	})
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

// An operator that can tickets takes over Secrets of one that could not.
func TestTicketsComeToALiveSecret(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Hour)
		token := w.token()
		w.change(bothTickets)
		w.run(time.Second)
		if w.token() != token || w.calls() != 1 || w.polls() != 2 {
			t.Errorf("%d calls for tokens and %d for tickets", w.calls(), w.polls())
		}
		w.wantTicketsReady(metav1.ConditionTrue, v1alpha1.ReasonTicketsValid)

		// And they go with the spec.
		w.change(wanting(v1alpha1.TicketWxCard))
		w.run(time.Second)
		if diff := cmp.Diff([]string{"access_token", "appid", "expires_at", "obtained_at", "wx_card_ticket", "wx_card_ticket_expires_at"}, slices.Sorted(maps.Keys(w.secret("shop").Data))); diff != "" {
			t.Errorf("keys (-want +got):\n%s", diff)
		}
		if strings.Contains(w.secret("shop").Annotations[record.Annotation], "JSAPI") || len(w.get("shop").Status.Tickets) != 1 {
			t.Error("something of the jsapi_ticket is left")
		}
		w.change(wanting())
		w.run(time.Second)
		if diff := cmp.Diff([]string{"access_token", "appid", "expires_at", "obtained_at"}, slices.Sorted(maps.Keys(w.secret("shop").Data))); diff != "" || w.ticketsReady("shop").Type != "" || w.get("shop").Status.Tickets != nil {
			t.Errorf("condition %+v, status %+v, keys (-want +got):\n%s", w.ticketsReady("shop"), w.get("shop").Status.Tickets, diff)
		}
		polls := w.polls()
		w.run(30 * time.Minute)
		if w.polls() != polls || w.token() != token {
			t.Error("tickets are still asked for, or the token was replaced")
		}
	})
}

// The trust ends while the operator cannot ask: TicketsReady turns False in that
// second, the ticket stays, and the first good poll repairs it.
func TestTicketsReadyFollowsTheTrust(t *testing.T) {
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
				w.run(3 * time.Hour)
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

// A call for a ticket that finds the token invalid is as good as a report: WeChat is
// asked, the token replaced, and the ticket fetched with the next one.
func TestTicketCallFindsAnInvalidToken(t *testing.T) {
	for name, mode := range map[string]func(*v1alpha1.WeChatToken){"Stable": stableMode, "Classic": classic} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(mode, bothTickets))
				w.run(time.Minute)
				killed(w)
				invalid := w.token()
				w.run(11 * time.Minute)
				if w.token() == invalid || !w.weChat.Valid(w.token()) {
					t.Fatal("the invalid token is still there")
				}
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonTokenRevoked)
				w.wantTicketsReady(metav1.ConditionTrue, v1alpha1.ReasonTicketsValid)
				c := w.weChat.Counts("")
				if c.Business.Calls != 1 || c.Ticket.Errcodes[40001] != 1 || c.Ticket.OK != 4 {
					t.Errorf("calls %+v", c)
				}
				if w.get("shop").Status.LastHandledInvalidToken != "" {
					t.Error("a report is echoed that nobody made")
				}
			})
		})
	}
}

// Another AppSecret of the same appid keeps the tickets, which are the appid's.
// Another appid does not.
func TestTicketsAreTheAppIDs(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(wanting(v1alpha1.TicketJSAPI)))
		w.run(5 * time.Minute)
		value, polls := w.ticket("shop", "jsapi_ticket"), w.polls()
		w.weChat.SetSecret(testAppID, wrongSecret)
		w.edit("shop-app", setAppSecret(wrongSecret))
		w.run(time.Minute)
		if w.ticket("shop", "jsapi_ticket") != value || w.polls() != polls || !record.Read(w.secret("shop"), record.NewKey(wrongSecret)).Verified {
			t.Errorf("%d calls for the ticket that was there, which is there: %t", w.polls()-polls, w.ticket("shop", "jsapi_ticket") == value)
		}

		w.weChat.AddAccount("wxfedcba9876543210", wrongSecret)
		hang := w.weChat.SetFault(wechattest.Fault{Kind: wechattest.FaultErrcode, Code: -1, Endpoint: wechattest.Ticket})
		w.change(func(wt *v1alpha1.WeChatToken) { wt.Spec.AppID = "wxfedcba9876543210" })
		w.run(time.Minute)
		if w.ticket("shop", "jsapi_ticket") != "" {
			t.Error("the ticket of the old appid stands beside the token of the new one")
		}
		w.weChat.ClearFaults(hang)
		w.run(2 * time.Minute)
		if got := w.ticket("shop", "jsapi_ticket"); got == value || !w.weChat.TicketValid(got) {
			t.Error("the new appid has no ticket")
		}
	})
}

// People damage Secrets: the ticket comes back without a call.
func TestDamagedTicketIsRepaired(t *testing.T) {
	cases := map[string]func(*corev1.Secret){
		"Deleted":    func(s *corev1.Secret) { delete(s.Data, "jsapi_ticket") },
		"Edited":     func(s *corev1.Secret) { s.Data["jsapi_ticket"] = []byte("x") },
		"EndEdited":  func(s *corev1.Secret) { s.Data["jsapi_ticket_expires_at"] = []byte("2100-01-01T00:00:00Z") },
		"RecordGone": func(s *corev1.Secret) { delete(s.Annotations, record.Annotation) },
		"Unproven":   unproven,
	}
	for name, damage := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken(wanting(v1alpha1.TicketJSAPI)))
				w.run(time.Minute)
				before := w.secret("shop")
				w.edit("shop", damage)
				w.run(time.Second)
				after := w.secret("shop")
				if diff := cmp.Diff(before.Data, after.Data); diff != "" || w.polls() != 1 || w.calls() != 1 || after.Annotations[record.Annotation] != before.Annotations[record.Annotation] {
					t.Errorf("%d and %d calls, data (-before +after):\n%s", w.calls(), w.polls(), diff)
				}

				// Without the memory, what is not known costs a call, and a good
				// ticket stays where it is.
				w.edit("shop", damage)
				w.restart()
				w.run(time.Second)
				if got := w.ticket("shop", "jsapi_ticket"); got != string(before.Data["jsapi_ticket"]) || w.polls() > 2 {
					t.Errorf("the ticket is there: %t, after %d calls", got != "", w.polls())
				}
				w.wantTicketsReady(metav1.ConditionTrue, v1alpha1.ReasonTicketsValid)
			})
		})
	}
}

// Tickets move with the Secret.
func TestTicketsMoveWithTheSecret(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(bothTickets))
		w.run(time.Minute)
		value := w.ticket("shop", "jsapi_ticket")
		w.change(writing("elsewhere"))
		w.restart()
		w.run(time.Second)
		if w.ticket("elsewhere", "jsapi_ticket") != value || w.secret("shop") != nil || w.polls() != 2 {
			t.Errorf("moved: %t, %d calls", w.ticket("elsewhere", "jsapi_ticket") == value, w.polls())
		}
	})
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
