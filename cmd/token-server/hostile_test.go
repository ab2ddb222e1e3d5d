//go:build integration

package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/serving"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// What nobody should send gets an answer in JSON that says what to send, and no more.
func TestBadRequestsGetAClearAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	token := w.awaitToken(reader).AccessToken
	cases := map[string]struct {
		reason       string
		method, path string
		code         int
	}{
		"Root":          {"there is nothing", "GET", "/", 404},
		"UnknownPath":   {"there is nothing", "GET", "/v1/namespaces/" + w.Name + "/wechattokens", 404},
		"OtherVersion":  {"there is only v1", "GET", strings.Replace(w.path("shop", "token"), "v1", "v2", 1), 404},
		"Metrics":       {"they have a port of their own", "GET", "/metrics", 404},
		"Method":        {"a token is only read", "DELETE", w.path("shop", "token"), 405},
		"ReportByGet":   {"a report changes something", "GET", w.path("shop", "invalid"), 405},
		"Name":          {"it is no name", "GET", w.path("Shop_1", "token"), 400},
		"TokenAsName":   {"it is no name", "GET", w.path(token, "token"), 400},
		"Traversal":     {"it is no name", "GET", "/v1/namespaces/..%2f..%2fkube-system/wechattokens/shop/token", 400},
		"OtherTicket":   {"WeChat has no such ticket", "GET", w.path("shop", "token") + "?ticket=JSAPI", 400},
		"OtherNotThere": {"no permission", "GET", "/v1/namespaces/kube-system/wechattokens/shop/token", 403},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req, err := http.NewRequestWithContext(t.Context(), tc.method, w.server.URL+tc.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+reader)
			resp, err := w.server.Client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			if a := read(t, string(body)); resp.StatusCode != tc.code || a.Code != tc.code || a.Message == "" || a.AccessToken != "" {
				t.Errorf("%s: got %s, want %d: %s", tc.reason, resp.Status, tc.code, body)
			}
			if resp.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%s: an intermediary may keep it", tc.reason)
			}
			for where, text := range map[string]string{"answer": string(body), "log": w.server.Output.String()} {
				if strings.Contains(text, token) || strings.Contains(text, reader) {
					t.Errorf("%s: the token or the credential is in the %s", tc.reason, where)
				}
			}
		})
	}
}

// Who is slow, or says too much, is left.
func TestSlowAndLongRequestsAreLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	w.awaitToken(reader)
	begin := "POST " + w.path("shop", "invalid") + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + reader + "\r\n"
	cases := map[string]struct {
		reason, send, want string
		plain              bool
	}{
		"Silent":     {reason: "no handshake comes", plain: true},
		"PlainHTTP":  {reason: "it does not speak TLS", send: begin + "\r\n", plain: true, want: "HTTP request to an HTTPS server"},
		"HalfHeader": {reason: "the headers have no end", send: begin},
		"LongHeader": {reason: "the headers are longer than any", send: begin + "X: " + strings.Repeat("x", 2*serving.MaxHeader) + "\r\n\r\n", want: "431 "},
		"NoBody":     {reason: "the body that is announced does not come", send: begin + "Content-Length: 9\r\n\r\n", want: "400 "},
		"HTTP2":      {reason: "HTTP/2 is not spoken", send: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", want: "400 "},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := testcluster.Connect(t, netip.MustParseAddr("127.0.0.1"), strings.TrimPrefix(w.server.URL, "https://"))
			if !tc.plain {
				conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
			}
			defer conn.Close()
			if err := conn.SetReadDeadline(time.Now().Add(testcluster.Patience)); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(conn, tc.send) // the server need not read it all
			got, err := io.ReadAll(conn)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("%s: the connection is still there", tc.reason)
			}
			if !strings.Contains(string(got), tc.want) {
				t.Errorf("%s: got %q, want an answer with %q", tc.reason, got, tc.want)
			}
		})
	}
}

// More silent connections than the server takes keep nobody out, and it keeps no more.
func TestIdleConnectionsKeepNobodyOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	w.awaitToken(reader)
	for i := range 1_500 {
		from := netip.AddrFrom4([4]byte{127, 3, byte(i / 8 >> 8), byte(i / 8)})
		var conn net.Conn = testcluster.Connect(t, from, strings.TrimPrefix(w.server.URL, "https://"))
		t.Cleanup(func() { conn.Close() })
	}
	w.server.Client.CloseIdleConnections()
	w.awaitToken(reader)
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", w.server.PID()))
	if err != nil {
		t.Fatal(err)
	}
	const others = 50 // files, listeners, and connections to the API server
	if len(open) > connections.OfAll+others {
		t.Errorf("the server has %d files open, want %d connections at most", len(open), connections.OfAll)
	}
}

// Made-up credentials cost the API server few questions, and who is known does not wait
// behind them.
func TestForgedCredentialsDelayNobody(t *testing.T) {
	t.Parallel()
	const perSecond, atOnce = 100, 200 // the questions about what is not known
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	w.awaitToken(reader)
	begun, stop := time.Now(), make(chan struct{})
	codes := make(chan int, 1<<20)
	var workers sync.WaitGroup
	for worker := range 8 {
		workers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				resp, _ := w.server.Get(t, w.path("shop", "token"), fmt.Sprintf("forged-%d-%d", worker, i))
				codes <- resp.StatusCode
			}
		})
	}
	for time.Since(begun) < 15*time.Second { // what the API server has said counts for 10 s
		if resp, body := w.server.Get(t, w.path("shop", "token"), reader); resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", resp.Status, body)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	close(stop)
	workers.Wait()
	most := atOnce + int(perSecond*time.Since(begun).Seconds()) + 1
	count := map[int]int{}
	for range len(codes) {
		count[<-codes]++
	}
	unknown, tooMany := count[http.StatusUnauthorized], count[http.StatusTooManyRequests]
	if unknown == 0 || unknown > most || len(count) > 2 || len(count) == 2 && tooMany == 0 {
		t.Errorf("answers to made-up credentials: %v; want at most %d times 401, and else 429", count, most)
	}
}

// Secrets that look like the operator's take no memory, and push no token out.
func TestForgedSecretsPushNoTokenOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	was := w.awaitToken(reader).AccessToken
	like := w.secret()
	for i := range 300 {
		forged := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("forged-%d", i), Labels: like.Labels, Annotations: like.Annotations, OwnerReferences: like.OwnerReferences},
			Data:       like.Data,
		}
		w.create(forged)
	}
	again := w.StartTokenServer(t, tokenServer, "--namespaces="+w.Name)
	again.AwaitReady()
	for name, server := range map[string]*testcluster.TokenServer{"it has seen them come": w.server, "it has listed them": again} {
		resp, body := server.Get(t, w.path("shop", "token"), reader)
		if resp.StatusCode != http.StatusOK || read(t, body).AccessToken != was {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
}

// A WeChatToken that somebody has made names a Secret that the operator has not written
// for it: nothing is served of that.
func TestOnlyItsOwnSecretIsServed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	thief := w.get().DeepCopy()
	thief.ObjectMeta = metav1.ObjectMeta{Name: "thief"}
	thief.Spec.Secret = &v1alpha1.TokenSecret{Name: "shop"}
	w.create(thief)
	reader := w.allowed("thief", "thief", rbacv1.PolicyRule{Resources: []string{"wechattokens/token"}, Verbs: []string{"get"}})
	testcluster.Eventually(t, "an answer to who may read it", func() error {
		resp, body := w.server.Get(t, w.path("thief", "token"), reader)
		if strings.Contains(body, "access_token") {
			t.Fatalf("the token of another WeChatToken is served: %s", resp.Status)
		}
		if resp.StatusCode != http.StatusConflict {
			return fmt.Errorf("%s: %s", resp.Status, body)
		}
		return nil
	})
}

// Neither the token nor the credential is in anything that the server says: its log, its
// metrics, its command line.
func TestNoSecretIsTold(t *testing.T) {
	t.Parallel()
	metrics, err := testcluster.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, wechattest.Config{}, "--log-level=DEBUG", "--metrics-bind-address="+metrics)
	w.shop()
	reader := w.reader("shop")
	token := w.awaitToken(reader).AccessToken
	w.report(reader, token, "?wait=5s")
	w.server.Get(t, w.path("shop", "token")+"?access_token="+token, reader)
	w.server.Get(t, "/"+token, "")
	w.server.Get(t, w.path("shop", "token"), token)
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", w.server.PID()))
	if err != nil {
		t.Fatal(err)
	}
	log := w.server.Output.String()
	for _, want := range []string{`"code":200`, record.Fingerprint(token), "reader-of-shop"} {
		if !strings.Contains(log, want) {
			t.Errorf("there is no %s in the log", want)
		}
	}
	for where, text := range map[string]string{"log": log, "command line": string(cmdline)} {
		for what, secret := range map[string]string{"token": token, "credential": reader, "AppSecret": appSecret} {
			if strings.Contains(text, secret) {
				t.Errorf("the %s is in the %s", what, where)
			}
		}
	}
}
