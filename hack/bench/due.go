package main

import (
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// due: all tokens fall due within the jitter that the operator adds, which is 10 s
// of WeChat's window of 300 s. They end together because the bench asks WeChat for
// each of them before the operator does, who then is given the same.
func (b *bench) due(r *result) error {
	// This is waited for. Until then all Secrets and statuses must be there.
	ahead := 20*time.Second + time.Duration(r.n)*10*time.Millisecond
	return b.inWorld(fleet(r.n), wechattest.Config{Life: wechattest.Defaults().Window + ahead}, func(w *world) {
		w.start()
		weChat := wechat.NewClient(w.url, 10*time.Second)
		w.must(w.each("due, asking WeChat", w.apps, func(a app) error {
			_, err := weChat.StableToken(w.Context(), wechat.Credentials{AppID: a.appID, AppSecret: a.appSecret()}, false)
			return err
		}))
		w.fill("due, filling")
		objects, first, last := w.refreshTimes()
		// A token that was replaced already shows the time of its successor.
		if time.Until(first) < time.Second || len(w.news) > 0 {
			w.Fatal("the first token fell due before all Secrets and statuses were there: the machine is slow")
		}
		t := w.begin()
		p := begin("due, waiting", 0)
		w.sleep(time.Until(first))
		p.end()
		p = begin("due", r.n)
		seen, _ := w.collect(r.n, p, func() error { return nil })
		p.end()
		u := t.end("due")
		w.accepted(seen)
		var late []time.Duration
		begun, end := time.Now(), time.Time{}
		for key, c := range seen {
			late = append(late, c.at.Sub(objects[key].Status.NextRefreshTime.Time))
			if c.at.Before(begun) {
				begun = c.at
			}
			if c.at.After(end) {
				end = c.at
			}
		}
		r.add("the last one behind status.nextRefreshTime, which has whole seconds", percentile(late, 1)/1000, "s")
		r.add("… p50", percentile(late, 0.5)/1000, "s")
		r.add("from the first nextRefreshTime to the last", last.Sub(first).Seconds(), "s")
		r.add("from the first new token to the last", end.Sub(begun).Seconds(), "s")
		r.add(ceilingTook, w.ceilingOfDue().Seconds(), "s") // without a ratio: most of our time is the jitter
		r.used(u, r.n)
	})
}

// refreshTimes waits until each WeChatToken says when it falls due, and returns
// them by key, and the first and the last of these times.
func (w *world) refreshTimes() (objects map[string]*v1alpha1.WeChatToken, first, last time.Time) {
	testcluster.Eventually(w.TB, "each status says when the token falls due", func() error {
		var all v1alpha1.WeChatTokenList
		if err := w.cluster.List(w.Context(), &all); err != nil {
			return err
		}
		objects, first, last = map[string]*v1alpha1.WeChatToken{}, time.Time{}, time.Time{}
		for i := range all.Items {
			wt := &all.Items[i]
			if wt.Status.NextRefreshTime == nil {
				return errors.New("one does not")
			}
			at := wt.Status.NextRefreshTime.Time
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if at.After(last) {
				last = at
			}
			objects[client.ObjectKeyFromObject(wt).String()] = wt
		}
		return nil
	})
	return objects, first, last
}

// ceilingOfDue makes the two writes of a refresh for each app, when no manager runs.
func (w *world) ceilingOfDue() time.Duration {
	w.manager.Terminate()
	w.manager = nil
	objects, _, _ := w.refreshTimes()
	p := begin("due, ceiling", len(w.apps))
	defer p.end()
	_, took := w.collect(len(w.apps), p, func() error {
		return w.each("", w.apps, func(a app) error { return w.refresh(objects[a.key()]) })
	})
	return took
}
