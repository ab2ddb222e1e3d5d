//go:build integration

package attack

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/internal/testcluster"
)

var insecure = &tls.Config{InsecureSkipVerify: true} // as a Prometheus without the certificate

// get asks the manager for a path from an address of this machine, on a connection of
// its own.
func get(ctx context.Context, from, url, bearer string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: insecure, DisableKeepAlives: true, DialContext: dialerFrom(from).DialContext}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func dialerFrom(ip string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}, Timeout: 10 * time.Second}
}

// credential is that of a ServiceAccount that may do what a ClusterRole says, if any.
func credential(t *testing.T, namespace, name, role string) string {
	t.Helper()
	must(t, admin.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}))
	if role != "" {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "attack-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
		}
		must(t, admin.Create(t.Context(), binding))
		t.Cleanup(func() { _ = admin.Delete(context.Background(), binding) })
	}
	return serviceAccount(t, namespace, name).BearerToken
}

func TestMetricsAreForTheirReadersOnly(t *testing.T) {
	t.Parallel()
	tried(t, pod, "metrics, profiles and other paths, with its own credential, a wrong one and none")
	shop := newNamespace(t, "shop")
	own, reader := credential(t, shop, "default", ""), credential(t, shop, "prometheus", operatorName+"-metrics-reader")
	m := present()
	for _, tc := range []struct {
		url, bearer string
		want        []int
	}{
		{"https://" + m.metrics + "/metrics", reader, []int{200}},
		{"https://" + m.metrics + "/metrics", "", []int{401}},
		{"https://" + m.metrics + "/metrics", "rubbish", []int{401}},
		{"https://" + m.metrics + "/metrics", own, []int{403}},
		{"https://" + m.metrics + "/debug/pprof/heap", reader, []int{403, 404}},
		{"https://" + m.metrics + "/debug/pprof/heap", own, []int{403, 404}},
		{"http://" + m.metrics + "/metrics", reader, []int{400}},
		{"http://" + m.Health + "/healthz", "", []int{200}},
		{"http://" + m.Health + "/metrics", "", []int{404}},
		{"http://" + m.Health + "/debug/pprof/heap", "", []int{404}},
	} {
		got, err := get(t.Context(), "127.0.0.1", tc.url, tc.bearer)
		ok := err == nil
		if ok {
			ok = strings.Contains(fmt.Sprint(tc.want), fmt.Sprint(got))
		}
		if !ok {
			t.Errorf("%s: got %d, %v, want %v", tc.url, got, err, tc.want)
		}
	}
}

func TestTheMetricsSpeakNoHTTP2(t *testing.T) {
	t.Parallel()
	tried(t, peer, "many streams on one connection to the metrics")
	c, err := tls.DialWithDialer(dialerFrom("127.0.0.1"), "tcp", present().metrics, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2", "http/1.1"}})
	must(t, err)
	defer c.Close()
	if p := c.ConnectionState().NegotiatedProtocol; p == "h2" {
		t.Error("the metrics speak HTTP/2")
	}
}

// hold opens n connections to addr from the addresses given, in turn, and says
// nothing on them but a handshake. They stay open until the test ends; it returns how
// many of them the manager has not closed.
func hold(t *testing.T, addr string, secure bool, n int, from ...string) (held int) {
	t.Helper()
	var mu sync.Mutex
	var open []net.Conn
	t.Cleanup(func() {
		for _, c := range open {
			c.Close()
		}
	})
	var opening, waiting sync.WaitGroup
	var next, silent atomic.Int64
	for range min(n, 200) {
		opening.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				c, err := dialerFrom(from[i%len(from)]).DialContext(t.Context(), "tcp", addr)
				if err != nil {
					continue
				}
				if secure {
					_ = c.SetDeadline(time.Now().Add(5 * time.Second))
					over := tls.Client(c, insecure)
					_ = over.HandshakeContext(t.Context()) // of a closed one it fails, and so does a read
					c = over
				}
				mu.Lock()
				open = append(open, c)
				mu.Unlock()
			}
		})
	}
	opening.Wait()
	for _, c := range open {
		waiting.Go(func() {
			_ = c.SetDeadline(time.Now().Add(time.Second))
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				silent.Add(1)
			}
		})
	}
	waiting.Wait()
	return int(silent.Load())
}

func TestConnectionsAreLimited(t *testing.T) {
	restart(t)
	reader := credential(t, newNamespace(t, "shop"), "prometheus", operatorName+"-metrics-reader")
	m := present()
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("127.0.1.%d", i+1))
	}
	cases := map[string]struct {
		addr   string
		secure bool
		from   []string
		limit  int
	}{
		"metrics from one address":   {m.metrics, true, []string{"127.0.0.1"}, 8},
		"metrics from 200 addresses": {m.metrics, true, many, 128},
		"health from one address":    {m.Health, false, []string{"127.0.0.1"}, 8},
		"health from 200 addresses":  {m.Health, false, many, 128},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tried(t, peer, "300 connections to %s that it does not close", name)
			if held := hold(t, tc.addr, tc.secure, 300, tc.from...); held > tc.limit {
				t.Errorf("%d connections are open at once, want at most %d", held, tc.limit)
			}
			testcluster.Eventually(t, "others are served", func() error {
				_, health := get(t.Context(), "127.0.0.2", "http://"+m.Health+"/healthz", "")
				status, metrics := get(t.Context(), "127.0.0.2", "https://"+m.metrics+"/metrics", reader)
				if metrics == nil && status != http.StatusOK {
					metrics = fmt.Errorf("the metrics answer %d", status)
				}
				return errors.Join(health, metrics)
			})
		})
	}
}

func TestPlainHTTPNeedsLoopbackAndAFlag(t *testing.T) {
	t.Parallel()
	tried(t, peer, "the AppSecret on the wire: a manager that is told to speak plain HTTP")
	for name, flags := range map[string][]string{
		"elsewhere":           {"--wechat-url=http://192.0.2.1"},
		"elsewhere-with-flag": {"--wechat-url=http://192.0.2.1", "--allow-plain-http"},
		"loopback":            {"--wechat-url=http://127.0.0.1:1"},
	} {
		health, err := testcluster.FreeAddress()
		must(t, err)
		// There it has nothing to do, if it starts.
		flags = append(flags, "--namespaces=none-at-all", "--leader-elect=false", "--metrics-bind-address=0", "--health-probe-bind-address="+health)
		p, err := testcluster.StartProcess(filepath.Join(dir, "manager"), operator.Kubeconfig, nil, nil, flags...)
		must(t, err)
		testcluster.Eventually(t, name+": it ends, or listens", func() error {
			select {
			case <-p.Ended():
				return nil
			default:
				_, err := get(t.Context(), "127.0.0.1", "http://"+health+"/healthz", "")
				return err
			}
		})
		select {
		case <-p.Ended():
			if p.ExitCode() == 0 {
				t.Errorf("%s: it ended without an error", name)
			}
		default:
			t.Errorf("%s: it starts", name)
			p.Kill()
		}
	}
}
