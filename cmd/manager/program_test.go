//go:build integration

package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// runManager runs the program to its end, with only env as its environment.
func runManager(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append([]string{"PATH="}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// What cannot be ends the process before it does anything, with a sentence that says
// what to change.
func TestMistakesEndTheProcess(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		env    []string
		args   []string
		code   int
		want   string
	}{
		"Flag":        {"many is no number", nil, []string{"--workers=many"}, 2, "-workers"},
		"Value":       {"nobody would work", nil, []string{"--workers=0"}, 2, "--workers"},
		"Environment": {"the AppSecret would go out without the proxy", []string{"HTTPS_PROXY=http://ops:s3c%ret@proxy:3128"}, nil, 1, "HTTPS_PROXY"},
		"NoCluster":   {"there is none to ask", nil, []string{"--kubeconfig=/nonexistent"}, 1, "find a cluster"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := runManager(t, tc.env, tc.args...)
			first, _, _ := strings.Cut(stderr, "\n")
			if code != tc.code || stdout != "" || !strings.Contains(first, tc.want) {
				t.Errorf("%s: exit code %d, said %q and %q; want %d and a sentence with %q", tc.reason, code, stdout, stderr, tc.code, tc.want)
			}
		})
	}
}
