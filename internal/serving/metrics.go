package serving

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	authorizationv1 "k8s.io/api/authorization/v1"
)

// Who comes with made-up tokens gets no more questions than these through to
// the API server at once: there they would delay the refreshes, which come from
// the same user.
const questionsAtOnce = 4

// answerWithin is how long a scraper waits for the API server's word.
const answerWithin = 10 * time.Second

// scraper is who asks for the metrics, and what for.
type scraper struct{ bearer, verb, path string }

// Metrics answers /metrics to those who may get that path: the API server says so at each
// scrape anew.
func Metrics(reviews *Reviews, from prometheus.Gatherer, log logr.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/metrics", letThrough(reviews.ofScraper, log, promhttp.HandlerFor(from, promhttp.HandlerOpts{})))
	return mux
}

func (r *Reviews) ofScraper(ctx context.Context, s scraper) (status int, err error) {
	user, err := r.WhoHas(ctx, s.bearer)
	if err != nil {
		return 0, err
	}
	if user == nil {
		return http.StatusUnauthorized, nil
	}
	may, err := r.May(ctx, user, authorizationv1.SubjectAccessReviewSpec{
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: s.verb, Path: s.path},
	})
	if err != nil {
		return 0, err
	}
	if !may {
		return http.StatusForbidden, nil
	}
	return http.StatusOK, nil
}

// Bearer is the bearer token of a request; empty if there is none.
func Bearer(req *http.Request) string {
	scheme, bearer, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return bearer
}

// letThrough hands those on to metrics whom ask answers with 200. Others get as an
// answer what ask says.
func letThrough(ask func(context.Context, scraper) (status int, err error), log logr.Logger, metrics http.Handler) http.Handler {
	questions := make(chan struct{}, questionsAtOnce)
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		refuse := func(status int) { http.Error(w, http.StatusText(status), status) }
		bearer := Bearer(req)
		if bearer == "" {
			refuse(http.StatusUnauthorized)
			return
		}
		ctx, cancel := context.WithTimeout(req.Context(), answerWithin)
		defer cancel()
		select {
		case questions <- struct{}{}:
		case <-ctx.Done():
			refuse(http.StatusServiceUnavailable)
			return
		}
		status, err := ask(ctx, scraper{bearer, strings.ToLower(req.Method), req.URL.Path})
		<-questions
		switch {
		case err != nil:
			log.Error(err, "The API server did not say whether somebody may see the metrics")
			refuse(http.StatusServiceUnavailable)
		case status != http.StatusOK:
			refuse(status)
		default:
			metrics.ServeHTTP(w, req)
		}
	})
}
