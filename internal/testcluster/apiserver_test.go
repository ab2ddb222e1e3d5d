//go:build integration

package testcluster_test

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"wechattoken.io/operator/internal/testcluster"
)

// An API server that was killed comes back where it was, with what it held and
// trusted by the same clients; one that is paused says nothing until it goes on.
func TestAPIServerIsKilledAndPaused(t *testing.T) {
	t.Parallel()
	plane, err := testcluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	}()
	secrets := kubernetes.NewForConfigOrDie(plane.Config).CoreV1().Secrets("default")
	if _, err := secrets.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	read := func(patience time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		_, err := secrets.Get(ctx, "kept", metav1.GetOptions{})
		return err
	}

	if err := plane.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	if read(time.Minute) == nil {
		t.Error("a killed API server answers")
	}
	if err := plane.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	if err := read(time.Minute); err != nil {
		t.Errorf("after the restart: %v", err)
	}

	if err := plane.SignalAPIServer(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testcluster.Eventually(t, "a paused API server stops answering", func() error {
		if read(time.Second) == nil {
			return errors.New("it answers")
		}
		return nil
	})
	if err := plane.SignalAPIServer(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := read(time.Minute); err != nil {
		t.Errorf("after the pause: %v", err)
	}
	if err := plane.SignalAPIServer(syscall.SIGSTOP); err != nil { // Stop copes with it
		t.Fatal(err)
	}
}
