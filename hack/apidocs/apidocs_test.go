package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTheReferenceIsAsGenerated(t *testing.T) {
	pages, err := render("../..")
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range pages {
		got, err := os.ReadFile(filepath.Join("../..", name))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what `make generate` writes (-generated +file):\n%s", name, diff)
		}
	}
}

func TestAnEnglishTextThatChangesLosesItsTranslation(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zh.yaml")
	if err := os.WriteFile(file, []byte("- {en: the old text, zh: 旧的}\n- {en: another, zh: 另一个}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readChinese(file)
	if err != nil {
		t.Fatal(err)
	}
	said := []string{c.say("the new text"), c.say("another"), c.say("")}
	if diff := cmp.Diff([]string{"", "另一个", ""}, said); diff != "" {
		t.Errorf("texts (-want +got):\n%s", diff)
	}
	err = c.complaints()
	for _, want := range []string{"lacks a translation:\n- en: the new text", `not in the reference any more: "the old text"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want in it %q", err, want)
		}
	}
	if err != nil && strings.Contains(err.Error(), "another") {
		t.Errorf("a text that has a translation is in %v", err)
	}
}

// However deep a field is, and whatever it is a field of.
func TestFieldsHaveTheirRows(t *testing.T) {
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var rows []string
	heading := ""
	for line := range strings.Lines(string(page)) {
		if text, ok := strings.CutPrefix(line, "## "); ok {
			heading = strings.TrimSpace(text)
		}
		if cell, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(cell, "`")
			rows = append(rows, heading+"."+name)
		}
	}
	for _, want := range []string{
		"WeChatToken.spec", "spec.appID", "spec.secret.keys.wxCardTicketExpiresAt", "spec.restart.workloads.selector.matchLabels",
		"status.conditions", "status.consumers.restartedBy", "status.tickets.lastError.callerIP", "Conditions.Stalled",
	} {
		if !slices.Contains(rows, want) {
			t.Errorf("no row for %s", want)
		}
	}
}
