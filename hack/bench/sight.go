package main

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"
)

// change is a Secret that holds another token.
type change struct {
	key   string // of the app
	token string
	at    time.Time
}

// mostNews bounds what has been seen and not been asked for.
const mostNews = 1 << 17

// watch begins to see the Secrets that the operator writes.
func (w *world) watch() {
	w.news = make(chan change, mostNews)
	token := func(obj any) string {
		if s, ok := obj.(*corev1.Secret); ok {
			return string(s.Data["access_token"])
		}
		return ""
	}
	saw := func(before, now any) {
		if s, ok := now.(*corev1.Secret); ok && token(now) != token(before) {
			w.news <- change{s.Namespace + "/" + s.Name, token(now), time.Now()}
		}
	}
	lister := cache.NewFilteredListWatchFromClient(w.clients.CoreV1().RESTClient(), "secrets", "", func(o *metav1.ListOptions) {
		o.LabelSelector = "app.kubernetes.io/managed-by=wechat-token-operator"
	})
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: lister, ObjectType: &corev1.Secret{},
		Handler: cache.ResourceEventHandlerFuncs{AddFunc: func(now any) { saw(nil, now) }, UpdateFunc: saw},
	})
	go informer.RunWithContext(w.Context())
	if !cache.WaitForCacheSync(w.Context().Done(), informer.HasSynced) {
		w.Fatal(w.Context().Err())
	}
}

// patience is how long no Secret may get a token.
const patience = 2 * time.Minute

// collect makes writes, and waits for a change of n different Secrets by them. It
// returns the last change of each, and how long it took until the last of all. What
// was seen before does not count.
func (w *world) collect(n int, p *progress, write func() error) (seen map[string]change, took time.Duration) {
	for len(w.news) > 0 {
		<-w.news
	}
	var ended <-chan struct{}
	if w.manager != nil {
		ended = w.manager.Ended()
	}
	begun, last := time.Now(), time.Time{}
	wrote := make(chan error, 1)
	go func() { wrote <- write() }()
	seen = map[string]change{}
	for written := false; !written || len(seen) < n; {
		select {
		case c := <-w.news:
			seen[c.key], last = c, c.at
			p.Store(int64(len(seen)))
		case err := <-wrote:
			w.must(err)
			written = true
		case <-ended:
			w.Fatal("the manager has ended by itself")
		case <-w.Context().Done():
			w.Fatal(w.Context().Err())
		case <-time.After(patience):
			w.Fatalf("%d of %d Secrets have got a token, and no other for %s", len(seen), n, patience)
		}
	}
	return seen, last.Sub(begun)
}

// accepted says whether WeChat accepts the tokens that were seen.
func (w *world) accepted(seen map[string]change) {
	for key, c := range seen {
		if !w.weChat.Valid(c.token) {
			w.Fatalf("the Secret %s holds a token that WeChat does not accept", key)
		}
	}
}

// fill creates the WeChatTokens and returns how long it took until each Secret
// held a token.
func (w *world) fill(what string) time.Duration {
	p := begin(what, len(w.apps))
	defer p.end()
	seen, took := w.collect(len(w.apps), p, func() error { return w.each("", w.apps, w.create) })
	w.accepted(seen)
	return took
}
