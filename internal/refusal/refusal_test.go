package refusal_test

import (
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"wechattoken.io/operator/internal/refusal"
)

func TestOnlyALastWordIsARefusal(t *testing.T) {
	t.Parallel()
	secrets := corev1.Resource("secrets")
	for name, tc := range map[string]struct {
		reason string
		err    error
		want   bool
	}{
		"Forbidden": {"A policy or a quota says no, and would again.", apierrors.NewForbidden(secrets, "shop", errors.New("quota")), true},
		"Invalid":   {"The spec asks for what cannot be written.", apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Secret").GroupKind(), "shop", nil), true},
		"TooLarge":  {"It does not become smaller.", apierrors.NewRequestEntityTooLargeError("large"), true},
		"Webhook":   {"A webhook that does not answer is an internal error: its owner must act.", apierrors.NewInternalError(errors.New("no answer")), true},
		"Conflict":  {"Somebody was faster: try again.", apierrors.NewConflict(secrets, "shop", errors.New("changed")), false},
		"Busy":      {"The API server has too much to do: try again.", apierrors.NewTooManyRequests("busy", 1), false},
		"Network":   {"Nobody has answered: try again.", errors.New("connection refused"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := refusal.Is(tc.err); got != tc.want {
				t.Errorf("%s\nIs = %t, want %t", tc.reason, got, tc.want)
			}
		})
	}
}

// What is cut off must not leave half a secret, nor half a character.
func TestTextIsRedactedBeforeItIsCut(t *testing.T) {
	t.Parallel()
	const secret = "0123456789abcdef0123456789abcdef"
	got := refusal.Text(errors.New(strings.Repeat("é", 446)+"-"+secret+strings.Repeat("é", 440)), secret)
	if strings.Contains(got, secret[:7]) || len(got) > 1024 || !strings.HasSuffix(got, "…") || strings.ToValidUTF8(got, "") != got {
		t.Errorf("%d bytes: …%s", len(got), got[max(len(got)-60, 0):])
	}
}
