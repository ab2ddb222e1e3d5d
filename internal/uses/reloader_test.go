package uses_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/uses"
)

const (
	reloaderAuto       = "reloader.stakater.com/auto"
	reloaderSecretAuto = "secret.reloader.stakater.com/auto"
	reloaderReload     = "secret.reloader.stakater.com/reload"
	reloaderSearch     = "reloader.stakater.com/search"
	reloaderExclude    = "secrets.exclude.reloader.stakater.com/reload"
	reloaderMatch      = "reloader.stakater.com/match"
	reloaderIgnore     = "reloader.stakater.com/ignore"
)

func TestReloaderIsRecognized(t *testing.T) {
	t.Parallel()
	type annotations map[string]string
	cases := map[string]struct {
		reason                string
		own, template, secret annotations
		unused                bool // the workload does not use the Secret
		want                  bool
	}{
		"None":             {reason: "Nobody has asked for it."},
		"Auto":             {reason: "Whatever it uses.", own: annotations{reloaderAuto: "true"}, want: true},
		"AutoOff":          {reason: "Said to be off.", own: annotations{reloaderAuto: "false"}},
		"AutoUnused":       {reason: "It does not use this Secret.", own: annotations{reloaderAuto: "true"}, unused: true},
		"SecretAuto":       {reason: "Whatever Secret it uses.", own: annotations{reloaderSecretAuto: "true"}, want: true},
		"InTemplate":       {reason: "The pod template speaks where the workload is silent.", template: annotations{reloaderAuto: "true"}, want: true},
		"TemplateOverrule": {reason: "The workload speaks first.", own: annotations{reloaderAuto: "false"}, template: annotations{reloaderAuto: "true"}},
		"Named":            {reason: "This Secret.", own: annotations{reloaderReload: "shop"}, want: true},
		"NamedAmongOthers": {reason: "And others.", own: annotations{reloaderReload: "a, shop,b"}, want: true},
		"NamedByPattern":   {reason: "Names are regular expressions.", own: annotations{reloaderReload: "sh.*"}, want: true},
		"NamedOther":       {reason: "Another Secret.", own: annotations{reloaderReload: "shop-app,bookshop"}},
		"NamedBadly":       {reason: "No regular expression.", own: annotations{reloaderReload: "sh(op"}},
		"NamedNothing":     {reason: "An empty list.", own: annotations{reloaderReload: ""}},
		"Search":           {reason: "Whatever is tagged.", own: annotations{reloaderSearch: "true"}, secret: annotations{reloaderMatch: "true"}, want: true},
		"SearchUntagged":   {reason: "It is not tagged.", own: annotations{reloaderSearch: "true"}},
		"Tagged":           {reason: "Nobody searches.", secret: annotations{reloaderMatch: "true"}},
		"Ignored":          {reason: "The Secret is not to be looked at.", own: annotations{reloaderAuto: "true"}, secret: annotations{reloaderIgnore: "true"}},
		"Excluded":         {reason: "All but this one.", own: annotations{reloaderAuto: "true", reloaderExclude: "a, shop"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := uses.Reloaded("shop", tc.own, tc.template, tc.secret, !tc.unused); got != tc.want {
				t.Errorf("%s got %t", tc.reason, got)
			}
			own, template := uses.ReloaderAnnotations(tc.own), uses.ReloaderAnnotations(tc.template)
			if got := uses.Reloaded("shop", own, template, tc.secret, !tc.unused); got != tc.want {
				t.Errorf("%s got %t from what is kept", tc.reason, got)
			}
		})
	}
}

func TestReloaderAnnotationsAreKeptOnly(t *testing.T) {
	t.Parallel()
	got := uses.ReloaderAnnotations(map[string]string{reloaderSearch: "true", "configmap.reloader.stakater.com/reload": "shop", "team": "shop"})
	if diff := cmp.Diff(map[string]string{reloaderSearch: "true"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if uses.ReloaderAnnotations(nil) == nil {
		t.Error("got nil, into which a caller cannot write")
	}
}

func TestSecretAnnotations(t *testing.T) {
	t.Parallel()
	ignored := &v1alpha1.TokenSecret{Annotations: map[string]v1alpha1.AnnotationValue{reloaderIgnore: "true"}}
	cases := map[string]struct {
		reason string
		spec   *v1alpha1.TokenSecret
		stored map[string]string
		want   map[string]string
	}{
		"None":   {reason: "There is no Secret yet, and the spec asks for nothing.", want: map[string]string{}},
		"Stored": {reason: "Another person has annotated the Secret.", stored: map[string]string{reloaderMatch: "true"}, want: map[string]string{reloaderMatch: "true"}},
		"Spec":   {reason: "The operator writes it next.", spec: ignored, want: map[string]string{reloaderIgnore: "true"}},
		"Both":   {reason: "Neither hides the other.", spec: ignored, stored: map[string]string{reloaderMatch: "true"}, want: map[string]string{reloaderIgnore: "true", reloaderMatch: "true"}},
		"Differ": {reason: "The spec wins, as it does in the next write.", spec: ignored, stored: map[string]string{reloaderIgnore: "false"}, want: map[string]string{reloaderIgnore: "true"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wt := &v1alpha1.WeChatToken{Spec: v1alpha1.WeChatTokenSpec{Secret: tc.spec}}
			if diff := cmp.Diff(tc.want, uses.SecretAnnotations(wt, tc.stored)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}
