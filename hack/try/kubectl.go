package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// kubectl runs kubectl in the cluster of the trial, and returns what it prints.
func (t *trial) kubectl(ctx context.Context, args ...string) (string, error) {
	return t.kubectlWith(ctx, nil, args...)
}

func (t *trial) kubectlWith(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	args = append([]string{"--context=" + t.context}, args...)
	return t.command(ctx, stdin, append(append([]string{}, t.kubectlCommand...), args...)...)
}

// get reads an object, or a list; false means that it is not there.
func (t *trial) get(ctx context.Context, into any, args ...string) (bool, error) {
	out, err := t.kubectl(ctx, append([]string{"get", "--ignore-not-found", "--output=json"}, args...)...)
	if err != nil || strings.TrimSpace(out) == "" {
		return false, err
	}
	return true, json.Unmarshal([]byte(out), into)
}

func (t *trial) command(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &out, &said
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(append(said.Bytes(), out.Bytes()...)))
	}
	return out.String(), nil
}
