package testcluster_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"wechattoken.io/operator/internal/testcluster"
)

func TestRunEndsAsATestDoes(t *testing.T) {
	broken := errors.New("broken")
	cases := map[string]struct {
		reason string
		ctrlC  bool
		do     func(tb testing.TB, say func(string))
		want   []string
		err    error
	}{
		"Done": {
			reason: "who comes last cleans up first",
			do: func(tb testing.TB, say func(string)) {
				tb.Helper()
				tb.Cleanup(func() { say("first") })
				tb.Cleanup(func() { say("second") })
			},
			want: []string{"second", "first"},
		},
		"Fatal": {
			reason: "nothing follows an error but what cleans up",
			do: func(tb testing.TB, say func(string)) {
				tb.Helper()
				tb.Cleanup(func() { say("clean") })
				tb.Fatal(broken)
				say("never")
			},
			want: []string{"clean"}, err: broken,
		},
		"Interrupted": {
			reason: "nobody waits after Ctrl-C", ctrlC: true,
			do: func(tb testing.TB, _ func(string)) {
				tb.Helper()
				testcluster.Eventually(tb, "what never comes", func() error { return broken })
			},
			err: context.Canceled,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var said []string
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			err := testcluster.Run(ctx, func(tb testing.TB) {
				tb.Helper()
				if tc.ctrlC {
					time.AfterFunc(10*time.Millisecond, interrupt)
				}
				tc.do(tb, func(s string) { said = append(said, s) })
			})
			if diff := cmp.Diff(tc.want, said); diff != "" || !errors.Is(err, tc.err) {
				t.Errorf("%s: it ended with %v, want %v; (-want +got):\n%s", tc.reason, err, tc.err, diff)
			}
		})
	}
}

// What a run has written is gone after it, also when it failed.
func TestRunLeavesNoFolders(t *testing.T) {
	var dir string
	err := testcluster.Run(t.Context(), func(tb testing.TB) {
		tb.Helper()
		dir = tb.TempDir()
		tb.Error("it fails")
	})
	if err == nil {
		t.Error("a run that failed has no error")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is still there: %v", err)
	}
}
