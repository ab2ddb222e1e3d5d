package contest

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Somebody takes an effect back as soon as it is done. In the first minute it is done
// three times, later each 5 minutes, and again at once when it was left alone for long.
func TestPausesGrow(t *testing.T) {
	t.Parallel()
	pause := Pause{First: 10 * time.Second, Longest: 5 * time.Minute}
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	var e Effect
	var at []time.Duration
	now := noon
	for range 8 {
		if next := e.Next(pause); next.After(now) {
			now = next
		}
		e = e.Done(now, pause)
		at = append(at, now.Sub(noon))
	}
	want := []time.Duration{0, 10 * time.Second, 30 * time.Second, 70 * time.Second, 150 * time.Second, 310 * time.Second, 610 * time.Second, 910 * time.Second}
	if diff := cmp.Diff(want, at); diff != "" {
		t.Errorf("it is done at (-want +got):\n%s", diff)
	}
	if !e.Contested(now, pause) || e.Contested(now.Add(10*time.Minute), pause) {
		t.Error("it is contested until it was left alone for twice the longest pause")
	}
	if e = e.Done(now.Add(10*time.Minute), pause); e.Contested(now.Add(10*time.Minute), pause) || e.Next(pause) != now.Add(10*time.Minute+pause.First) {
		t.Errorf("what was left alone begins anew, got %+v", e)
	}
}

// Once and twice is no fight: an edit by hand, and what a cache makes of it.
func TestTwiceIsNoFight(t *testing.T) {
	t.Parallel()
	pause := Pause{First: 10 * time.Second, Longest: 5 * time.Minute}
	now := time.Now()
	e := Effect{}
	for i, want := range []bool{false, false, true} {
		if e = e.Done(now, pause); e.Contested(now, pause) != want {
			t.Errorf("after %d times in a row it is contested: %t", i+1, !want)
		}
	}
	if (Effect{}).Contested(now, pause) || !(Effect{}).Next(pause).IsZero() {
		t.Error("what was never done waits, or is contested")
	}
}
