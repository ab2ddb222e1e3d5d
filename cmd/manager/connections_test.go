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
	"strconv"
	"strings"
	"testing"
	"time"

	"wechattoken.io/operator/internal/serving"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// resident is the memory of a process, in MiB.
func resident(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kib, err := strconv.Atoi(strings.Fields(after)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib / 1024
}

// Who opens connections and says nothing costs no memory, and keeps nobody out:
// not from one address, not from many, and not from the one of the kubelet.
func TestSilentConnectionsCostNoMemory(t *testing.T) {
	t.Parallel()
	const (
		silent = 2_000 // without a limit, some 200 MiB
		mayUse = 15    // MiB
	)
	ns := newNamespace(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{})
	metrics := freeAddress(t)
	scraper := ns.bearerForMetrics()
	m := ns.start(url, "--metrics-bind-address="+metrics)
	m.AwaitReady()
	answers := func(when string) {
		t.Helper()
		if err := m.Probe("/healthz"); err != nil {
			t.Errorf("%s: the probe: %v", when, err)
		}
		if status, body := scrape(t, "https://"+metrics+"/metrics", scraper); status != http.StatusOK {
			t.Errorf("%s: the scrape has status %d: %.200s", when, status, body)
		}
	}
	testcluster.Eventually(t, "the right that was just given holds", func() error {
		if status, body := scrape(t, "https://"+metrics+"/metrics", scraper); status != http.StatusOK {
			return fmt.Errorf("status %d: %.200s", status, body)
		}
		return nil
	})

	local := netip.MustParseAddr("127.0.0.1") // the kubelet's, here
	for name, address := range map[string]string{"health": m.Health, "metrics": metrics} {
		before := resident(t, m.PID())
		var open []net.Conn
		for i := range silent {
			from := local
			if i%2 == 1 {
				from = netip.AddrFrom4([4]byte{127, 1, byte(i / 16 >> 8), byte(i / 16)}) // 8 from each
			}
			open = append(open, testcluster.Connect(t, from, address))
		}
		answers(name)
		used := resident(t, m.PID()) - before
		if used >= mayUse {
			t.Errorf("%d silent connections to the %s cost %d MiB, want less than %d", silent, name, used, mayUse)
		} else {
			t.Logf("%d silent connections to the %s cost %d MiB", silent, name, used)
		}
		for _, conn := range open {
			conn.Close()
		}
	}
}

// Who is slow, or says too much, is left; and HTTP/2 is not spoken.
func TestSlowAndLongRequestsAreLeft(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{})
	metrics := freeAddress(t)
	m := ns.start(url, "--metrics-bind-address="+metrics)
	m.AwaitReady()
	local := netip.MustParseAddr("127.0.0.1")
	plain := func(t *testing.T) net.Conn {
		t.Helper()
		return testcluster.Connect(t, local, m.Health)
	}
	silent := func(t *testing.T) net.Conn {
		t.Helper()
		return testcluster.Connect(t, local, metrics)
	}
	encrypted := func(t *testing.T) net.Conn {
		t.Helper()
		return tls.Client(silent(t), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	}
	const (
		half     = "GET /healthz HTTP/1.1\r\nHost: x\r\n"
		preface2 = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	)
	noBody, long := half+"Content-Length: 9\r\n\r\n", half+"X: "+strings.Repeat("x", 2*serving.MaxHeader)+"\r\n\r\n"
	cases := map[string]struct {
		reason string
		dial   func(*testing.T) net.Conn
		send   string
		want   string
	}{
		"Silent":              {"nothing comes", plain, "", ""},
		"SilentTLS":           {"no handshake comes", silent, "", ""},
		"HalfHeader":          {"the headers have no end", plain, half, ""},
		"HalfHeaderEncrypted": {"the headers have no end", encrypted, half, ""},
		"NoBody":              {"the body that is announced does not come", plain, noBody, "200 OK"},
		"NoBodyEncrypted":     {"the body that is announced does not come", encrypted, noBody, "404 Not Found"},
		"LongHeader":          {"the headers are longer than any", plain, long, "431 "},
		"LongHeaderEncrypted": {"the headers are longer than any", encrypted, long, "431 "},
		"HTTP2":               {"HTTP/2 is not spoken", plain, preface2, "400 "},
		"HTTP2Encrypted":      {"HTTP/2 is not spoken though it was offered", encrypted, preface2, "400 "},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := tc.dial(t)
			defer conn.Close()
			if err := conn.SetReadDeadline(time.Now().Add(testcluster.Patience)); err != nil {
				t.Fatal(err)
			}
			if tc.send != "" {
				_, _ = io.WriteString(conn, tc.send) // the server need not read it all
			}
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

// Who could not listen says where, and why.
func TestAddressInUseIsSaid(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, flag := range []string{"--metrics-bind-address", "--health-probe-bind-address"} {
		m := ns.start(url, flag+"="+taken.Addr().String())
		if code := m.AwaitEnd(); code != 1 {
			t.Errorf("%s: exit code %d, want 1", flag, code)
		}
		for _, want := range []string{flag, taken.Addr().String(), "address already in use"} {
			if !strings.Contains(m.Output.String(), want) {
				t.Errorf("%s: there is no %q in what it said: %s", flag, want, m.Output)
			}
		}
	}
}
