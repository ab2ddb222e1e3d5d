package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

// world is everything that runs: the API server, two managers, WeChat.
type world struct {
	bin    string
	dir    string // logs
	pace   pace
	ledger *ledger

	plane   *testcluster.Cluster
	cluster client.Client
	clients *kubernetes.Clientset
	weChat  *weChat

	servers  []*http.Server
	url      string // of WeChat, for consumers
	managers [2]*manager

	planeMu sync.Mutex // one thing at a time is done to the API server
}

// manager is one of the two replicas. It is started anew whenever it ends, as
// the kubelet does.
type manager struct {
	world     *world
	name      string
	weChatURL string
	log       *os.File
	present   atomic.Int32 // number of its process

	mu       sync.Mutex // one thing at a time is done to it
	process  *testcluster.Process
	life     *incarnation
	final    bool // it is not started anew
	watchers sync.WaitGroup
}

// start starts everything. What was started must be ended also after an error.
func (w *world) start(ctx context.Context) error {
	if err := testcluster.FindPrograms(w.bin, "manager"); err != nil {
		return err
	}
	var err error
	if w.dir, err = os.MkdirTemp("", "wechattoken-chaos-"); err != nil {
		return err
	}
	if w.plane, err = testcluster.Start(); err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return err
	}
	if w.cluster, err = client.New(w.plane.Config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	if w.clients, err = kubernetes.NewForConfig(w.plane.Config); err != nil {
		return err
	}
	for _, name := range namespaces {
		if err := w.cluster.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return err
		}
	}
	w.weChat = newWeChat(w.ledger)
	if w.url, err = w.serve(w.weChat); err != nil {
		return err
	}
	for i := range w.managers {
		m := &manager{world: w, name: string(rune('A' + i))}
		w.managers[i] = m
		if m.weChatURL, err = w.serve(w.weChat.forManager(func() int { return int(m.present.Load()) })); err != nil {
			return err
		}
		if m.log, err = os.Create(filepath.Join(w.dir, "manager-"+m.name+".log")); err != nil {
			return err
		}
		if err := m.start(); err != nil {
			return err
		}
	}
	for ctx.Err() == nil && w.leader() == nil {
		time.Sleep(50 * time.Millisecond)
	}
	return ctx.Err()
}

// sleep lets d pass, or less if ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// serve serves HTTP on loopback.
func (w *world) serve(h http.Handler) (url string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	w.servers = append(w.servers, s)
	go s.Serve(l) //nolint:errcheck // it ends with Close
	return "http://" + l.Addr().String(), nil
}

// end ends everything that was started, each process by its pid.
func (w *world) end(keepLogs bool) error {
	for _, m := range w.managers {
		if m != nil {
			m.finish()
		}
	}
	for _, s := range w.servers {
		_ = s.Close() // nobody is left who would mind
	}
	var err error
	if w.plane != nil {
		w.planeMu.Lock()
		_ = w.plane.SignalAPIServer(syscall.SIGKILL) // faster than Stop alone, and it may be gone
		err = w.plane.Stop()
		w.planeMu.Unlock()
	}
	if !keepLogs && w.dir != "" {
		err = errors.Join(err, os.RemoveAll(w.dir))
	}
	return err
}

// leader is the manager that has the lease; nil if none has.
func (w *world) leader() *manager {
	w.ledger.mu.Lock()
	defer w.ledger.mu.Unlock()
	var leader *manager
	var since time.Time
	for _, m := range w.managers {
		if m == nil || m.life == nil {
			continue
		}
		if p := m.life; p.ended.IsZero() && p.acquired.After(since) {
			leader, since = m, p.acquired
		}
	}
	return leader
}

// pick is the leader, or the other one. Without a leader it is any.
func (w *world) pick(leader bool) *manager {
	l := w.leader()
	for _, m := range w.managers {
		if l == nil || (m == l) == leader {
			return m
		}
	}
	return nil
}

// start starts a process of the manager. Callers hold m.mu, or are alone.
func (m *manager) start() error {
	health, err := testcluster.FreeAddress()
	if err != nil {
		return err
	}
	w := m.world
	life := &incarnation{name: m.name, started: time.Now()}
	w.ledger.locked(func() {
		w.ledger.processes = append(w.ledger.processes, life)
		life.number = len(w.ledger.processes)
		m.life = life
	})
	m.present.Store(int32(life.number))
	out := &listener{out: m.log, line: func(line []byte) {
		if bytes.Contains(line, []byte("Successfully acquired lease")) {
			w.ledger.locked(func() { life.acquired = time.Now() })
			w.ledger.notef("", "manager %s (process %d) leads", m.name, life.number)
		}
	}}
	process, err := testcluster.StartProcess(filepath.Join(w.bin, "manager"), w.plane.Kubeconfig, out, out,
		"--wechat-url="+m.weChatURL, "--allow-plain-http", "--stable-window="+w.pace.window.String(),
		"--leader-election-namespace="+namespaces[0],
		"--metrics-bind-address=0", "--health-probe-bind-address="+health)
	if err != nil {
		return err
	}
	w.ledger.locked(func() { m.process = process })
	w.ledger.notef("", "manager %s (process %d) starts", m.name, life.number)
	m.watchers.Go(func() { m.watch(process, life) })
	return nil
}

// startAnew is how long after its end a manager is started again that ended by
// itself.
const startAnew = time.Second

// watch waits for the end of a process. One that ends by itself, because it lost
// its lease or could not start, is followed by another.
func (m *manager) watch(p *testcluster.Process, life *incarnation) {
	<-p.Ended()
	byItself := false
	m.world.ledger.locked(func() {
		if life.ended.IsZero() {
			life.ended = time.Now()
			byItself = true
		}
	})
	m.world.ledger.notef("", "manager %s (process %d) is gone", m.name, life.number)
	if !byItself {
		return
	}
	time.Sleep(startAnew)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.final || m.process != p {
		return
	}
	if err := m.start(); err != nil {
		m.world.ledger.notef("", "manager %s does not start: %v", m.name, err)
	}
}

// stop ends the process with a signal, and starts another one a while later.
func (m *manager) stop(ctx context.Context, s syscall.Signal, after time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over()
	m.process.Signal(s)
	select {
	case <-m.process.Ended():
	case <-time.After(30 * time.Second): // a grace period, as a pod has
		m.process.Kill()
	}
	sleep(ctx, after)
	if m.final || ctx.Err() != nil {
		return nil
	}
	return m.start()
}

// kill ends the process as it stands, in the middle of whatever else is done to it.
func (m *manager) kill() {
	m.world.ledger.locked(func() { m.process.Signal(syscall.SIGKILL) })
}

// over notes that the process is about to end.
func (m *manager) over() {
	m.world.ledger.locked(func() {
		if m.life.ended.IsZero() {
			m.life.ended = time.Now()
		}
	})
}

// pause stops the process for a while, as a machine that sleeps does.
func (m *manager) pause(ctx context.Context, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	from := time.Now()
	m.process.Signal(syscall.SIGSTOP)
	sleep(ctx, d)
	m.process.Signal(syscall.SIGCONT)
	m.world.ledger.locked(func() { m.life.paused = append(m.life.paused, span{from: from, to: time.Now()}) })
}

// finish ends the manager for good.
func (m *manager) finish() {
	m.mu.Lock()
	m.final = true
	if m.process != nil {
		m.over()
		m.process.Kill()
	}
	m.mu.Unlock()
	m.watchers.Wait()
}

// retire ends the manager for good as Kubernetes does, and returns its exit code.
func (m *manager) retire() (int, error) {
	defer m.watchers.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.final = true
	m.over()
	m.process.Signal(syscall.SIGTERM)
	select {
	case <-m.process.Ended():
		return m.process.ExitCode(), nil
	case <-time.After(30 * time.Second):
		return 0, fmt.Errorf("manager %s does not end within 30 s of SIGTERM", m.name)
	}
}

// restartAPIServer kills the API server and starts it again a while later.
func (w *world) restartAPIServer(ctx context.Context, after time.Duration) error {
	w.planeMu.Lock()
	defer w.planeMu.Unlock()
	from := time.Now()
	if err := w.plane.KillAPIServer(); err != nil {
		return err
	}
	sleep(ctx, after)
	if ctx.Err() != nil {
		return nil
	}
	err := w.plane.StartAPIServer()
	w.outage(from)
	w.ledger.notef("", "the API server is back")
	return err
}

// pauseAPIServer stops the API server for a while.
func (w *world) pauseAPIServer(ctx context.Context, d time.Duration) error {
	w.planeMu.Lock()
	defer w.planeMu.Unlock()
	from := time.Now()
	err := w.plane.SignalAPIServer(syscall.SIGSTOP)
	sleep(ctx, d)
	err = errors.Join(err, w.plane.SignalAPIServer(syscall.SIGCONT))
	w.outage(from)
	w.ledger.notef("", "the API server goes on")
	return err
}

func (w *world) outage(from time.Time) {
	w.ledger.locked(func() { w.ledger.outages = append(w.ledger.outages, span{from: from, to: time.Now()}) })
}

// listener passes on what is written, and hears each line of it.
type listener struct {
	out  io.Writer
	line func([]byte)

	mu  sync.Mutex
	tip []byte // of a line that has not ended
}

func (l *listener) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tip = append(l.tip, b...)
	for {
		i := bytes.IndexByte(l.tip, '\n')
		if i < 0 {
			return l.out.Write(b)
		}
		l.line(l.tip[:i])
		l.tip = l.tip[i+1:]
	}
}
