//go:build integration

package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// A replica is ready when it knows the cluster, and healthy before that: it must
// not be restarted because the API server is slow.
func TestReadyOnceTheCachesAreFilled(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{})
	listed, release := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(listed) })
	kubeconfig := ns.Proxy(t, func(api http.RoundTripper) testcluster.RoundTrip {
		return func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/secrets") {
				once()
				select {
				case <-release:
				case <-r.Context().Done():
				}
			}
			return api.RoundTrip(r)
		}
	})
	m := ns.start(url, "--kubeconfig="+kubeconfig)
	<-listed

	testcluster.Eventually(t, "/healthz is good", func() error { return m.Probe("/healthz") })
	if err := m.Probe("/readyz"); err == nil {
		t.Error("/readyz is good before the Secrets are known")
	}
	close(release)
	m.AwaitReady()
	if err := m.Probe("/healthz"); err != nil {
		t.Error(err)
	}
}

// What a restart may repair ends the process, with exit code 1 and the reason.
func TestNoClusterEndsTheProcess(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	nobody := testcluster.WriteKubeconfig(t, &rest.Config{Host: "http://" + freeAddress(t)})
	notInstalled := ns.Proxy(t, func(api http.RoundTripper) testcluster.RoundTrip {
		return func(r *http.Request) (*http.Response, error) {
			r.Header.Set("Accept", "application/json") // else the list of groups tells of their kinds too
			if strings.HasPrefix(r.URL.Path, "/apis/"+v1alpha1.GroupVersion.Group) {
				return &http.Response{StatusCode: http.StatusNotFound, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
			}
			return api.RoundTrip(r)
		}
	})
	cases := map[string]struct {
		reason     string
		kubeconfig string
		want       string
	}{
		"NoFile":       {"the file is not there", filepath.Join(t.TempDir(), "none"), "KUBECONFIG"},
		"NobodyThere":  {"nothing answers", nobody, "connection refused"},
		"NotInstalled": {"the API server does not know the kind", notInstalled, "WeChatToken"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := ns.start("http://127.0.0.1:1", "--kubeconfig="+tc.kubeconfig)
			if code := m.AwaitEnd(); code != 1 {
				t.Errorf("%s: exit code %d, want 1", tc.reason, code)
			}
			lines := strings.Split(strings.TrimSpace(m.Output.String()), "\n")
			if last := lines[len(lines)-1]; !strings.HasPrefix(last, "manager: ") || !strings.Contains(last, tc.want) {
				t.Errorf("%s: said %q last, want a sentence with %q", tc.reason, last, tc.want)
			}
		})
	}
}

// The process listens where it was told to, and nowhere else.
func TestNothingElseListens(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	_, url := testcluster.FakeWeChat(t, wechattest.Config{})
	metrics := freeAddress(t)
	cases := map[string]struct {
		reason string
		flags  []string
		want   func(m *testcluster.Program) []string
	}{
		"Health":  {"there are no metrics", nil, func(m *testcluster.Program) []string { return []string{m.Health} }},
		"Both":    {"both were asked for", []string{"--metrics-bind-address=" + metrics}, func(m *testcluster.Program) []string { return []string{m.Health, metrics} }},
		"Nothing": {"neither was asked for", []string{"--health-probe-bind-address=0"}, func(*testcluster.Program) []string { return nil }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := ns.start(url, tc.flags...)
			testcluster.Eventually(t, "the controller works", func() error {
				if !strings.Contains(m.Output.String(), "Starting workers") {
					return errors.New("it does not yet")
				}
				return nil
			})
			want := tc.want(m)
			slices.Sort(want)
			var got []string
			// The servers begin beside the controller.
			testcluster.Eventually(t, "as many sockets as wanted", func() error {
				if got = listening(t, m.PID()); len(got) < len(want) {
					return fmt.Errorf("it listens on %v", got)
				}
				return nil
			})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			m.Kill()
		})
	}
}

// listening are the TCP addresses that a process listens on, as Linux tells.
func listening(t *testing.T, pid int) []string {
	t.Helper()
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(proc, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	own := map[string]bool{} // inodes of sockets
	for _, fd := range fds {
		if target, err := os.Readlink(filepath.Join(proc, "fd", fd.Name())); err == nil {
			own[strings.TrimSuffix(strings.TrimPrefix(target, "socket:["), "]")] = true
		}
	}
	var addresses []string
	for _, table := range []string{"tcp", "tcp6"} {
		content, err := os.ReadFile(filepath.Join(proc, "net", table))
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without IPv6
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(content), "\n")[1:] {
			const local, state, inode, listen = 1, 3, 9, "0A"
			if f := strings.Fields(line); len(f) > inode && f[state] == listen && own[f[inode]] {
				addresses = append(addresses, address(t, f[local]))
			}
		}
	}
	slices.Sort(addresses)
	return addresses
}

// address reads an address of /proc: words of four bytes in the order of a
// little-endian machine, a colon, and the port.
func address(t *testing.T, s string) string {
	t.Helper()
	ip, port, _ := strings.Cut(s, ":")
	bytes, err := hex.DecodeString(ip)
	if err != nil {
		t.Fatal(err)
	}
	for word := range slices.Chunk(bytes, 4) {
		slices.Reverse(word)
	}
	addr, _ := netip.AddrFromSlice(bytes)
	n, err := strconv.ParseUint(port, 16, 16)
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)).String()
}
