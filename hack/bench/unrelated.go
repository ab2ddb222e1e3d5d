package main

import (
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

// unrelated: what a manager that has just started holds, without and with many
// Secrets that are none of its business.
func (b *bench) unrelated(r *result) error {
	return b.inWorld(fleet(r.n), wechattest.Config{}, func(w *world) {
		w.start()
		w.fill("unrelated, filling")
		without := w.started("unrelated-without")
		w.createUnrelated()
		with := w.started("unrelated-with")
		r.add("unrelated Secrets of 10 KB", float64(b.options.unrelated), "")
		r.judge("resident memory more with them", with.residentMB-without.residentMB, 10, "MB")
		r.add("… at its peak", with.peakMB-without.peakMB, "MB")
		r.used(with, 0)
	})
}

// started puts a new manager to work, and tells what it has used once it is quiet.
func (w *world) started(profile string) used {
	w.manager.Kill()
	t := w.begin()
	w.manager = w.launch()
	w.manager.AwaitReady()
	w.beginProfile()
	return t.end(profile)
}

// createUnrelated creates Secrets as people and their tools have them.
func (w *world) createUnrelated() {
	const spread = 50
	apps := make([]app, w.options.unrelated)
	for i := range apps {
		apps[i] = app{namespace: fmt.Sprintf("unrelated-%02d", i%spread), name: fmt.Sprintf("release-%05d-config", i)}
	}
	for i := range spread {
		w.must(w.cluster.Create(w.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("unrelated-%02d", i)}}))
	}
	w.must(w.each("unrelated, creating", apps, func(a app) error {
		data := make([]byte, 10_000)
		rand.Read(data)
		return w.cluster.Create(w.Context(), &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: a.namespace, Name: a.name,
				Labels: map[string]string{
					"app.kubernetes.io/name": "release", "app.kubernetes.io/instance": a.name,
					"app.kubernetes.io/version": "1.2.3", "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "release-1.2.3",
				},
				Annotations: map[string]string{"meta.helm.sh/release-name": a.name, "meta.helm.sh/release-namespace": a.namespace},
			},
			Data: map[string][]byte{"config": data},
		}, client.FieldOwner("helm"))
	}))
}
