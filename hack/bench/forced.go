package main

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/watch"

	"wechattoken.io/operator/api/v1alpha1"
)

// How many tokens are forced, each once.
const (
	oneByOne = 200
	atOnce   = 500
)

// forced: forced refreshes, one by one and many at once.
func (w *world) forced(r *result) {
	single := w.unforced(min(oneByOne, (len(w.apps)-w.free)/2))
	many := w.unforced(min(atOnce, len(w.apps)-w.free))
	w.quiet()
	t := w.begin()
	ours := w.oneByOne("forced, one by one", single, w.force)
	p := begin("forced, all at once", len(many))
	_, took := w.collect(len(many), p, func() error { return w.each("", many, w.force) })
	p.end()
	u := t.end("forced")
	r.judge(forcedMs+", p50", percentile(ours, 0.5), 10, "ms")
	r.judge(forcedMs+", p99", percentile(ours, 0.99), 30, "ms")
	ceiling := w.ceilingOfForced(single)
	r.add(forcedCeiling+", p50", percentile(ceiling, 0.5), "ms")
	r.add(forcedCeiling+", p99", percentile(ceiling, 0.99), "ms")
	r.judge(fmt.Sprintf("up to %d forced at once", atOnce), took.Seconds(), 2, "s")
	r.used(u, len(single)+len(many))
}

// oneByOne does something to one app after the other, and measures until its
// Secret holds another token.
func (w *world) oneByOne(what string, apps []app, do func(app) error) (delays []time.Duration) {
	p := begin(what, len(apps))
	defer p.end()
	for _, a := range apps {
		_, took := w.collect(1, &progress{}, func() error { return do(a) })
		delays = append(delays, took)
		p.Add(1)
	}
	return delays
}

// ceilingOfForced measures a client that applies a Secret when a watch tells it of
// an annotation. It spoils the Secrets for a manager.
func (w *world) ceilingOfForced(apps []app) []time.Duration {
	w.manager.Terminate() // it would do what the ceiling is to do
	w.manager = nil
	const asked = "bench.wechattoken.io/asked"
	watching, err := w.cluster.Watch(w.Context(), &v1alpha1.WeChatTokenList{})
	w.must(err)
	defer watching.Stop()
	go func() {
		for e := range watching.ResultChan() {
			if wt, ok := e.Object.(*v1alpha1.WeChatToken); ok && e.Type == watch.Modified && wt.Annotations[asked] != "" {
				if err := w.applySecret(wt, made()); err != nil {
					w.Error(errors.Join(errors.New("the ceiling"), err))
				}
			}
		}
	}()
	return w.oneByOne("forced, ceiling one by one", apps, func(a app) error { return w.annotate(a, asked) })
}
