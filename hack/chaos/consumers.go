package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"wechattoken.io/operator/internal/record"
)

// consumers stand for the pods: one for each target reads its Secret once a
// second and calls WeChat with the token. While the API server or the Secret is
// away it goes on with the token it had, as a pod with a mounted file does.
type consumers struct {
	*run

	client http.Client
	held   map[int]holding // by target
}

// holding is what a consumer found last.
type holding struct {
	token string
	read  time.Time
}

func newConsumers(r *run) *consumers {
	return &consumers{run: r, held: map[int]holding{}, client: http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 32},
	}}
}

// work lets all consumers work until ctx ends.
func (c *consumers) work(ctx context.Context) {
	const second = time.Second
	for next := time.Now(); ctx.Err() == nil; next = next.Add(second) {
		sleep(ctx, time.Until(next))
		if late := time.Since(next); late > second {
			c.slowed(next)
			next = time.Now()
		}
		c.read(ctx)
		_ = c.forEach(ctx, c.targets, func(ctx context.Context, t target) error { c.use(ctx, t); return nil })
	}
}

// slowed notes that this machine was too busy for the consumers since from.
func (c *consumers) slowed(from time.Time) {
	c.ledger.locked(func() {
		c.ledger.slow = append(c.ledger.slow, span{from, time.Now(), "the machine was too busy"})
	})
}

// read reads all Secrets.
func (c *consumers) read(ctx context.Context) {
	begun := time.Now()
	try, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	all, err := c.clients.CoreV1().Secrets("").List(try, metav1.ListOptions{})
	if err != nil {
		if ctx.Err() == nil && time.Since(begun) >= time.Second {
			c.slowed(begun)
		}
		return
	}
	read := time.Now()
	tokens := map[string]string{}
	for i := range all.Items {
		s := &all.Items[i]
		tokens[s.Namespace+"/"+s.Name] = string(s.Data["access_token"])
	}
	for _, t := range c.targets {
		if token := tokens[t.key()]; token != "" {
			c.held[t.index] = holding{token, read}
		}
	}
}

// use calls WeChat with the token of t.
func (c *consumers) use(ctx context.Context, t target) {
	held := c.held[t.index]
	if held.token == "" {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/cgi-bin/get_api_domain_ip?access_token="+held.token, nil)
	if err != nil {
		return
	}
	var answer struct {
		Errcode int `json:"errcode"`
	}
	at := time.Now()
	resp, err := c.client.Do(req)
	if err == nil {
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
	}
	if ctx.Err() != nil {
		return
	}
	c.ledger.locked(func() {
		c.ledger.uses++
		switch {
		case err == nil && (answer.Errcode == 40001 || answer.Errcode == 40014 || answer.Errcode == 42001):
			c.ledger.dead = append(c.ledger.dead, deadCall{target: t, token: fingerprint(held.token), read: held.read, at: at, errcode: answer.Errcode})
		case err != nil || answer.Errcode != 0:
			c.ledger.failed++
		}
	})
}

// observe notes what the Secrets of all targets hold, whenever it changes, until
// ctx ends.
func (r *run) observe(ctx context.Context) {
	byKey := map[string]target{}
	for _, t := range r.targets {
		byKey[t.key()] = t
	}
	for ctx.Err() == nil {
		if err := r.observeOnce(ctx, byKey); err != nil {
			sleep(ctx, 200*time.Millisecond)
		}
	}
}

// observeOnce lists the Secrets and follows their changes until that breaks.
func (r *run) observeOnce(ctx context.Context, byKey map[string]target) error {
	try, cancel := context.WithTimeout(ctx, 5*time.Second)
	list, err := r.clients.CoreV1().Secrets("").List(try, metav1.ListOptions{})
	cancel()
	if err != nil {
		return err
	}
	present := map[string]bool{}
	for i := range list.Items {
		s := &list.Items[i]
		present[s.Namespace+"/"+s.Name] = true
		r.look(byKey, s, false)
	}
	for key, t := range byKey {
		if !present[key] {
			r.ledger.saw(t.index, sighting{at: time.Now()})
		}
	}
	changes, err := r.clients.CoreV1().Secrets("").Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		return err
	}
	defer changes.Stop()
	for e := range changes.ResultChan() {
		s, ok := e.Object.(*corev1.Secret)
		if !ok {
			return fmt.Errorf("the watch broke")
		}
		r.look(byKey, s, e.Type == watch.Deleted)
	}
	return fmt.Errorf("the watch ended")
}

// look notes what one Secret holds.
func (r *run) look(byKey map[string]target, s *corev1.Secret, gone bool) {
	t, ok := byKey[s.Namespace+"/"+s.Name]
	if !ok {
		return
	}
	seen := sighting{at: time.Now()}
	if token := string(s.Data["access_token"]); !gone && token != "" {
		seen.token = fingerprint(token)
		if rec := record.Read(s, nil); rec != nil { // nil if somebody has edited it
			seen.handled, seen.obtained = rec.HandledRefresh, rec.Token.ObtainedAt
			seen.whole = metav1.GetControllerOf(s) != nil && rec.Token.Fingerprint() == seen.token
		}
	}
	r.ledger.saw(t.index, seen)
}
