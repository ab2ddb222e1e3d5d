package main

import (
	"cmp"
	"flag"
	"io"
	"strings"
	"testing"
)

// What cannot be is refused before anything is done, with a sentence that names the flag.
func TestBadFlagsAreRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"Argument":       {"a flag without its dashes must not be passed over", []string{"namespaces=a"}, `"namespaces=a"`},
		"NoAddress":      {"nobody would be served", []string{"--bind-address=0"}, "--bind-address"},
		"OnlyACert":      {"it cannot be used without its key", []string{"--tls-cert-file=a"}, "--tls-private-key-file"},
		"OnlyAKey":       {"clients would get a certificate that nobody has given", []string{"--tls-private-key-file=a"}, "--tls-cert-file"},
		"NoNamespace":    {"commas name none", []string{"--namespaces=,"}, "--namespaces"},
		"LogLevelBelow":  {"libraries log whole requests there, Secrets included", []string{"--log-level=DEBUG-4"}, "--log-level"},
		"LogFormatOther": {"no such format", []string{"--log-format=xml"}, "--log-format"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o options
			fs := flag.NewFlagSet("token-server", flag.ContinueOnError)
			fs.SetOutput(io.Discard)
			o.bind(fs)
			if err := cmp.Or(fs.Parse(tc.args), o.validate(fs.Args())); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want a sentence with %q", tc.reason, err, tc.want)
			}
		})
	}
}
