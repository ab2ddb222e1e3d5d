package record

import (
	"cmp"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/budget"
	"wechattoken.io/operator/internal/wechat/wire"
)

const (
	// Annotation holds the record.
	Annotation = "wechattoken.io/record"

	// version of the format. A record of another one is not read.
	version = 1
	// head begins each annotation of that version.
	head = `{"version":1,"record":`
)

// Bounds of a record that is read back, for an editor of the namespace may have
// written it, as long as an object has room for. One of ours stays below 2 KiB.
const (
	maxAnnotation = 8 << 10 // bytes
	maxHandled    = 256     // of a handled request or report, as the status has room for, in bytes
)

// Key authenticates records.
type Key []byte

// NewKey derives the key from an AppSecret, with HKDF (RFC 5869) over SHA-256.
// An AppSecret has 128 random bits, so nothing needs to slow down a guess. It is
// hashed first because FIPS mode takes no secret below 112 bits, and people put
// anything into that Secret.
func NewKey(appSecret string) Key {
	sum := sha256.Sum256([]byte(appSecret))
	key, err := hkdf.Key(sha256.New, sum[:], nil, "wechattoken.io/record/v1", sha256.Size)
	if err != nil {
		panic(err) // the lengths are right
	}
	return key
}

func (k Key) mac(text []byte) string {
	h := hmac.New(sha256.New, k)
	h.Write(text)
	return hex.EncodeToString(h.Sum(nil))
}

// envelope is the annotation.
type envelope struct {
	Version int             `json:"version"`
	Record  json.RawMessage `json:"record"`
	MAC     string          `json:"mac"` // over the bytes of record: HMAC-SHA256, hex
}

// stored is a record as it is written. Values are there as SHA-256 only.
type stored struct {
	AppID                string                               `json:"appid"`
	Mode                 v1alpha1.Mode                        `json:"mode"`
	Token                string                               `json:"token"`
	ObtainedAt           string                               `json:"obtainedAt"`
	ExpiresAt            string                               `json:"expiresAt"`
	PredecessorInvalidAt string                               `json:"predecessorInvalidAt,omitempty"`
	ReplacedAt           string                               `json:"replacedAt,omitempty"`
	HandledRefresh       string                               `json:"handledRefresh,omitempty"`
	HandledReport        string                               `json:"handledReport,omitempty"`
	ForcedCalls          []int64                              `json:"forcedCalls,omitempty"` // Unix seconds
	ClassicCalls         *budget.Calls                        `json:"classicCalls,omitempty"`
	VerifyCalls          *budget.Calls                        `json:"verifyCalls,omitempty"`
	ReplacedElsewhere    []int64                              `json:"replacedElsewhere,omitempty"` // Unix seconds
	Tickets              map[v1alpha1.TicketType]storedTicket `json:"tickets,omitempty"`
	Layout               string                               `json:"layout"`
}

type storedTicket struct {
	Ticket    string `json:"ticket"`
	FirstSeen string `json:"firstSeen"`
	Life      int64  `json:"life"` // seconds
	ExpiresAt string `json:"expiresAt"`
}

// encode is the annotation for r.
func (r *Record) encode(key Key) string {
	s := stored{
		AppID: r.Token.AppID, Mode: r.Token.Mode, Token: digest(r.Token.Value),
		ObtainedAt: Time(r.Token.ObtainedAt), ExpiresAt: Time(r.Token.ExpiresAt),
		PredecessorInvalidAt: optionalTime(r.Token.PredecessorInvalidAt), ReplacedAt: optionalTime(r.ReplacedAt),
		HandledRefresh: r.HandledRefresh, HandledReport: r.HandledReport,
		Layout: r.layout,
	}
	s.ForcedCalls, s.ReplacedElsewhere = unix(r.Spent.Forced), unix(r.Spent.Elsewhere)
	if r.Spent.Classic != (budget.Calls{}) {
		s.ClassicCalls = &r.Spent.Classic
	}
	if r.Spent.Verify != (budget.Calls{}) {
		s.VerifyCalls = &r.Spent.Verify
	}
	for i, t := range r.Tickets {
		if t.Value == "" {
			continue
		}
		if s.Tickets == nil {
			s.Tickets = map[v1alpha1.TicketType]storedTicket{}
		}
		s.Tickets[TicketTypes[i].Name] = storedTicket{
			Ticket: digest(t.Value), FirstSeen: Time(t.FirstSeen), Life: int64(t.Life / time.Second), ExpiresAt: Time(t.ExpiresAt),
		}
	}
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings and numbers can always be written
	}
	return key.annotation(text)
}

// annotation is that of a record with this text.
func (k Key) annotation(text []byte) string {
	return head + string(text) + `,"mac":"` + k.mac(text) + `"}`
}

// decode reads an annotation. The result is nil if it is none of this version. Only
// the very bytes that the holder of the key writes are verified: JSON has many
// spellings of one envelope.
func decode(annotation string, key Key) (s *stored, verified bool) {
	if len(annotation) > maxAnnotation {
		return nil, false
	}
	var e envelope
	if err := json.Unmarshal([]byte(annotation), &e); err != nil || e.Version != version {
		return nil, false
	}
	if err := json.Unmarshal(e.Record, &s); err != nil {
		return nil, false
	}
	return s, s != nil && len(key) > 0 && hmac.Equal([]byte(key.annotation(e.Record)), []byte(annotation))
}

// Read is the record of a Secret. It is nil if there is none, if it does not
// belong to the token in the Secret, or if it says what WeChat would not give. A
// nil key verifies nothing.
func Read(secret *corev1.Secret, key Key) *Record {
	if secret == nil || secret.Annotations[Annotation] == "" {
		return nil
	}
	s, verified := decode(secret.Annotations[Annotation], key)
	if s == nil {
		return nil
	}
	var parsed parser
	r := &Record{
		Token: Token{
			Value: valueOf(secret, s.Token), AppID: s.AppID, Mode: s.Mode,
			ObtainedAt: parsed.parse(s.ObtainedAt), ExpiresAt: parsed.parse(s.ExpiresAt),
			PredecessorInvalidAt: parsed.parseOptional(s.PredecessorInvalidAt),
		},
		ReplacedAt:     parsed.parseOptional(s.ReplacedAt),
		HandledRefresh: s.HandledRefresh,
		HandledReport:  s.HandledReport,
		Spent:          s.spent(),
		Verified:       verified,
		layout:         s.Layout,
	}
	if parsed.err != nil || !wire.Usable(r.Token.Value) || !wire.UsableLife(r.Token.ExpiresAt.Sub(r.Token.ObtainedAt)) ||
		max(len(s.ForcedCalls), len(s.ReplacedElsewhere)) > budget.ForcedPerDay || max(len(s.HandledRefresh), len(s.HandledReport)) > maxHandled {
		return nil
	}
	for i := range TicketTypes {
		r.Tickets[i] = s.ticket(secret, i)
	}
	return r
}

// ReadSpent is what a record says of the budget, whatever else the Secret holds. It
// is for who may read the metadata of a Secret only.
func ReadSpent(annotations map[string]string) budget.Spent {
	s, _ := decode(annotations[Annotation], nil)
	if s == nil {
		return budget.Spent{}
	}
	return s.spent()
}

func (s *stored) spent() budget.Spent {
	spent := budget.Spent{Forced: times(s.ForcedCalls), Elsewhere: times(s.ReplacedElsewhere)}
	if s.ClassicCalls != nil {
		spent.Classic = *s.ClassicCalls
	}
	if s.VerifyCalls != nil {
		spent.Verify = *s.VerifyCalls
	}
	return spent
}

func unix(all []time.Time) (seconds []int64) {
	for _, at := range all {
		seconds = append(seconds, at.Unix())
	}
	return seconds
}

func times(seconds []int64) (all []time.Time) {
	for _, at := range seconds {
		all = append(all, time.Unix(at, 0))
	}
	return all
}

// ticket is the i-th ticket; the zero one if it is not there, or unusable.
func (s *stored) ticket(secret *corev1.Secret, i int) Ticket {
	was, ok := s.Tickets[TicketTypes[i].Name]
	if !ok {
		return Ticket{}
	}
	var parsed parser
	t := Ticket{
		Value:     valueOf(secret, was.Ticket),
		FirstSeen: parsed.parse(was.FirstSeen), ExpiresAt: parsed.parse(was.ExpiresAt),
	}
	if was.Life <= int64(LongestTicket/time.Second) {
		t.Life = time.Duration(was.Life) * time.Second
	}
	if parsed.err != nil || !wire.Usable(t.Value) || !wire.UsableLife(t.Life) || !wire.UsableLife(t.ExpiresAt.Sub(t.FirstSeen)) {
		return Ticket{}
	}
	return t
}

// valueOf is the value with this digest in the Secret, under whatever key the spec
// named when it was written.
func valueOf(secret *corev1.Secret, sum string) string {
	want, err := hex.DecodeString(sum)
	if err != nil || len(want) != sha256.Size {
		return ""
	}
	for _, v := range secret.Data {
		if sha256.Sum256(v) == [sha256.Size]byte(want) {
			return string(v)
		}
	}
	return ""
}

// Time writes a time as the Secret holds it: RFC 3339, UTC, whole seconds, cut off
// so that no token is said to last longer than it does.
func Time(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

func optionalTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return Time(t)
}

// parser reads what Time writes, and keeps the first error.
type parser struct{ err error }

var errTime = errors.New("not a time in UTC with whole seconds")

func (p *parser) parse(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err == nil && Time(t) != s {
		err = errTime
	}
	p.err = cmp.Or(p.err, err)
	return t
}

func (p *parser) parseOptional(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	return p.parse(s)
}
