package main

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func picture(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../" + svg)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestTheDrawingIsAsGenerated(t *testing.T) {
	t.Parallel()
	want, err := drawFile("trial.cast")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), picture(t)); diff != "" {
		t.Errorf("trial.svg is not what `make generate` writes (-generated +file):\n%s", diff)
	}
}

func TestTheCommandsAreThoseOfTheList(t *testing.T) {
	t.Parallel()
	all, err := lines("trial.cast")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range all {
		if command, ok := strings.CutPrefix(l.text, prompt); ok {
			got = append(got, command)
		}
	}
	if diff := cmp.Diff(commands(), got); diff != "" {
		t.Errorf("record again: the commands are others than those of commands.txt (-list +recorded):\n%s", diff)
	}
}

// secret finds what may be an AppSecret, which is 32 hexadecimal digits, or a token, which is
// longer. Fingerprints have 16 digits.
var secret = regexp.MustCompile(`\b[0-9a-fA-F]{32}\b|[A-Za-z0-9_-]{48,}`)

func TestNoSecretIsShown(t *testing.T) {
	t.Parallel()
	recorded, err := os.ReadFile("trial.cast")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"trial.cast": string(recorded), "trial.svg": picture(t)} {
		if found := secret.FindString(text); found != "" {
			t.Errorf("%s has %q", name, found)
		}
	}
}

func TestTheDrawingIsShortAndSmall(t *testing.T) {
	t.Parallel()
	drawn := picture(t)
	if len(drawn) >= 200_000 || strings.Contains(drawn, "<script") {
		t.Errorf("it has %d bytes, or a script", len(drawn))
	}
	all, err := lines("trial.cast")
	if err != nil {
		t.Fatal(err)
	}
	film, err := filmOf(all)
	if err != nil {
		t.Fatal(err)
	}
	if seconds, err := strconv.ParseFloat(film.Seconds, 64); err != nil || seconds > 30 {
		t.Errorf("it takes %s s, want 30 or less: %v", film.Seconds, err)
	}
	if film.Still.Down == 0 {
		t.Error("without motion it shows nothing")
	}
	for _, want := range []string{"<title", "<desc", "prefers-reduced-motion", "a new token"} {
		if !strings.Contains(drawn, want) {
			t.Errorf("it does not have %q", want)
		}
	}
}
