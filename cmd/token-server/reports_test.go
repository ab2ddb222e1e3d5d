//go:build integration

package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// A report of an invalid token brings the next one with its answer; many of the same token
// cost WeChat one check and the API server one write.
func TestAReportBringsTheNextToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	was := w.awaitToken(reader).AccessToken
	w.fake.Revoke(was)
	before := w.get().Generation
	const clients = 20
	var all sync.WaitGroup
	var mu sync.Mutex
	got := map[string]int{}
	for range clients {
		all.Go(func() {
			code, a := w.report(reader, was, "?wait=30s")
			mu.Lock()
			defer mu.Unlock()
			got[fmt.Sprint(code, " ", a.AccessToken)]++
		})
	}
	all.Wait()
	next := string(w.secret().Data["access_token"])
	if next == was || got["200 "+next] != clients {
		t.Errorf("%d of %d got the next token; codes: %v", got["200 "+next], clients, len(got))
	}
	if w.fake.Counts(appID).Forced > 1 || w.get().Generation != before {
		t.Errorf("%d forced refreshes", w.fake.Counts(appID).Forced)
	}
	testcluster.Eventually(t, "the report is echoed", func() error {
		wt := w.get()
		if report := wt.Annotations[v1alpha1.AnnotationInvalidToken]; report == "" || wt.Status.LastHandledInvalidToken != report {
			return fmt.Errorf("%q, and the echo is %q", report, wt.Status.LastHandledInvalidToken)
		}
		return nil
	})
	// One that is late has nothing to do.
	if code, a := w.report(reader, was, ""); code != http.StatusAccepted || a.Reason != "Replaced" {
		t.Errorf("a late report: %d %s", code, a.Reason)
	}
	if code, a := w.report(reader, was, "?wait=30s"); code != http.StatusOK || a.AccessToken != next {
		t.Errorf("a late report that waits: %d %s", code, a.Reason)
	}
}

// A wrong report is answered with the same token: WeChat says that it is valid. Who reports
// at each call costs no check at each.
func TestAWrongReportBringsTheSameToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	token := w.awaitToken(reader).AccessToken
	checks := 0
	for i := range 3 {
		if code, a := w.report(reader, token, "?wait=30s"); code != http.StatusOK || a.AccessToken != token {
			t.Errorf("%d %s, the same token: %t", code, a.Reason, a.AccessToken == token)
		}
		if i == 0 {
			checks = w.fake.Counts(appID).Business.Calls
		}
		time.Sleep(600 * time.Millisecond)
	}
	if n := w.fake.Counts(appID).Business.Calls; n != checks {
		t.Errorf("%d checks, want the %d of the first report", n, checks)
	}
	if n := w.fake.Counts(appID).Forced; n != 0 {
		t.Errorf("%d forced refreshes", n)
	}
}

// While there is no Secret, only a report of the token that the status names is written:
// each would be another one.
func TestWithoutASecretAMadeUpReportIsNotWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	token := w.awaitToken(reader).AccessToken
	w.operator.Signal(syscall.SIGSTOP)
	if err := w.Delete(t.Context(), w.secret()); err != nil {
		t.Fatal(err)
	}
	w.await("the server knows that it is gone", http.StatusConflict, "", reader)
	if code, a := w.report(reader, "made up", ""); code != http.StatusAccepted || a.Reason != "Replaced" {
		t.Errorf("%d %s, want 202 Replaced", code, a.Reason)
	}
	if report := w.get().Annotations[v1alpha1.AnnotationInvalidToken]; report != "" {
		t.Errorf("there is a report %q", report)
	}
	if code, a := w.report(reader, token, ""); code != http.StatusAccepted || a.Reason != "Reported" {
		t.Errorf("of the token in the status: %d %s, want 202 Reported", code, a.Reason)
	}
	w.operator.Signal(syscall.SIGCONT)
}

// A report is not lost while the operator is away: who waits learns that it was taken.
func TestAReportWaitsForTheOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	token := w.awaitToken(reader).AccessToken
	w.fake.Revoke(token)
	w.operator.Signal(syscall.SIGSTOP)
	if code, a := w.report(reader, token, "?wait=100ms"); code != http.StatusAccepted || a.Reason != "Reported" {
		t.Errorf("%d %s, want 202 Reported", code, a.Reason)
	}
	w.operator.Signal(syscall.SIGCONT)
	testcluster.Eventually(t, "the next token", func() error {
		if w.awaitToken(reader).AccessToken == token {
			return errors.New("it is the old one")
		}
		return nil
	})
}

// What is no report is refused with a sentence, and nothing of it is shown.
func TestWhatIsNoReportIsRefused(t *testing.T) { //nolint:tparallel // what follows the cases looks at what all have done
	t.Parallel()
	w := newWorld(t, wechattest.Config{})
	w.shop()
	reader := w.reader("shop")
	token := w.awaitToken(reader).AccessToken
	cases := map[string]struct {
		reason, body, query string
		code                int
	}{
		"Token":       {"it is not a fingerprint", `{"fingerprint":"` + token + `"}`, "", 400},
		"Nothing":     {"there is no fingerprint", ``, "", 400},
		"NoJSON":      {"it is not JSON", token, "", 400},
		"UpperCase":   {"the operator would not know it", `{"fingerprint":"` + strings.ToUpper(record.Fingerprint(token)) + `"}`, "", 400},
		"Array":       {"it is not an object", `[]`, "", 400},
		"Huge":        {"it is longer than any report", `{"fingerprint":"` + strings.Repeat("0", 1<<20) + `"}`, "", 413},
		"LongWait":    {"nobody is kept so long", `{"fingerprint":"0123456789abcdef"}`, "?wait=1h", 400},
		"Wait":        {"it is not a duration", `{"fingerprint":"0123456789abcdef"}`, "?wait=soon", 400},
		"WaitBackOut": {"nobody waits backwards", `{"fingerprint":"0123456789abcdef"}`, "?wait=-1s", 400},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			resp, body := w.server.Post(t, w.path("shop", "invalid")+tc.query, reader, strings.NewReader(tc.body))
			if resp.StatusCode != tc.code || read(t, body).Message == "" {
				t.Errorf("%s: got %s, want %d: %s", tc.reason, resp.Status, tc.code, body)
			}
			if strings.Contains(body, token) || strings.Contains(w.server.Output.String(), token) {
				t.Errorf("%s: the token is in the answer or in the log", tc.reason)
			}
		})
	}
	if report := w.get().Annotations[v1alpha1.AnnotationInvalidToken]; report != "" {
		t.Errorf("there is a report %q", report)
	}
}
