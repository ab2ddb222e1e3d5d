package serving

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	authenticationclient "k8s.io/client-go/kubernetes/typed/authentication/v1"
	authorizationclient "k8s.io/client-go/kubernetes/typed/authorization/v1"
	"k8s.io/client-go/rest"
)

// Reviews asks the API server who somebody is, and what they may do. It remembers nothing.
// The filter of controller-runtime remembers that for minutes, and brings k8s.io/apiserver
// with CEL, gRPC and OpenTelemetry, which would make a program half as big again.
type Reviews struct {
	tokens   authenticationclient.TokenReviewInterface
	accesses authorizationclient.SubjectAccessReviewInterface
}

// NewReviews returns one that asks with the credential of cfg.
func NewReviews(cfg *rest.Config, httpClient *http.Client) (*Reviews, error) {
	authentication, err := authenticationclient.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, err
	}
	authorization, err := authorizationclient.NewForConfigAndClient(cfg, httpClient)
	if err != nil {
		return nil, err
	}
	return &Reviews{authentication.TokenReviews(), authorization.SubjectAccessReviews()}, nil
}

// WhoHas is the user with a bearer token; nil if the API server knows none. The token
// must be for one of the audiences, or for the API server itself if there are none.
func (r *Reviews) WhoHas(ctx context.Context, bearer string, audiences ...string) (*authenticationv1.UserInfo, error) {
	review, err := r.tokens.Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: bearer, Audiences: audiences},
	}, metav1.CreateOptions{})
	if err != nil {
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
	review, err := r.accesses.Create(ctx, &authorizationv1.SubjectAccessReview{Spec: of(u, spec)}, metav1.CreateOptions{})
	if err != nil {
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
