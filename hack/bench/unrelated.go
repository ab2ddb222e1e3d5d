package main

import (
	"context"
	"crypto/rand"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Numbers of the scenario unrelated, for its verdict.
const (
	moreResident = "resident memory more with the unrelated Secrets"
	morePeak     = "peak memory more with the unrelated Secrets"
)

// unrelated: what a manager that has just started holds, without and with many
// Secrets that are none of its business.
func (b *bench) unrelated(ctx context.Context, r *result) error {
	r.N = 1000
	w, err := b.liveWorld(ctx, r.N)
	if err != nil {
		return err
	}
	var resident, peak [2]float64
	for i := range 2 {
		w.present().retire()
		if i == 1 {
			if err := w.createUnrelated(ctx, b.progress("unrelated, creating", b.options.unrelated)); err != nil {
				return fmt.Errorf("create unrelated Secrets: %w; -unrelated sets how many", err)
			}
		}
		var m *manager
		if m, r.Manager, err = w.settled(ctx); err != nil {
			return err
		}
		resident[i], peak[i] = r.Manager.ResidentMB, r.Manager.PeakMB
		if err := b.endProfile(m, fmt.Sprintf("unrelated-%d", i*b.options.unrelated), r.N); err != nil {
			return err
		}
	}
	r.add("unrelated Secrets of 10 KB", float64(b.options.unrelated), "")
	r.add("resident memory without them", resident[0], "MB")
	r.add("peak memory without them", peak[0], "MB")
	r.add(moreResident, resident[1]-resident[0], "MB")
	r.add(morePeak, peak[1]-peak[0], "MB")
	return b.endLive() // nobody else wants so many Secrets
}

// createUnrelated creates Secrets as people and their tools have them.
func (w *world) createUnrelated(ctx context.Context, p *progress) error {
	defer p.end()
	const spread = 50
	for i := range spread {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("unrelated-%02d", i)}}
		if err := w.cluster.Create(ctx, ns); err != nil {
			return err
		}
	}
	return each(ctx, w.bench.options.unrelated, func(i int) error {
		data := make([]byte, 10_000)
		rand.Read(data)
		namespace, name := fmt.Sprintf("unrelated-%02d", i%spread), fmt.Sprintf("release-%05d-config", i)
		_, err := w.clients.CoreV1().Secrets(namespace).Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: name,
				Labels: map[string]string{
					"app.kubernetes.io/name": "release", "app.kubernetes.io/instance": name,
					"app.kubernetes.io/version": "1.2.3", "app.kubernetes.io/managed-by": "Helm", "helm.sh/chart": "release-1.2.3",
				},
				Annotations: map[string]string{"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace},
			},
			Data: map[string][]byte{"config": data},
		}, metav1.CreateOptions{FieldManager: "helm"})
		p.Add(1)
		return err
	})
}
