package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What the manager has asked is what was added, without reads it is what it wrote.
func TestRequestsAreThoseThatWereAdded(t *testing.T) {
	made := counts{"GET secrets": 9, "PATCH wechattokens/status": 2, "APPLY secrets": 1}.less(counts{"GET secrets": 4, "APPLY secrets": 1})
	if diff := cmp.Diff(counts{"GET secrets": 5, "PATCH wechattokens/status": 2}, made); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
	if got := made.sum(); got != 7 {
		t.Errorf("these are %d, want 7", got)
	}
	if diff := cmp.Diff(counts{"PATCH wechattokens/status": 2}, made.writes()); diff != "" {
		t.Errorf("writes (-want +got):\n%s", diff)
	}
}

func TestWhatIsNotTheManagersDoesNotCount(t *testing.T) {
	for what, want := range map[string]bool{
		"GET secrets": true, "PATCH wechattokens/status": true, "WATCH secrets": false, "PUT leases": false, "LIST namespaces": false, "": false,
	} {
		if got := counted(what); got != want {
			t.Errorf("%q counts: %t, want %t", what, got, want)
		}
	}
}
