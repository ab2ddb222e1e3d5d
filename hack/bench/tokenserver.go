package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/time/rate"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

const (
	clients    = 16               // that ask at once, each over a connection of its own
	servers    = 40               // credentials that they have: one may ask 1,000 times a second
	askedNames = 5                // WeChatTokens that each of these asks for
	loadFor    = 10 * time.Second // with each load
	halfLoad   = 2500             // requests a second
)

// tokenServer: servers outside the cluster ask for tokens, and one of them polls while
// its token is forced.
func (b *bench) tokenServer(r *result) error {
	return b.inWorld(fleet(r.n), wechattest.Config{}, func(w *world) {
		w.start()
		w.fill("filling")
		w.kubectl("create clusterrole reader --verb=get --resource=wechattokens.wechattoken.io/token")
		var credentials []string
		for i := range servers {
			account := fmt.Sprintf("server-%d", i)
			w.kubectl("create serviceaccount " + account)
			w.kubectl("create clusterrolebinding " + account + " --clusterrole=reader --serviceaccount=default:" + account)
			credentials = append(credentials, w.kubectl("create token "+account+" --audience=wechattoken.io --duration=10h"))
		}
		server := w.plane.StartTokenServer(w.TB, filepath.Join(w.bin, "token-server"), "--log-level=INFO")
		server.AwaitReady()
		w.quiet()
		r.judge("resident memory, ready", w.resident(server.PID()), 40, "MB")
		l := &load{world: w, url: server.URL, credentials: credentials}
		l.run("token-server, warm-up", rate.Inf, 2*time.Second)
		w.judgeLoad(r, "", l)
		r.judge("resident memory, behind the load", w.resident(server.PID()), 40, "MB")
		delays := w.polled(server, credentials[0])
		r.judge("from the annotation of a refresh request to a client that polls, p50", percentile(delays, 0.5), 100, "ms")
		r.judge("from the annotation of a refresh request to a client that polls, p99", percentile(delays, 0.99), 100, "ms")
		server.Terminate()

		dir := w.TempDir()
		w.must(testcluster.Build(dir, "./bench/constant"))
		address, err := testcluster.FreeAddress()
		w.must(err)
		constant, err := testcluster.StartProcess(filepath.Join(dir, "constant"), w.plane.Kubeconfig, io.Discard, io.Discard, address)
		w.must(err)
		defer constant.Kill()
		l.url = "https://" + address
		testcluster.Eventually(w.TB, "the ceiling answers", func() error {
			_, _, err := get(w, insecure, l.url, w.apps[0], "", "")
			return err
		})
		l.run("ceiling, warm-up", rate.Inf, 2*time.Second)
		w.judgeLoad(r, "ceiling: ", l)
	})
}

// judgeLoad measures as many requests as there can be, and half of what there must be.
func (w *world) judgeLoad(r *result, of string, l *load) {
	judge := func(what string, value, atMost float64, unit string) {
		if of != "" {
			r.add(of+what, value, unit)
			return
		}
		r.judge(what, value, atMost, unit)
	}
	all := l.run(of+"as many GETs as possible", rate.Inf, loadFor)
	r.add(of+"GETs a second", float64(len(all))/loadFor.Seconds(), "/s")
	judge("a GET every", loadFor.Seconds()*1e6/float64(len(all)), 200, "µs")
	half := l.run(of+"half of that", halfLoad, loadFor)
	judge(fmt.Sprintf("a GET at %d a second, p50", halfLoad), percentile(half, 0.5), 10, "ms")
	judge(fmt.Sprintf("a GET at %d a second, p99", halfLoad), percentile(half, 0.99), 10, "ms")
}

// resident is what a process holds in memory, in MB of 1,000,000 bytes.
func (w *world) resident(pid int) float64 {
	p, err := procfs.NewProc(pid)
	w.must(err)
	status, err := p.NewStatus()
	w.must(err)
	return float64(status.VmRSS) / 1e6
}

// load is made of clients that ask for tokens.
type load struct {
	*world

	url         string
	credentials []string
}

// run asks so often a second, from all clients together, and returns how long each answer
// took, from when it was due.
func (l *load) run(what string, perSecond rate.Limit, during time.Duration) (all []time.Duration) {
	p := begin(what, 0)
	defer p.end()
	begun := time.Now()
	var next atomic.Int64
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range clients {
		workers.Go(func() {
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 1}}
			defer client.CloseIdleConnections()
			var took []time.Duration
			for {
				i := next.Add(1) - 1
				due := time.Now()
				if perSecond != rate.Inf {
					due = begun.Add(time.Duration(float64(i) / float64(perSecond) * float64(time.Second)))
					time.Sleep(time.Until(due))
				}
				if due.Sub(begun) > during {
					break
				}
				if err := l.ask(client, int(i)); err != nil {
					l.Error(err)
					break
				}
				took = append(took, time.Since(due))
			}
			mu.Lock()
			all = append(all, took...)
			mu.Unlock()
		})
	}
	workers.Wait()
	return all
}

// ask asks for a token.
func (l *load) ask(client *http.Client, i int) error {
	who := i % len(l.credentials)
	a := l.apps[(who*askedNames+i/len(l.credentials)%askedNames)%len(l.apps)]
	code, _, err := get(l.world, client, l.url, a, l.credentials[who], "")
	if err == nil && code != http.StatusOK {
		err = fmt.Errorf("a token has status %d", code)
	}
	return err
}

func get(w *world, client *http.Client, url string, a app, credential, etag string) (code int, newTag string, err error) {
	req, err := http.NewRequestWithContext(w.Context(), http.MethodGet, url+"/v1/namespaces/"+a.namespace+"/wechattokens/"+a.name+"/token", nil)
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+credential)
	if etag != "" {
		req.Header.Set("If-None-Match", etag)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, resp.Header.Get("ETag"), errors.Join(err, resp.Body.Close())
}

// polled is how long it takes from a refresh request until a client that asks all the
// time has the new token.
func (w *world) polled(server *testcluster.TokenServer, credential string) (delays []time.Duration) {
	apps := w.unforced(min(oneByOne, len(w.apps)))
	p := begin("forced, to a client that polls", len(apps))
	defer p.end()
	for _, a := range apps {
		code, was, err := get(w, server.Client, server.URL, a, credential, "")
		if err != nil || code != http.StatusOK {
			w.Fatal(code, err)
		}
		begun := time.Now()
		w.must(w.force(a))
		for now := was; now == was; w.sleep(time.Millisecond) {
			_, now, err = get(w, server.Client, server.URL, a, credential, was)
			w.must(err)
		}
		delays = append(delays, time.Since(begun))
		p.Add(1)
	}
	return delays
}
