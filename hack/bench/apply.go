package main

import (
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

// apply: all WeChatTokens are created at once.
func (w *world) apply(r *result) {
	t := w.begin()
	begun := time.Now()
	r.took = w.fill("apply")
	r.add(secretsThere, r.took.Seconds(), "s")
	// The operator writes statuses behind the Secrets, the ceiling beside them.
	testcluster.Eventually(w.TB, "all statuses are written", func() error {
		if w.requestsOfManager().less(t.requests)["PATCH wechattokens/status"] >= r.n {
			return nil
		}
		w.sleep(time.Second / 2) // to look costs the API server something
		return errors.New("some are missing")
	})
	r.add("until all statuses are written, too", time.Since(begun).Seconds(), "s")
	r.used(t.end("apply"), r.n)

	at := types.NamespacedName{Namespace: w.apps[0].namespace, Name: w.apps[0].name}
	var secret corev1.Secret
	w.must(w.cluster.Get(w.Context(), at, &secret))
	stored, err := w.clients.RESTClient().Get().AbsPath("/apis", v1alpha1.GroupVersion.String(), "namespaces", at.Namespace, "wechattokens", at.Name).DoRaw(w.Context())
	w.must(err)
	r.add("size of a WeChatToken", float64(len(stored)), "bytes")
	r.add("size of a Secret", float64(secret.Size()), "bytes")
}
