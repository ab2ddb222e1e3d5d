package controllers

import (
	"encoding/base64"
	"errors"
	"fmt"
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

// Refusals that quote.
func TestRefusalsAreRedacted(t *testing.T) {
	cases := map[string]func(token string) string{
		"Base64": func(token string) string { return base64.StdEncoding.EncodeToString([]byte(token)) },
		"Hex":    func(token string) string { return fmt.Sprintf("% X", token) },
		"Cut": func(token string) string {
			return strings.Repeat("x", 900-60-len(`secrets "shop" is forbidden: `)) + token
		},
	}
	for name, quote := range cases {
		t.Run(name, func(t *testing.T) {
			inWorld(t, wechattest.Config{}, func(w *world) {
				w.create(appSecret(testAppSecret), weChatToken())
				w.run(time.Second)
				var said []string
				w.refuse = func() error {
					said = append(said, w.lastIssued())
					return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New(quote(w.lastIssued())))
				}
				w.change(requesting("1"))
				w.run(time.Minute)
				w.wantReady(metav1.ConditionTrue, v1alpha1.ReasonSecretRefused)
				for _, token := range said {
					for _, form := range []string{token[:24], base64.StdEncoding.EncodeToString([]byte(token))[:24], fmt.Sprintf("% X", token[:8])} {
						for _, text := range append(w.events, w.ready().Message) {
							if strings.Contains(text, form) {
								t.Fatalf("the token is told: …%s", text[len(text)-100:])
							}
						}
					}
				}
			})
		})
	}
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

// A refusal that quotes the token.
func TestRefusalDoesNotTellTheToken(t *testing.T) {
	inWorld(t, wechattest.Config{}, func(w *world) {
		var token string
		w.refuse = func() error {
			token = w.lastIssued()
			return apierrors.NewForbidden(corev1.Resource("secrets"), "shop", errors.New("not "+token))
		}
		w.create(appSecret(testAppSecret), weChatToken())
		w.run(time.Minute)
		if got := w.ready().Message; token == "" || strings.Contains(got, token) || !strings.Contains(got, "not [redacted]") {
			t.Errorf("message %q", got)
		}
	})
}
