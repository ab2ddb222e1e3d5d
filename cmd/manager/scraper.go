package main

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Who comes with made-up tokens gets no more questions than these through to
// the API server at once: there they would delay the refreshes, which come from
// the same user.
const questionsAtOnce = 4

// answerWithin is how long a scraper waits for the API server's word.
const answerWithin = 10 * time.Second

// scraper is who asks for the metrics, and what for.
type scraper struct{ bearer, verb, path string }

// askAPIServer makes the filter of the metrics: the API server says who scrapes
// and whether they may, at each scrape anew. controller-runtime's filter remembers
// that for minutes, and brings k8s.io/apiserver with CEL, gRPC and OpenTelemetry,
// which would make this program half as big again.
func askAPIServer(cfg *rest.Config, httpClient *http.Client) (metricsserver.Filter, error) {
	authentication, err := authenticationclient.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, err
	}
	authorization, err := authorizationclient.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, err
	}
	tokens, accesses := authentication.TokenReviews(), authorization.SubjectAccessReviews()
	return letThrough(func(ctx context.Context, s scraper) (int, error) {
		who, err := tokens.Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: s.bearer},
		}, metav1.CreateOptions{})
		if err != nil {
			return 0, err
		}
		if !who.Status.Authenticated {
			return http.StatusUnauthorized, nil
		}
		may, err := accesses.Create(ctx, &authorizationv1.SubjectAccessReview{
			Spec: question(who.Status.User, s),
		}, metav1.CreateOptions{})
		if err != nil {
			return 0, err
		}
		if !may.Status.Allowed {
			return http.StatusForbidden, nil
		}
		return http.StatusOK, nil
	}), nil
}

// question asks whether the user may do what the scraper wants.
func question(u authenticationv1.UserInfo, s scraper) authorizationv1.SubjectAccessReviewSpec {
	extra := make(map[string]authorizationv1.ExtraValue, len(u.Extra))
	for key, values := range u.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	return authorizationv1.SubjectAccessReviewSpec{
		User: u.Username, UID: u.UID, Groups: u.Groups, Extra: extra,
		NonResourceAttributes: &authorizationv1.NonResourceAttributes{Verb: s.verb, Path: s.path},
	}
}

// letThrough is a filter for those whom ask answers with 200. Others get as an
// answer what ask says.
func letThrough(ask func(context.Context, scraper) (status int, err error)) metricsserver.Filter {
	questions := make(chan struct{}, questionsAtOnce)
	return func(log logr.Logger, metrics http.Handler) (http.Handler, error) {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			refuse := func(status int) { http.Error(w, http.StatusText(status), status) }
			scheme, bearer, _ := strings.Cut(req.Header.Get("Authorization"), " ")
			if !strings.EqualFold(scheme, "Bearer") || bearer == "" {
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
		}), nil
	}
}
