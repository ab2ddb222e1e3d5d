package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"wechattoken.io/operator/api/v1alpha1"
)

// Only a clear yes ends a token.
func TestRevokeGoesOnOnlyAfterAYes(t *testing.T) {
	const endOfInput = "\x04" // Ctrl-D
	for typed, want := range map[string]bool{
		"y\n": true, "Y\n": true, "yes\n": true, " YES \n": true,
		"n\n": false, "\n": false, "yep\n": false, "no y\n": false, endOfInput: false,
	} {
		t.Run(fmt.Sprintf("%q", typed), func(t *testing.T) {
			person, program := terminal(t)
			var asked bytes.Buffer
			o := &revokeOptions{plugin: &plugin{IOStreams: genericiooptions.IOStreams{In: program, Out: io.Discard, ErrOut: &asked}}}
			if _, err := person.WriteString(typed); err != nil {
				t.Fatal(err)
			}
			err := o.confirm(t.Context(), leaking())
			if (err == nil) != want {
				t.Errorf("got the error %v, want one: %t", err, !want)
			}
			var e *exit
			if !want && (!errors.As(err, &e) || e.code != exitNo || !strings.Contains(err.Error(), "Nothing was done")) {
				t.Errorf("got %v, want code %d", err, exitNo)
			}
			for _, want := range []string{"sha256:0123", "web/shop", "wx0123456789abcdef", "Go on? [y/N] "} {
				if !strings.Contains(asked.String(), want) {
					t.Errorf("%q is not asked in %q", want, asked.String())
				}
			}
		})
	}
}

// Ctrl-C comes as the end of the context.
func TestRevokeWaitsForNoAnswerAfterCtrlC(t *testing.T) {
	_, program := terminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := &revokeOptions{plugin: &plugin{IOStreams: genericiooptions.IOStreams{In: program, Out: io.Discard, ErrOut: io.Discard}}}
	if err := o.confirm(ctx, leaking()); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

func leaking() *v1alpha1.WeChatToken {
	wt := &v1alpha1.WeChatToken{Spec: v1alpha1.WeChatTokenSpec{AppID: "wx0123456789abcdef"}}
	wt.Name, wt.Namespace = "shop", "web"
	wt.Status.TokenFingerprint = "sha256:0123"
	return wt
}
