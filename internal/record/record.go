// Package record is what the operator remembers on the Secret that holds a token:
// one annotation, written together with the token, so that a restart finds both
// or none.
//
// A record is authenticated with a key that is derived from the AppSecret. Who
// edits one namespace can write any record there, but not one that verifies: in
// other namespaces only a verified record counts. In its own namespace an
// unverified one is good for its status, until WeChat has been asked.
package record

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
)

// clockSlack is how far the clocks of two replicas may be apart.
const clockSlack = time.Minute

// Record is what a Secret remembers.
type Record struct {
	Token   Token
	Tickets Tickets
	Spent   budget.Spent // of the appid

	// HandledRefresh is the refresh request that this token answers.
	HandledRefresh string
	// HandledReport is the report of an invalid token that WeChat has contradicted:
	// this token is valid.
	HandledReport string
	// ReplacedAt is when this token replaced another one in this Secret; zero if
	// it did not.
	ReplacedAt time.Time

	// Verified says that the holder of the AppSecret has written all of the above.
	// Read sets it.
	Verified bool

	layout string // what the spec wanted of the Secret when it was written
}

// Token is an access_token and how it was obtained. Times have whole seconds.
type Token struct {
	Value      string
	AppID      string
	Mode       v1alpha1.Mode
	ObtainedAt time.Time // when the call began that brought it
	ExpiresAt  time.Time

	// PredecessorInvalidAt is when WeChat called the token before this one invalid
	// before its end; zero if it did not.
	PredecessorInvalidAt time.Time
}

// Fingerprint tells values apart without showing them: the first 16 hex digits of
// the SHA-256. It is empty for no value.
func Fingerprint(value string) string {
	if value == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:8])
}

func digest(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// Fingerprint is that of the token; empty for nil.
func (t *Token) Fingerprint() string {
	if t == nil {
		return ""
	}
	return Fingerprint(t.Value)
}

// Ahead reports whether the token was obtained in the future: a clock was wrong
// then, and with it the end of the token.
func (t *Token) Ahead(now time.Time) bool { return t.ObtainedAt.After(now.Add(clockSlack)) }

// Serves reports whether it is a token of the appid and mode that wt names.
func (t *Token) Serves(wt *v1alpha1.WeChatToken) bool {
	return t.AppID == wt.Spec.AppID && t.Mode == wt.Spec.ModeOrDefault()
}

// Contents tells apart what a Secret holds at different times, tickets included,
// without showing it; empty for nil.
func (r *Record) Contents() string {
	if r == nil {
		return ""
	}
	all := r.Token.Value
	for _, t := range r.Tickets {
		all += "\n" + t.Value
	}
	if strings.TrimRight(all, "\n") == r.Token.Value {
		all = r.Token.Value // its fingerprint is the one that people know
	}
	return Fingerprint(all)
}

// Secrets are the values that nobody may see in a message.
func (r *Record) Secrets() []string {
	if r == nil {
		return nil
	}
	all := []string{r.Token.Value}
	for _, t := range r.Tickets {
		all = append(all, t.Value)
	}
	return all
}

// Merge is what two records of one account know together: the token that was
// obtained last, of the tickets the newest, and all that was spent. Of two tokens
// obtained in the same second r's counts. What a clock in the future has written
// does not count.
func Merge(r, other Record, now time.Time) Record {
	if other.Token.Value != "" && !other.Token.Ahead(now) &&
		(r.Token.Value == "" || r.Token.Ahead(now) || other.Token.ObtainedAt.After(r.Token.ObtainedAt)) {
		r.Token = other.Token
	}
	for i, t := range other.Tickets {
		if !t.Ahead(now) {
			r.Tickets[i] = r.Tickets[i].Newer(t, now)
		}
	}
	r.Spent = r.Spent.Merge(other.Spent.Bounded(now))
	return r
}
