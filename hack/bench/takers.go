package main

import (
	"maps"
	"slices"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

const (
	// rotations are as many as there are measured, each of a token that is valid for so
	// long and has a successor in its window.
	rotations     = 20
	takersLife    = 8 * time.Second
	takersWindow  = 3 * time.Second
	besideSibling = 1.2 // times as long as to a Secret beside the AppSecret
)

// takers: half of the WeChatTokens of an account have the AppSecret, the others take the
// token of the first one by sourceRef. Each time counts from the first Secret that has the
// new token.
func (b *bench) takers(r *result) error {
	apps := fleet(r.n)
	for i := range apps {
		apps[i].appID = apps[0].appID
	}
	return b.inWorld(apps, wechattest.Config{Life: takersLife, Window: takersWindow, Overlap: takersWindow}, func(w *world) {
		w.start("--stable-window=" + takersWindow.String())
		takes := map[string]bool{}
		for _, a := range apps[len(apps)/2:] {
			takes[a.key()] = true
		}
		w.collect(len(apps), &progress{}, func() error {
			return w.each("", apps, func(a app) error { return w.cluster.Create(w.Context(), a.member(apps[0], takes[a.key()])) })
		})
		p := begin("takers", rotations)
		defer p.end()
		var own, taken []time.Duration
		for range rotations {
			seen, _ := w.collect(len(apps), &progress{}, func() error { return nil })
			w.accepted(seen)
			first := slices.MinFunc(slices.Collect(maps.Values(seen)), func(a, b change) int { return a.at.Compare(b.at) }).at
			for key, c := range seen {
				if takes[key] {
					taken = append(taken, c.at.Sub(first))
				} else {
					own = append(own, c.at.Sub(first))
				}
			}
			p.Add(1)
		}
		for _, half := range []struct {
			what   string
			delays []time.Duration
		}{{"from the first Secret to one beside the AppSecret", own}, {"… to one that takes the token", taken}} {
			r.add(half.what+", p50", percentile(half.delays, 0.5), "ms")
			r.add(half.what+", p99", percentile(half.delays, 0.99), "ms")
		}
		r.judge("… the second beside the first, p99", percentile(taken, 0.99)/percentile(own, 0.99), besideSibling, "x")
	})
}

// member is the WeChatToken of an app in the account of a source, whose token it takes or not.
func (a app) member(source app, takes bool) *v1alpha1.WeChatToken {
	wt := a.object()
	switch {
	case takes:
		wt.Spec = v1alpha1.WeChatTokenSpec{SourceRef: v1alpha1.SourceReference{Namespace: source.namespace, Name: source.name}}
	case a == source:
		wt.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespace{v1alpha1.AllNamespaces}
	}
	return wt
}
