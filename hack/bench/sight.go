package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// managedBy selects the Secrets that the operator writes.
const managedBy = "app.kubernetes.io/managed-by=wechat-token-operator"

// sight is what a watch of the Secrets with tokens sees.
type sight struct {
	world *world
	news  chan change
	stop  context.CancelFunc

	closed atomic.Int64 // how often the API server has closed the watch
}

// change is a Secret that holds another token.
type change struct {
	key   string // of the app
	token string
	at    time.Time
}

// mostNews bounds what has been seen and not been asked for.
const mostNews = 1 << 17

// watch begins to watch. There is no such Secret yet.
func (w *world) watch(ctx context.Context) (*sight, error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	list, err := w.clients.CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: managedBy})
	if err != nil {
		cancel()
		return nil, err
	}
	s := &sight{world: w, news: make(chan change, mostNews), stop: cancel}
	watching, err := s.watchFrom(ctx, list.ResourceVersion)
	if err != nil {
		cancel()
		return nil, err
	}
	go s.see(ctx, watching)
	return s, nil
}

func (s *sight) watchFrom(ctx context.Context, version string) (watch.Interface, error) {
	return s.world.clients.CoreV1().Secrets("").Watch(ctx, metav1.ListOptions{
		LabelSelector: managedBy, ResourceVersion: version,
		TimeoutSeconds: new(int64(24 * 60 * 60)), // otherwise it ends after half an hour or more
	})
}

// see tells of each new token until ctx ends. A busy API server closes a watch now
// and then, and one that was paused has lost its history: a list shows what was
// missed, and the watch goes on from there.
func (s *sight) see(ctx context.Context, watching watch.Interface) {
	defer close(s.news)
	defer func() { watching.Stop() }()
	held := map[string]string{}
	saw := func(secret *corev1.Secret) {
		key, token := secret.Namespace+"/"+secret.Name, string(secret.Data["access_token"])
		if token != "" && held[key] != token {
			held[key] = token
			s.news <- change{key: key, token: token, at: time.Now()}
		}
	}
	for {
		for e := range watching.ResultChan() {
			secret, ok := e.Object.(*corev1.Secret)
			if !ok {
				break // an error, such as a history that is gone
			}
			if e.Type == watch.Deleted {
				delete(held, secret.Namespace+"/"+secret.Name)
			} else {
				saw(secret)
			}
		}
		watching.Stop()
		if ctx.Err() != nil {
			return
		}
		list, err := s.world.clients.CoreV1().Secrets("").List(ctx, metav1.ListOptions{LabelSelector: managedBy})
		if err != nil {
			return
		}
		for i := range list.Items {
			saw(&list.Items[i])
		}
		next, err := s.watchFrom(ctx, list.ResourceVersion)
		if err != nil {
			return
		}
		watching = next
		s.closed.Add(1)
	}
}

// errBlind says that nothing more is seen.
var errBlind = errors.New("the watch of the Secrets has ended; try again with a smaller -n")

// next waits for the next change.
func (s *sight) next(ctx context.Context) (change, error) {
	given := time.After(patience)
	for {
		select {
		case c, ok := <-s.news:
			if !ok {
				return c, errBlind
			}
			return c, nil
		case <-ctx.Done():
			return change{}, ctx.Err()
		case <-given:
			return change{}, fmt.Errorf("no Secret has got a token for %s; the logs of the managers are in %s", patience, s.world.bench.dir)
		case <-time.After(time.Second):
			if err := s.world.check(); err != nil {
				return change{}, err
			}
		}
	}
}

// forget lets go what was seen and not asked for.
func (s *sight) forget() {
	for len(s.news) > 0 {
		<-s.news
	}
}

// collect waits for a change of n different Secrets, and returns the last of each.
// It counts them in p.
func (s *sight) collect(ctx context.Context, n int, p *progress) (map[string]change, error) {
	seen := map[string]change{}
	for len(seen) < n {
		c, err := s.next(ctx)
		if err != nil {
			return seen, fmt.Errorf("after %d of %d: %w", len(seen), n, err)
		}
		seen[c.key] = c
		p.Store(int64(len(seen)))
	}
	return seen, nil
}

// last is when the last of them was seen.
func last(seen map[string]change) time.Time {
	var at time.Time
	for _, c := range seen {
		if c.at.After(at) {
			at = c.at
		}
	}
	return at
}
