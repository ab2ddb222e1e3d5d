package tokenserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"golang.org/x/sync/singleflight"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"
	"k8s.io/client-go/rest"

	"wechattoken.io/operator/api/v1alpha1"
)

const (
	// maxBody bounds the body of a report, in bytes.
	maxBody = 1 << 10
	// LongestWait bounds ?wait of a report.
	LongestWait = 30 * time.Second

	fieldManager = "wechat-token-server"

	// reportAgain is when a report of the same token is written anew although the operator
	// has not dealt with the last one: somebody may have written another over it.
	reportAgain = 10 * time.Second
	// verdictCounts is how long WeChat's word that a token is valid answers further reports
	// of it: a client whose calls fail for another reason reports at each, and must not use
	// up the 500 checks of a day.
	verdictCounts = 3 * time.Minute
	// writtenWithin bounds the write of a report.
	writtenWithin = 5 * time.Second
)

var fingerprint = regexp.MustCompile(`^[0-9a-f]{16}$`)

// reports writes reports of invalid tokens: of many clients that report one token at the
// same time, the API server sees one.
type reports struct {
	client  rest.Interface
	written *cache.LRUExpireCache // by WeChatToken and fingerprint
	flights singleflight.Group
}

// written is a report that was written.
type written struct {
	value string // of the annotation
	at    time.Time
}

func newReports(c rest.Interface) *reports {
	return &reports{client: c, written: cache.NewLRUExpireCache(remembered)}
}

// write reports a token, and returns the report: what the operator echoes when it has
// dealt with it. handled says whether it has already, by what is known.
func (r *reports) write(ctx context.Context, id types.NamespacedName, token string, handled func(report string) bool) (string, error) {
	key := id.String() + "/" + token
	value, err, _ := r.flights.Do(key, func() (any, error) {
		if last, ok := r.written.Get(key); ok {
			last := last.(written) //nolint:forcetypeassert // nothing else is put there
			counts := reportAgain
			if handled(last.value) {
				counts = verdictCounts
			}
			if time.Since(last.at) < counts {
				return last.value, nil
			}
		}
		now := time.Now().UTC()
		value := token + "@" + now.Format("2006-01-02T15:04:05.000Z")
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]string{v1alpha1.AnnotationInvalidToken: value}}})
		if err != nil {
			return "", err
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writtenWithin)
		defer cancel()
		if err := r.client.Patch(types.MergePatchType).Namespace(id.Namespace).Resource("wechattokens").Name(id.Name).
			VersionedParams(&metav1.PatchOptions{FieldManager: fieldManager}, metav1.ParameterCodec).Body(patch).Do(ctx).Error(); err != nil {
			return "", err
		}
		r.written.Add(key, written{value, now}, verdictCounts)
		return value, nil
	})
	return value.(string), err //nolint:forcetypeassert // as above
}

// report takes a report of an invalid token. With ?wait it answers with the token to use
// then: the next one, or the same one if WeChat says that it is valid.
func (s *Server) report(r *request) (*reply, *refusal) {
	wait, refused := waitOf(r)
	if refused == nil && wait > 0 {
		refused = s.permit(r, mayRead) // what it answers with
	}
	if refused != nil {
		return nil, refused
	}
	token, refused := reportedBy(r)
	if refused != nil {
		return nil, refused
	}
	o, secret := s.held.get(r.id)
	if o == nil {
		return nil, s.notThere(r.id)
	}
	current := o.fingerprint // somebody may have deleted the Secret just now
	if secret != nil {
		current = secret.token.fingerprint()
	}
	if current != token {
		if wait > 0 {
			return s.current(r, theToken)
		}
		return accepted("Replaced", "That token is not the current one any more: get it again"), nil
	}
	return s.pass(r, token, wait)
}

// pass hands a report on to the operator, and waits for the outcome.
func (s *Server) pass(r *request, token string, wait time.Duration) (*reply, *refusal) {
	report, err := s.reports.write(r.Context(), r.id, token, func(report string) bool { return s.isHandled(r.id, report) })
	switch {
	case apierrors.IsNotFound(err):
		return nil, s.notThere(r.id)
	case err != nil:
		s.log.Error("A report of an invalid token could not be written", "namespace", r.id.Namespace, "name", r.id.Name, "error", err)
		return nil, unavailable("The API server did not take the report: report again")
	}
	if wait > 0 && s.await(r, token, report, wait) {
		return s.current(r, theToken)
	}
	return accepted("Reported", "The operator asks WeChat whether that token is valid, and replaces it if not: get it again"), nil
}

func accepted(reason, message string) *reply {
	return &reply{code: http.StatusAccepted, body: refusal{Code: http.StatusAccepted, Reason: reason, Message: message}}
}

// await waits for the outcome of a report, and reports whether it came.
func (s *Server) await(r *request, token, report string, wait time.Duration) bool {
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	defer context.AfterFunc(s.running, cancel)()
	// The end of the time to read the request would end the wait.
	_ = r.control.SetReadDeadline(time.Time{})
	for {
		next, done := s.held.changed(r.id)
		if s.isHandled(r.id, report) || s.isReplaced(r.id, token) {
			done()
			return true
		}
		select {
		case <-next:
		case <-ctx.Done():
			done()
			return false
		}
	}
}

// isHandled reports whether WeChat has called the reported token valid.
func (s *Server) isHandled(id types.NamespacedName, report string) bool {
	o, secret := s.held.get(id)
	return o == nil || o.handledReport == report || secret != nil && secret.handledReport == report
}

// isReplaced reports whether there is a valid token other than that one.
func (s *Server) isReplaced(id types.NamespacedName, token string) bool {
	o, secret := s.held.get(id)
	if o == nil || secret == nil || secret.token.fingerprint() == token {
		return false
	}
	_, refused := answerTo(theToken, o, secret, time.Now())
	return refused == nil
}

func waitOf(r *request) (time.Duration, *refusal) {
	text := r.URL.Query().Get("wait")
	if text == "" {
		return 0, nil
	}
	wait, err := time.ParseDuration(text)
	if err != nil || wait < 0 || wait > LongestWait {
		return 0, &refusal{Code: http.StatusBadRequest, Reason: "BadRequest", Message: fmt.Sprintf("wait is like 30s, from 0s to %s", LongestWait)}
	}
	return wait, nil
}

// reportedBy is the fingerprint in the body of a report. What else is there is not quoted:
// it may be a token.
func reportedBy(r *request) (string, *refusal) {
	var body struct {
		Fingerprint string `json:"fingerprint"`
	}
	err := json.NewDecoder(r.Body).Decode(&body)
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return "", &refusal{Code: http.StatusRequestEntityTooLarge, Reason: "RequestEntityTooLarge", Message: fmt.Sprintf("A report has %d bytes at most", maxBody)}
	}
	if err != nil || !fingerprint.MatchString(body.Fingerprint) {
		return "", &refusal{Code: http.StatusBadRequest, Reason: "BadRequest", Message: `The body of a report is {"fingerprint":"3f1c9a0b55d2e871"} with the first 16 hex digits of the SHA-256 of the token. Never send the token`}
	}
	return body.Fingerprint, nil
}
