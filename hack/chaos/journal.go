package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// journal is what a run has done and seen. Once the run is over, the fake's own
// journal joins it, and judge reads both.
type journal struct {
	life    time.Duration // of a token
	targets []target
	begun   time.Time
	ended   time.Time

	mu        sync.Mutex
	notes     []note
	versions  [][]version // by target, of its Secret
	takeovers []takeover
	requests  []request
	reports   []request
	obstacles []obstacle
	found     []note // promises that were not kept

	calls  []wechattest.Call
	tokens []wechattest.Token
}

// note is what happened, or was found, at a time.
type note struct {
	at    time.Time
	appID string // empty: of all
	text  string
}

// version is what a Secret holds from a time on: no token if it is away.
type version struct {
	at    time.Time
	value string
}

func (v version) token() string { return record.Fingerprint(v.value) }

// takeover is a process of a manager that gets the lease of its cluster.
type takeover struct {
	at      time.Time
	cluster int
	process int
}

// request is a new value of a refresh annotation, or a report.
type request struct {
	at      time.Time // of the first try to write it
	account account
}

// obstacle is a time in which the run keeps the operator from its work, and in which
// that may be behind.
type obstacle struct {
	from, to time.Time
	cluster  int // of which all is meant, if the appid is empty
	appID    string
	spacing  bool // a call of the operator's own, which the next must keep away from
}

func newJournal(life time.Duration, targets []target) *journal {
	return &journal{life: life, targets: targets, begun: time.Now(), versions: make([][]version, len(targets))}
}

// write lets f write while nobody else does.
func (j *journal) write(f func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f()
}

func (j *journal) notef(appID, format string, args ...any) {
	j.write(func() { j.notes = append(j.notes, note{time.Now(), appID, fmt.Sprintf(format, args...)}) })
}

// findf notes what is found while the run goes on.
func (j *journal) findf(format string, args ...any) {
	j.write(func() { j.found = append(j.found, note{time.Now(), "", fmt.Sprintf(format, args...)}) })
}

// obstruct notes that until now, since from, the run has kept the operators from their
// work for an appid, and that it may take as long as tail to catch up.
func (j *journal) obstruct(appID string, from time.Time, tail time.Duration) {
	j.write(func() { j.obstacles = append(j.obstacles, obstacle{from, time.Now().Add(tail), 0, appID, false}) })
}

// disturbed notes the same for a whole cluster.
func (j *journal) disturbed(cluster int, from time.Time, tail time.Duration) {
	j.write(func() { j.obstacles = append(j.obstacles, obstacle{from, time.Now().Add(tail), cluster, "", false}) })
}

// held is what the Secret of a target held last.
func (j *journal) held(target int) version {
	j.mu.Lock()
	defer j.mu.Unlock()
	if all := j.versions[target]; len(all) > 0 {
		return all[len(all)-1]
	}
	return version{}
}

// follow notes every version of the Secrets of a cluster until ctx ends.
func (j *journal) follow(ctx context.Context, cluster int, c client.WithWatch) {
	for ; ctx.Err() == nil; sleep(ctx, 200*time.Millisecond) {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		var list corev1.SecretList
		err := c.List(try, &list)
		cancel()
		if err != nil {
			continue
		}
		there := map[string]string{}
		for _, s := range list.Items {
			there[s.Namespace+"/"+s.Name] = string(s.Data["access_token"])
		}
		for _, t := range j.targets {
			if t.cluster == cluster {
				j.saw(t.key(), there[t.key()])
			}
		}
		changes, err := c.Watch(ctx, &list, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
		if err != nil {
			continue
		}
		for e := range changes.ResultChan() {
			if s, ok := e.Object.(*corev1.Secret); ok && e.Type == watch.Deleted {
				j.saw(s.Namespace+"/"+s.Name, "")
			} else if ok {
				j.saw(s.Namespace+"/"+s.Name, string(s.Data["access_token"]))
			}
		}
	}
}

// saw notes what a Secret holds now.
func (j *journal) saw(key, value string) {
	i := slices.IndexFunc(j.targets, func(t target) bool { return t.key() == key })
	if i >= 0 && j.held(i).value != value {
		j.write(func() { j.versions[i] = append(j.versions[i], version{time.Now(), value}) })
	}
}
