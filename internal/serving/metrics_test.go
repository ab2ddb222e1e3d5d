package serving

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
)

// ask sends a request through the filter, and returns how it was answered.
func ask(t *testing.T, filtered http.Handler, authorization string) (status int) {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	req.Header.Set("Authorization", authorization)
	w := httptest.NewRecorder()
	filtered.ServeHTTP(w, req)
	return w.Code
}

func filtered(answer func(context.Context, scraper) (int, error)) http.Handler {
	return letThrough(answer, logr.Discard(), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	}))
}

func TestOnlyAYesLetsThrough(t *testing.T) {
	t.Parallel()
	want := scraper{bearer: "t0ken", verb: "get", path: "/metrics"}
	cases := map[string]struct {
		reason        string
		authorization string
		status        int
		err           error
		asked         []scraper
		want          int
	}{
		"Yes":       {"The API server says that they may.", "Bearer t0ken", 200, nil, []scraper{want}, http.StatusTeapot},
		"LowerCase": {"The scheme's name may be in any case (RFC 9110).", "bearer t0ken", 200, nil, []scraper{want}, http.StatusTeapot},
		"Unknown":   {"It does not know them.", "Bearer t0ken", 401, nil, []scraper{want}, 401},
		"Forbidden": {"It knows them, and they may not.", "Bearer t0ken", 403, nil, []scraper{want}, 403},
		"Silence":   {"No word is no yes.", "Bearer t0ken", 0, errors.New("no answer"), []scraper{want}, 503},
		"Both":      {"An error counts more than what comes with it.", "Bearer t0ken", 200, errors.New("no answer"), []scraper{want}, 503},
		"Nobody":    {"Who shows nothing costs no question.", "", 200, nil, nil, 401},
		"NoToken":   {"Nor does who shows an empty token.", "Bearer ", 200, nil, nil, 401},
		"Basic":     {"Nor does a password.", "Basic dDBrZW4=", 200, nil, nil, 401},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var asked []scraper
			got := ask(t, filtered(func(_ context.Context, s scraper) (int, error) {
				asked = append(asked, s)
				return tc.status, tc.err
			}), tc.authorization)
			if got != tc.want {
				t.Errorf("%s\ngot %d, want %d", tc.reason, got, tc.want)
			}
			if diff := cmp.Diff(tc.asked, asked, cmp.AllowUnexported(scraper{})); diff != "" {
				t.Errorf("%s\nasked (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// The API server that does not answer is asked by few, and they are not kept.
func TestScrapersDoNotCrowdTheAPIServer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var now, most int
		h := filtered(func(ctx context.Context, _ scraper) (int, error) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			<-ctx.Done()
			mu.Lock()
			now--
			mu.Unlock()
			return 0, ctx.Err()
		})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				if got := ask(t, h, "Bearer t0ken"); got != http.StatusServiceUnavailable {
					t.Errorf("got %d, want 503", got)
				}
			})
		}
		all.Wait()
		if most != questionsAtOnce {
			t.Errorf("%d questions at once, want %d", most, questionsAtOnce)
		}
	})
}

func TestQuestionNamesTheWholeUser(t *testing.T) {
	t.Parallel()
	path := authorizationv1.SubjectAccessReviewSpec{NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: "get", Path: "/metrics"}}
	got := of(&authenticationv1.UserInfo{
		Username: "u", UID: "1", Groups: []string{"g"}, Extra: map[string]authenticationv1.ExtraValue{"scopes": {"s"}},
	}, path)
	want := authorizationv1.SubjectAccessReviewSpec{
		User: "u", UID: "1", Groups: []string{"g"}, Extra: map[string]authorizationv1.ExtraValue{"scopes": {"s"}},
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: "get", Path: "/metrics"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
