package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// secretForms is what a token, an AppSecret, or one of them in base64, looks like.
// "98_" is how the fake's tokens begin, and "OThf" is that in base64.
var secretForms = regexp.MustCompile(`98_[A-Za-z0-9_-]{20,}|OThf[A-Za-z0-9+/]{20,}|` + appSecretMark + `[0-9a-f]{26}|NWVjMmU3[A-Za-z0-9+/]{20,}`)

var panics = regexp.MustCompile(`(?m)^panic: |^fatal error: |Observed a panic|WARNING: DATA RACE`)

// inspect notes a secret, or a panic, in what the operator tells.
func (w *world) inspect(where string, told []byte) {
	if secretForms.Match(told) {
		w.journal.findf("told: a secret is in %s", where)
	}
	if panics.Match(told) {
		w.journal.findf("told: a panic is in %s", where)
	}
}

// inspectAll looks into what the operators tell beside their logs.
func (w *world) inspectAll(ctx context.Context) error {
	for _, c := range w.clusters {
		if err := w.inspectCluster(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) inspectCluster(ctx context.Context, c *cluster) error {
	var said []byte
	var err error
	for _, args := range []string{
		"get events,wechattokens --all-namespaces --output=json",
		"create serviceaccount scraper",
		"create clusterrolebinding scraper --clusterrole=cluster-admin --serviceaccount=default:scraper",
		"create token scraper",
	} {
		if said, err = c.plane.Kubectl(strings.Fields(args)...).Output(); err != nil {
			return fmt.Errorf("kubectl %s: %w", args, err)
		}
		if strings.HasPrefix(args, "get") {
			w.inspect("an event, or a status", said)
		}
	}
	bearer := "Bearer " + string(bytes.TrimSpace(said))
	for begun := time.Now(); ; sleep(ctx, time.Second) { // they may just have started
		err = errors.Join(w.inspectMetrics(ctx, w.pick(c, true).metrics, bearer), w.inspectMetrics(ctx, w.pick(c, false).metrics, bearer))
		if err == nil || time.Since(begun) > grace {
			return err
		}
	}
}

// insecure trusts any certificate: a manager makes its own when it starts.
var insecure = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}

func (w *world) inspectMetrics(ctx context.Context, url, bearer string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", bearer)
	resp, err := insecure.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	metrics, err := io.ReadAll(resp.Body)
	w.inspect("the metrics", metrics)
	return err
}
