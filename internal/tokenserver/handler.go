package tokenserver

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/serving"
)

const (
	tokenPath  = "/v1/namespaces/{namespace}/wechattokens/{name}/token"
	reportPath = "/v1/namespaces/{namespace}/wechattokens/{name}/invalid"
)

// request is one request, and what is known of it so far.
type request struct {
	*http.Request

	control *http.ResponseController

	id     types.NamespacedName
	what   string // for log and metrics
	bearer string
	user   *authenticationv1.UserInfo
}

// reply is an answer before it is written.
type reply struct {
	code int
	body any
	*answer
}

// routes are the paths that there are. All else is a 404, which tells nothing.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(tokenPath, s.answering(http.MethodGet, mayRead, s.token))
	mux.Handle(reportPath, s.answering(http.MethodPost, mayReport, s.report))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.write(w, &request{Request: r}, time.Now(), nil, &refusal{Code: http.StatusNotFound, Reason: "NotFound", Message: "There is nothing here: the paths are " + tokenPath + " and " + reportPath})
	})
	return mux
}

// answering lets those through who have the permission.
func (s *Server) answering(method string, p permission, do func(*request) (*reply, *refusal)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		req := &request{
			Request: r, control: http.NewResponseController(w), what: p.subresource, bearer: serving.Bearer(r),
			id: types.NamespacedName{Namespace: r.PathValue("namespace"), Name: r.PathValue("name")},
		}
		if r.Method != method && (r.Method != http.MethodHead || method != http.MethodGet) {
			w.Header().Set("Allow", method)
			s.write(w, req, begun, nil, &refusal{Code: http.StatusMethodNotAllowed, Reason: "MethodNotAllowed", Message: "Use " + method + " here"})
			return
		}
		refused := s.admit(req, p)
		var got *reply
		if refused == nil {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			got, refused = do(req)
		}
		s.write(w, req, begun, got, refused)
	})
}

// admit is nil if the API server knows who asks, and lets them.
func (s *Server) admit(r *request, p permission) *refusal {
	if r.bearer == "" {
		return &refusal{Code: http.StatusUnauthorized, Reason: "Unauthorized", Message: "Send the header Authorization: Bearer and a credential that the cluster knows, such as the token of a ServiceAccount with the audience " + Audience}
	}
	if len(validation.IsDNS1123Label(r.id.Namespace))+len(validation.IsDNS1123Subdomain(r.id.Name)) > 0 {
		r.id = types.NamespacedName{} // it may be anything, such as a token
		return &refusal{Code: http.StatusBadRequest, Reason: "BadRequest", Message: "The path does not name a WeChatToken: it is " + tokenPath}
	}
	user, err := s.access.who(r.Context(), r.bearer)
	if err != nil {
		return s.unanswered(err)
	}
	if user == nil {
		return &refusal{Code: http.StatusUnauthorized, Reason: "Unauthorized", Message: "The cluster does not know this credential: it is not one of this cluster, is for another audience than " + Audience + " or the API server, or has expired"}
	}
	r.user = user
	if !s.access.pace(user.Username, p) {
		return tooMany("This user asks too often: keep a token until max-age is over, and report one only once")
	}
	return s.permit(r, p)
}

// permit is nil if the user has the permission.
func (s *Server) permit(r *request, p permission) *refusal {
	ok, err := s.access.may(r.Context(), r.bearer, r.user, p, r.id)
	switch {
	case err != nil:
		return s.unanswered(err)
	case !ok:
		return &refusal{Code: http.StatusForbidden, Reason: "Forbidden", Message: "User " + strconv.Quote(r.user.Username) + " may not " + p.verb + " wechattokens/" + p.subresource + " " + strconv.Quote(r.id.Name) + " in namespace " + strconv.Quote(r.id.Namespace) + ": bind them the ClusterRole wechattoken-reader there, or a Role with this name only"}
	}
	return nil
}

func tooMany(message string) *refusal {
	return &refusal{Code: http.StatusTooManyRequests, Reason: "TooManyRequests", Message: message, retryAfter: time.Second}
}

// unanswered is the refusal while the API server does not say who asks.
func (s *Server) unanswered(err error) *refusal {
	if errors.Is(err, errTooMany) {
		return tooMany("Too many have asked within a second whom the API server had to be asked about: ask again")
	}
	if !errors.Is(err, context.Canceled) {
		s.silence.Do(func() {
			s.log.Error("The API server did not say who asks, or whether they may", "error", err)
		})
	}
	return unavailable("The API server does not say whether you may have it: ask again")
}

func unavailable(message string) *refusal {
	return &refusal{Code: http.StatusServiceUnavailable, Reason: "ServiceUnavailable", Message: message, retryAfter: time.Second}
}

// token answers with the token, or with a ticket.
func (s *Server) token(r *request) (*reply, *refusal) {
	what, refused := whatOf(r)
	if refused != nil {
		return nil, refused
	}
	return s.current(r, what)
}

// whatOf is what of a WeChatToken is asked for.
func whatOf(r *request) (int, *refusal) {
	query := r.URL.Query()
	if !query.Has("ticket") {
		return theToken, nil
	}
	wire := query.Get("ticket")
	for i := range record.TicketTypes {
		if record.TicketTypes[i].Wire == wire {
			r.what = wire
			return i, nil
		}
	}
	return 0, &refusal{Code: http.StatusBadRequest, Reason: "BadRequest", Message: "There is no such ticket: ticket is jsapi or wx_card"}
}

// current is what counts now.
func (s *Server) current(r *request, what int) (*reply, *refusal) {
	o, secret := s.held.get(r.id)
	if o == nil {
		return nil, s.notThere(r.id)
	}
	now := time.Now()
	a, refused := answerTo(what, o, secret, now)
	if refused != nil {
		return nil, refused
	}
	if matches(r.Header.Get("If-None-Match"), a.etag()) {
		return &reply{code: http.StatusNotModified, answer: a}, nil
	}
	body := map[string]any{
		"expires_in": int64(math.Floor(a.expiresAt.Sub(now).Seconds())),
		"expires_at": record.Time(a.expiresAt),
		"appid":      a.appID,
	}
	if what == theToken {
		body["access_token"] = a.value
	} else {
		body["ticket"] = a.value
	}
	return &reply{http.StatusOK, body, a}, nil
}

func (s *Server) notThere(id types.NamespacedName) *refusal {
	if !s.follower.follows(id.Namespace) {
		return &refusal{Code: http.StatusNotFound, Reason: "NotFound", Message: "This server does not serve namespace " + strconv.Quote(id.Namespace) + ": it is not in --namespaces, or the server may not list WeChatTokens and Secrets there"}
	}
	return &refusal{Code: http.StatusNotFound, Reason: "NotFound", Message: "There is no WeChatToken " + strconv.Quote(id.Name) + " in namespace " + strconv.Quote(id.Namespace)}
}

// etag is weak: expires_in is another one in each answer.
func (a *answer) etag() string { return `W/"` + a.fingerprint + `"` }

// matches reports whether a header If-None-Match has the ETag.
func matches(header, etag string) bool {
	for one := range strings.SplitSeq(header, ",") {
		if one = strings.TrimSpace(one); one == "*" || strings.TrimPrefix(one, "W/") == strings.TrimPrefix(etag, "W/") {
			return true
		}
	}
	return false
}

// write answers, and notes in log and metrics that it did.
func (s *Server) write(w http.ResponseWriter, r *request, begun time.Time, got *reply, refused *refusal) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	line := []slog.Attr{slog.String("namespace", r.id.Namespace), slog.String("name", r.id.Name), slog.String("what", r.what)}
	if refused != nil {
		got = &reply{code: refused.Code, body: refused}
		if refused.retryAfter > 0 {
			h.Set("Retry-After", strconv.Itoa(int(refused.retryAfter.Seconds())))
		}
		if refused.Code == http.StatusUnauthorized {
			h.Set("WWW-Authenticate", "Bearer")
		}
		line = append(line, slog.String("reason", refused.Reason))
	}
	if a := got.answer; a != nil {
		h.Set("ETag", a.etag())
		h.Set("Cache-Control", "private, max-age="+strconv.Itoa(int(a.maxAge.Seconds())))
		line = append(line, slog.String("fingerprint", a.fingerprint))
	}
	if got.body != nil {
		text, err := json.Marshal(got.body)
		if err != nil {
			panic(err) // strings and numbers can always be written
		}
		h.Set("Content-Type", "application/json")
		w.WriteHeader(got.code)
		_, _ = w.Write(append(text, '\n'))
	} else {
		w.WriteHeader(got.code)
	}
	took := time.Since(begun)
	countAnswer(r.what, got.code, took)
	s.noteAnswer(r, got.code, took, line)
}

// noteAnswer writes the line of the log that says who got an answer.
func (s *Server) noteAnswer(r *request, code int, took time.Duration, line []slog.Attr) {
	user := ""
	if r.user != nil {
		user = r.user.Username
	} else if !s.strangerLines.Allow() {
		return
	}
	s.log.LogAttrs(r.Context(), slog.LevelInfo, "Answered", append(line,
		slog.String("user", user), slog.String("from", r.RemoteAddr), slog.Int("code", code), slog.Duration("took", took))...)
}
