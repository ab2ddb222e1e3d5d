package tokenserver

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"

	"wechattoken.io/operator/api/v1alpha1"
)

// Audience is that of credentials which are for the token-server only. One that is for the
// API server itself is good, too, but shows this server more than it needs.
const Audience = "wechattoken.io"

// What comes with credentials that are not known costs the API server no more than this;
// and who is known does not wait behind it.
const (
	strangersPerSecond = 100
	questionsAtOnce    = 4
)

// paces are what a user may ask for at each replica, in a second and at once. A fleet may
// share one credential.
var paces = map[permission]struct {
	perSecond rate.Limit
	atOnce    int
}{
	mayRead:   {1000, 1000},
	mayReport: {100, 500},
	newToUs:   {20, 200}, // WeChatTokens that the user has not asked for lately
}

// A permission is what RBAC grants: a verb on a subresource that exists only here.
type permission struct{ verb, subresource string }

var (
	mayRead   = permission{"get", "token"}
	mayReport = permission{"create", "invalid"}
	newToUs   = permission{}
)

// reviewer says who has a credential, and what they may do.
type reviewer interface {
	WhoHas(ctx context.Context, bearer string, audiences ...string) (*authenticationv1.UserInfo, error)
	May(ctx context.Context, u *authenticationv1.UserInfo, spec authorizationv1.SubjectAccessReviewSpec) (bool, error)
}

// access knows who may do what, as the API server says.
type access struct {
	reviews reviewer

	users       *memory[*authenticationv1.UserInfo]
	permissions *memory[struct{}]
	strangers   *rate.Limiter
	lanes       map[bool]chan struct{} // by whether who asks is known
	paces       *cache.LRUExpireCache  // by user and permission
}

func newAccess(r reviewer) *access {
	return &access{
		reviews:     r,
		users:       newMemory[*authenticationv1.UserInfo](),
		permissions: newMemory[struct{}](),
		strangers:   rate.NewLimiter(strangersPerSecond, 2*strangersPerSecond),
		lanes:       map[bool]chan struct{}{false: make(chan struct{}, questionsAtOnce), true: make(chan struct{}, questionsAtOnce)},
		paces:       cache.NewLRUExpireCache(remembered),
	}
}

var errTooMany = errors.New("too many questions to the API server")

// who is the user with a credential; nil if it is not good.
func (a *access) who(ctx context.Context, bearer string) (*authenticationv1.UserInfo, error) {
	user, ok, err := a.users.get(ctx, keyOf(bearer), func(ctx context.Context, known bool) (*authenticationv1.UserInfo, bool, error) {
		if !known && !a.strangers.Allow() {
			return nil, false, errTooMany
		}
		u, err := inLane(ctx, a.lanes[known], func() (*authenticationv1.UserInfo, error) {
			u, err := a.reviews.WhoHas(ctx, bearer, audiencesOf(bearer)...)
			return u, counted("token", u != nil, err)
		})
		return u, u != nil, err
	})
	if err != nil || !ok {
		return nil, err
	}
	return user, nil
}

// may reports whether the user with a credential has a permission for a WeChatToken.
func (a *access) may(ctx context.Context, bearer string, u *authenticationv1.UserInfo, p permission, id types.NamespacedName) (bool, error) {
	question := strings.Join([]string{keyOf(bearer), p.subresource, id.Namespace, id.Name}, "/")
	_, ok, err := a.permissions.get(ctx, question, func(ctx context.Context, known bool) (struct{}, bool, error) {
		if !known && !a.pace(u.Username, newToUs) {
			return struct{}{}, false, errTooMany
		}
		ok, err := inLane(ctx, a.lanes[known], func() (bool, error) {
			ok, err := a.reviews.May(ctx, u, authorizationv1.SubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version, Resource: "wechattokens", Subresource: p.subresource,
				Verb: p.verb, Namespace: id.Namespace, Name: id.Name,
			}})
			return ok, counted("access", ok, err)
		})
		return struct{}{}, ok, err
	})
	return ok, err
}

// pace reports whether a user may go on, and has not asked too often.
func (a *access) pace(user string, p permission) bool {
	key := p.subresource + "/" + user
	limiter, ok := a.paces.Get(key)
	if !ok {
		limiter = rate.NewLimiter(paces[p].perSecond, paces[p].atOnce)
		a.paces.Add(key, limiter, time.Minute)
	}
	return limiter.(*rate.Limiter).Allow() //nolint:forcetypeassert // as above
}

// inLane does something when there is room.
func inLane[V any](ctx context.Context, lane chan struct{}, do func() (V, error)) (V, error) {
	select {
	case lane <- struct{}{}:
		defer func() { <-lane }()
		return do()
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

// keyOf stands for a credential in memory.
func keyOf(bearer string) string {
	sum := sha256.Sum256([]byte(bearer))
	return string(sum[:])
}

// audiencesOf is what to ask for: [Audience] if a JWT says that it is for that, else the
// API server's own. What the JWT says is not believed; it saves a question.
func audiencesOf(bearer string) []string {
	parts := strings.Split(bearer, ".")
	if len(parts) != 3 {
		return nil
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	var one struct {
		Aud string `json:"aud"`
	}
	var many struct {
		Aud []string `json:"aud"`
	}
	if json.Unmarshal(text, &one) == nil && one.Aud == Audience || json.Unmarshal(text, &many) == nil && slices.Contains(many.Aud, Audience) {
		return []string{Audience}
	}
	return nil
}
