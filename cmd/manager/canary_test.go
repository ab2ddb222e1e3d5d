//go:build integration

package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// TestNoSecretIsTold takes the manager through every way in which WeChat and the
// network can fail, with all that it can log, and looks for the AppSecrets, the
// tokens and the tickets in everything that it says: its output, events, WeChatTokens,
// metrics, its command line, and the dump of a crash.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	const timeout = time.Second

	faults := map[string]wechattest.Fault{
		"works":     {},
		"wrong":     {},
		"echo":      {Kind: wechattest.FaultEcho},
		"garbage":   {Kind: wechattest.FaultGarbage},
		"hang":      {Kind: wechattest.FaultHang},
		"huge":      {Kind: wechattest.FaultHuge},
		"lost":      {Kind: wechattest.FaultLost},
		"truncated": {Kind: wechattest.FaultTruncated},
		"reset":     {Kind: wechattest.FaultReset},
		"badttl":    {Kind: wechattest.FaultBadTTL, ExpiresIn: -1},
		"null":      {Kind: wechattest.FaultNull},
		"empty":     {Kind: wechattest.FaultEmpty},
		"textplain": {Kind: wechattest.FaultTextPlain},
		"redirect":  {Kind: wechattest.FaultStatus, Status: 302},
		"quoted":    {Kind: wechattest.FaultErrcode, Code: 40125}, // its message is set below

		// With a valid token.
		"noticket":       {Kind: wechattest.FaultErrcode, Code: 48001, Endpoint: wechattest.Ticket},
		"echoedticket":   {Kind: wechattest.FaultEcho, Endpoint: wechattest.Ticket},
		"hugeticket":     {Kind: wechattest.FaultHuge, Endpoint: wechattest.Ticket},
		"lostticket":     {Kind: wechattest.FaultLost, Endpoint: wechattest.Ticket},
		"halfticket":     {Kind: wechattest.FaultTruncated, Endpoint: wechattest.Ticket},
		"deadlyticket":   {Kind: wechattest.FaultErrcode, Code: 40001, Endpoint: wechattest.Ticket},
		"timelessticket": {Kind: wechattest.FaultBadTTL, ExpiresIn: -1, Endpoint: wechattest.Ticket},

		"allowlist": {Kind: wechattest.FaultErrcode, Code: 40164, Message: "invalid ip 192.0.2.7 ipv6 ::ffff:192.0.2.7, not in whitelist"},
	}
	ns := newNamespace(t)
	secrets := &testcluster.Canaries{}
	fake, weChat := secrets.FakeWeChat(t, wechattest.Config{})

	number := 0
	for what, fault := range faults {
		for _, mode := range []v1alpha1.Mode{v1alpha1.ModeStable, v1alpha1.ModeClassic} {
			number++
			a := newApp(mode, number)
			a.name = what + "-" + a.name
			a.tickets = []v1alpha1.TicketType{v1alpha1.TicketJSAPI, v1alpha1.TicketWxCard}
			sum := sha256.Sum256([]byte(a.appID))
			a.secret = hex.EncodeToString(sum[:16])
			secrets.Add("the AppSecret of "+a.name, a.secret)
			fake.AddAccount(a.appID, a.secret)
			if what == "wrong" {
				fake.SetSecret(a.appID, "another")
			}
			if what == "quoted" {
				fault.Message = "invalid appsecret " + a.secret + ", or " + url.QueryEscape(a.secret)
			}
			if fault.Kind != "" {
				fault.AppID = a.appID
				fake.SetFault(fault)
			}
			ns.create(a)
		}
	}

	metrics, bearer := freeAddress(t), ns.bearerForMetrics()
	secrets.Add("a token of Kubernetes", bearer)
	var told bytes.Buffer
	tell := func(what, text string) { fmt.Fprintf(&told, "--- %s\n%s\n", what, text) }

	found := ""
	for _, phase := range []struct{ what, url string }{
		{"nobody is there", "http://" + freeAddress(t)},
		{"WeChat answers", weChat},
		{"the name does not resolve", "https://no..such.host"},
		{"no TLS", strings.Replace(weChat, "http:", "https:", 1)},
	} {
		what := phase.what
		m := ns.start(phase.url, "--log-level=DEBUG", "--request-timeout="+timeout.String(), "--metrics-bind-address="+metrics)
		m.AwaitReady()
		testcluster.Eventually(t, "everything was tried", func() error {
			for name, wt := range ns.weChatTokens() {
				if wt.Status.ObservedGeneration < 1 {
					return fmt.Errorf("%s was not", name)
				}
			}
			return nil
		})
		// Once more: forced, and with its Secret lost.
		ns.kubectl("annotate", "--overwrite", "wxt", "--all", "wechattoken.io/refresh-requested-at="+strings.ReplaceAll(what, " ", "-"))
		if got, err := ns.tokens(); err != nil {
			t.Fatal(err)
		} else {
			for secret := range got {
				ns.deleteSecret(secret)
			}
		}
		time.Sleep(2 * timeout) // for what times out
		if phase.url == weChat {
			// Behind so many that WeChat refuses, a new account waits its turn.
			testcluster.Eventually(t, "there is something to find", func() error {
				there := strings.Join(secrets.In(ns.kubectl("get", "secrets", "-o", "yaml")), "\n")
				if !strings.Contains(there, "a token in base64") || !strings.Contains(there, "a ticket in base64") {
					return errors.New("no Secret holds a token and a ticket")
				}
				return nil
			})
		}

		_, body := scrape(t, "https://"+metrics+"/metrics", bearer)
		tell("metrics: "+what, body)
		tell("WeChatTokens: "+what, ns.kubectl("get", "wxt", "-o", "yaml"))
		tell("events: "+what, ns.kubectl("get", "events", "-o", "yaml"))
		tell("describe: "+what, ns.kubectl("describe", "wxt"))
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", m.PID())) // where there is a /proc
		tell("command line: "+what, string(cmdline))
		found += strings.Join(secrets.In(ns.kubectl("get", "secrets", "-o", "yaml")), "\n")
		m.Signal(syscall.SIGQUIT) // dumps all goroutines, as a panic does
		<-m.Ended()
		tell("output: "+what, m.Output.String())
	}
	leaks := secrets.In(told.String())
	for _, leak := range leaks[:min(len(leaks), 10)] {
		t.Error(leak)
	}

	// All that was to be searched was searched, and what is there is found.
	for _, want := range []string{"goroutine 1 ", "controller_runtime_reconcile_total", `wechattoken_refreshes_total{errcode="40125"`, "wechattoken_ready_reason{", "40125", "kind: Event"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("there is no %q in what was searched", want)
		}
	}
	for _, want := range []string{"a token in base64", "a ticket in base64", "the AppSecret of echo-stable-"} {
		if !strings.Contains(found, want) {
			t.Errorf("the search does not find %s in the Secrets: %s", want, found)
		}
	}
}

// TestWhatFollowsAnAnswerIsNotLogged: a server whose answer is longer than it
// says. On a kept connection net/http takes the rest for an answer that nobody
// asked for, and logs it.
func TestWhatFollowsAnAnswerIsNotLogged(t *testing.T) {
	t.Parallel()
	const token = "98_canary0token0canary0token0canary0token"
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var answered atomic.Int32
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			go func() {
				defer conn.Close()
				for reader := bufio.NewReader(conn); ; {
					req, err := http.ReadRequest(reader)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
					time.Sleep(100 * time.Millisecond) // the connection is idle now
					fmt.Fprintf(conn, `{"access_token":%q}`, token)
					answered.Add(1)
				}
			}()
		}
	}()

	ns := newNamespace(t)
	m := ns.start("http://" + listener.Addr().String())
	ns.create(newApp(v1alpha1.ModeStable, 1))
	testcluster.Eventually(t, "a few answers", func() error {
		if n := answered.Load(); n < 3 {
			return fmt.Errorf("%d answers", n)
		}
		return nil
	})
	m.Terminate()
	secrets := &testcluster.Canaries{}
	secrets.Add("the token", token)
	for _, leak := range secrets.In(m.Output.String()) {
		t.Error(leak)
	}
	if !strings.Contains(m.Output.String(), "no usable access_token") {
		t.Errorf("the failure itself was not logged:\n%s", m.Output)
	}
}
