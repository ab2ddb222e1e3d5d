package serving

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
)

// Reviews asks the API server who somebody is, and what they may do. It remembers nothing.
// The filter of controller-runtime remembers that for minutes, and brings k8s.io/apiserver
// with CEL, gRPC and OpenTelemetry, which would make a program half as big again.
type Reviews struct{ authentication, authorization rest.Interface }

// NewReviews returns one that asks with the credential of cfg.
func NewReviews(cfg *rest.Config, httpClient *http.Client) (*Reviews, error) {
	authentication, err := ClientFor(cfg, httpClient, authenticationv1.SchemeGroupVersion, authenticationv1.AddToScheme)
	if err != nil {
		return nil, err
	}
	authorization, err := ClientFor(cfg, httpClient, authorizationv1.SchemeGroupVersion, authorizationv1.AddToScheme)
	return &Reviews{authentication, authorization}, err
}

// WhoHas is the user with a bearer token; nil if the API server knows none. The token
// must be for one of the audiences, or for the API server itself if there are none.
func (r *Reviews) WhoHas(ctx context.Context, bearer string, audiences ...string) (*authenticationv1.UserInfo, error) {
	review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: bearer, Audiences: audiences}}
	if err := r.authentication.Post().Resource("tokenreviews").Body(review).Do(ctx).Into(review); err != nil {
		return nil, fmt.Errorf("ask the API server whose credential it is: %w", err)
	}
	// An authenticator that knows no audiences names none: the token is for the API server.
	isFor := len(audiences) == 0 || slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(review.Status.Audiences, a) })
	if !review.Status.Authenticated || !isFor {
		return nil, nil
	}
	return &review.Status.User, nil
}

// May reports whether a user may do what spec has for a resource or a path.
func (r *Reviews) May(ctx context.Context, u *authenticationv1.UserInfo, spec authorizationv1.SubjectAccessReviewSpec) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: of(u, spec)}
	if err := r.authorization.Post().Resource("subjectaccessreviews").Body(review).Do(ctx).Into(review); err != nil {
		return false, fmt.Errorf("ask the API server what a user may do: %w", err)
	}
	return review.Status.Allowed, nil
}

func of(u *authenticationv1.UserInfo, spec authorizationv1.SubjectAccessReviewSpec) authorizationv1.SubjectAccessReviewSpec {
	spec.User, spec.UID, spec.Groups, spec.Extra = u.Username, u.UID, u.Groups, make(map[string]authorizationv1.ExtraValue, len(u.Extra))
	for key, values := range u.Extra {
		spec.Extra[key] = authorizationv1.ExtraValue(values)
	}
	return spec
}
