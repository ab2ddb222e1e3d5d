package controllers

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"wechattoken.io/operator/internal/wechat"
)

// Package wechat does not import the API, and spells its reasons again.
func TestReasonsOfErrcodesAreReasonsOfTheAPI(t *testing.T) {
	source, err := os.ReadFile("../api/v1alpha1/reasons.go")
	if err != nil {
		t.Fatal(err)
	}
	var reasons []string
	for _, m := range regexp.MustCompile(`(?m)^\tReason\w+ += "(\w+)"$`).FindAllStringSubmatch(string(source), -1) {
		reasons = append(reasons, m[1])
	}
	for _, code := range append(wechat.Codes(), 0) {
		if got := (&wechat.Error{Code: code}).Meaning().Reason; !slices.Contains(reasons, got) {
			t.Errorf("errcode %d has the reason %q, want one of %q", code, got, reasons)
		}
	}
}
