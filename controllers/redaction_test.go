package controllers

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// What refuses a write may quote what was to be written. The forms in which it may do
// so, package redact knows.
func TestRefusalsAreRedacted(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.refuse = func() error {
			return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("not "+w.lastIssued()))
		}
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		w.wantReady(metav1.ConditionFalse, v1alpha1.ReasonSecretRefused)
		if got := w.ready().Message; !strings.Contains(got, "not [redacted]") {
			t.Errorf("message %q", got)
		}
		w.wantNoSecrets()
	})
}

// Refusals that quote a ticket.
func TestRefusalDoesNotTellTheTicket(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken(bothTickets))
		w.run(time.Second)
		present := w.ticket("shop", "wx_card_ticket")
		var next string
		w.refuse = func() error {
			next = w.lastIssued()
			return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("not "+present+", nor "+next+" or "+base64.StdEncoding.EncodeToString([]byte(next))))
		}
		w.run(4 * time.Hour)
		if got := w.ready().Message; next == "" || !strings.Contains(got, "not [redacted]") || strings.Contains(got, present) {
			t.Errorf("message %q", got)
		}
		w.wantNoSecrets()
	})
}

// Errors that the queue logs.
func TestLoggedErrorsAreRedacted(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		w.create(appSecret(testAppSecret), weChatToken())
		w.refuse = func() error {
			return &apierrors.StatusError{ErrStatus: metav1.Status{Status: "Failure", Code: 401, Reason: metav1.StatusReasonUnauthorized,
				Message: "denied request: policy no-secrets, not even " + testAppSecret}}
		}
		for range 5 {
			_, err := w.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "web", Name: "shop"}})
			if err != nil && strings.Contains(err.Error(), testAppSecret) {
				t.Fatalf("the AppSecret stands in what is logged: %v", err)
			}
			time.Sleep(time.Second)
		}
	})
}
