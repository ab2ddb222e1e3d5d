package controllers

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat"
)

// What the operator must remember about a token stands on the Secret, beside
// the token: one write changes both, and a restart finds both.
const (
	annotationAccount     = "wechattoken.io/account"            // accountID of the account that issued the token
	annotationAppID       = "wechattoken.io/appid"              //
	annotationMode        = "wechattoken.io/mode"               //
	annotationObtainedAt  = "wechattoken.io/obtained-at"        // RFC 3339, UTC
	annotationExpiresAt   = "wechattoken.io/expires-at"         // RFC 3339, UTC
	annotationFingerprint = "wechattoken.io/token-fingerprint"  // tells an edited token
	annotationHandled     = "wechattoken.io/handled-refresh-at" // the forced refresh this token answers
	annotationDeadToken   = "wechattoken.io/handled-dead-token" // the report of this token that WeChat has called wrong
	annotationDiedEarly   = "wechattoken.io/died-early-at"      // when the token before was found dead before its time; RFC 3339, UTC
	annotationReplacedAt  = "wechattoken.io/replaced-at"        // when this token replaced another one in this Secret; RFC 3339, UTC; absent if it did not
	annotationForced      = v1alpha1.AnnotationForcedCalls      // budget: times of forced calls, Unix seconds
	annotationClassic     = v1alpha1.AnnotationClassicCalls     // budget: day and number of /cgi-bin/token calls
	annotationSeal        = "wechattoken.io/seal"               // tells an edited annotation of those above
	annotationLayout      = "wechattoken.io/layout"             // tells keys, labels and annotations that are no longer wanted
	labelManagedBy        = "app.kubernetes.io/managed-by"
	managedBy             = "wechat-token-operator"
	kind                  = "WeChatToken"
)

// accountID names a WeChat account together with the AppSecret and the mode in
// use: the first 32 hex digits of a SHA-256. AppSecrets are 128 random bits, so
// that it does not help to find one.
type accountID string

func accountOf(creds wechat.Credentials, mode v1alpha1.Mode) accountID {
	return accountID(hash(creds.AppID, creds.AppSecret, string(mode))[:32])
}

// hash is the SHA-256 of parts in hex. Each part counts with its length, so
// that no two lists of parts read the same.
func hash(parts ...string) string {
	all := make([]byte, 0, 512) // enough for most, and so on the stack
	for _, part := range parts {
		all = strconv.AppendInt(all, int64(len(part)), 10)
		all = append(all, ':')
		all = append(all, part...)
		all = append(all, ',')
	}
	sum := sha256.Sum256(all)
	return hex.EncodeToString(sum[:])
}

// fingerprint tells tokens apart without showing them: the first 16 hex digits
// of the SHA-256.
func fingerprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:8])
}

// issued is a token and what is remembered beside it.
type issued struct {
	value       string
	fingerprint string
	account     accountID
	appID       string
	mode        v1alpha1.Mode
	obtained    time.Time // when the call that brought it began
	expires     time.Time
	handled     string    // the forced refresh it answers
	handledDead string    // the report of it that WeChat has called wrong
	diedEarly   time.Time // when the token before was found dead before its time; zero if it was not
	replaced    time.Time // when it replaced another one in its Secret; zero if it did not
	forced      []time.Time
	classic     dayCount
	tickets     tickets // that stand beside it in its Secret

	// ended is an earlier end than expires, which was learned later; zero if
	// there is none. It is not on the Secret. See observed.judged.
	ended time.Time
}

// holds tells apart the tokens that a Secret holds at different times, without
// showing them; empty if it holds none.
func (t *issued) holds() string { return fingerprintIn(t) }

// contents tells apart what a Secret holds at different times, tickets and all.
func (t *issued) contents() string {
	if t == nil || t.tickets == (tickets{}) {
		return t.holds()
	}
	parts := []string{t.holds()}
	for _, ticket := range t.tickets {
		parts = append(parts, fingerprint(ticket.value))
	}
	return hash(parts...)[:16]
}

// replacedAt is when t, which a Secret is to carry now, replaced another token
// there. before is the one that it carried last; the zero one if there was none.
func (t *issued) replacedAt(before carried, now time.Time) time.Time {
	switch {
	case before == carried{}:
		return time.Time{}
	case before.fingerprint == t.fingerprint:
		return before.replaced
	default:
		return now.Truncate(time.Second)
	}
}

// end is when the token dies, or has died.
func (t *issued) end() time.Time {
	if t.ended.IsZero() {
		return t.expires
	}
	return t.ended
}

// alive reports whether WeChat still accepts the token. No token is not alive.
func (t *issued) alive(now time.Time) bool { return t != nil && now.Before(t.end()) }

// clockSlack is how far clocks of two replicas may lie apart.
const clockSlack = time.Minute

// ahead reports whether t was obtained in the future: a clock was wrong then,
// and with it the end of t.
func (t *issued) ahead(now time.Time) bool {
	return t != nil && t.obtained.After(now.Add(clockSlack))
}

// serves reports whether t is a token of the appid and mode that wt names.
func (t *issued) serves(wt *v1alpha1.WeChatToken) bool {
	return t != nil && t.appID == wt.Spec.AppID && t.mode == wt.Spec.ModeOrDefault()
}

// render is all that the operator wants of the target Secret.
func render(wt *v1alpha1.WeChatToken, t *issued) *corev1ac.SecretApplyConfiguration {
	keys := wt.TokenSecretKeys()
	labels := map[string]string{labelManagedBy: managedBy}
	annotations := map[string]string{
		annotationAccount:     string(t.account),
		annotationAppID:       t.appID,
		annotationMode:        string(t.mode),
		annotationObtainedAt:  stamp(t.obtained),
		annotationExpiresAt:   stamp(t.expires),
		annotationFingerprint: t.fingerprint,
		annotationHandled:     t.handled,
		annotationDeadToken:   t.handledDead,
		annotationForced:      writeTimes(t.forced),
		annotationClassic:     t.classic.String(),
		annotationLayout:      layout(wt),
	}
	if !t.diedEarly.IsZero() {
		annotations[annotationDiedEarly] = stamp(t.diedEarly)
	}
	if !t.replaced.IsZero() {
		annotations[annotationReplacedAt] = stamp(t.replaced)
	}
	annotations[annotationSeal] = seal(annotations)
	data := map[string][]byte{
		string(keys.AccessToken): []byte(t.value),
		string(keys.ExpiresAt):   []byte(stamp(t.expires)),
		string(keys.ObtainedAt):  []byte(stamp(t.obtained)),
		string(keys.AppID):       []byte(t.appID),
	}
	for kind, ticket := range t.tickets {
		if ticket.value != "" {
			key, end := ticketKeys(wt, kind)
			data[key], data[end] = []byte(ticket.value), []byte(stamp(ticket.end))
			annotations[ticketKinds[kind].annotation] = ticket.record(kind)
		}
	}
	if s := wt.Spec.Secret; s != nil {
		for k, v := range s.Labels {
			labels[k] = cmp.Or(labels[k], string(v))
		}
		for k, v := range s.Annotations {
			annotations[k] = cmp.Or(annotations[k], string(v))
		}
	}
	return corev1ac.Secret(wt.TokenSecretName(), wt.Namespace).
		WithLabels(labels).
		WithAnnotations(annotations).
		WithOwnerReferences(metav1ac.OwnerReference().
			WithAPIVersion(v1alpha1.GroupVersion.String()).
			WithKind(kind).
			WithName(wt.Name).
			WithUID(wt.UID).
			WithController(true)).
		WithType(corev1.SecretTypeOpaque).
		WithData(data)
}

// application is a Secret as it is applied, and as the API server has answered.
// The answer is read apart: decoded over what was sent, an owner that is not the
// controller would pass for one, and what a webhook took away would still be
// there.
type application struct {
	corev1ac.SecretApplyConfiguration

	is corev1.Secret
}

// UnmarshalJSON reads the answer.
func (a *application) UnmarshalJSON(answer []byte) error {
	a.is = corev1.Secret{}
	return json.Unmarshal(answer, &a.is)
}

// carries reports whether s has all of want. It may have more: people add
// labels and keys of their own, and they stay.
func carries(s *corev1.Secret, want *corev1ac.SecretApplyConfiguration) bool {
	for k, v := range want.Labels {
		if got, ok := s.Labels[k]; !ok || got != v {
			return false
		}
	}
	for k, v := range want.Annotations {
		if got, ok := s.Annotations[k]; !ok || got != v {
			return false
		}
	}
	for k, v := range want.Data {
		if !bytes.Equal(s.Data[k], v) {
			return false
		}
	}
	owner := want.OwnerReferences[0]
	for _, got := range s.OwnerReferences {
		if got.UID == *owner.UID {
			return got.Controller != nil && *got.Controller
		}
	}
	return false
}

// tokenIn reads back what render wrote. It returns nil for a Secret that holds
// no token, or one that somebody has edited beyond trust.
func tokenIn(s *corev1.Secret) *issued {
	if s == nil {
		return nil
	}
	a := sealed(s.Annotations)
	if a == nil {
		return nil
	}
	t := &issued{
		fingerprint: a[annotationFingerprint],
		account:     accountID(a[annotationAccount]),
		appID:       a[annotationAppID],
		mode:        v1alpha1.Mode(a[annotationMode]),
		handled:     a[annotationHandled],
		handledDead: a[annotationDeadToken],
		forced:      readTimes(a[annotationForced]),
		classic:     readDayCount(a[annotationClassic]),
		tickets:     ticketsIn(s),
	}
	var err error
	if t.obtained, err = time.Parse(time.RFC3339, a[annotationObtainedAt]); err != nil {
		return nil
	}
	if t.expires, err = time.Parse(time.RFC3339, a[annotationExpiresAt]); err != nil {
		return nil
	}
	if at := a[annotationDiedEarly]; at != "" {
		if t.diedEarly, err = time.Parse(time.RFC3339, at); err != nil {
			return nil
		}
	}
	if at := a[annotationReplacedAt]; at != "" {
		if t.replaced, err = time.Parse(time.RFC3339, at); err != nil {
			return nil
		}
	}
	// By its fingerprint the token is found under whatever key the spec named
	// when it was written.
	for _, v := range s.Data {
		if fingerprint(string(v)) == t.fingerprint {
			t.value = string(v)
			return t
		}
	}
	return nil
}

// sealed are those of the annotations that the seal was made for; nil if it fits
// none. Somebody may have added one that is not always there: an apply could not
// take it away again, for it is theirs.
func sealed(a map[string]string) map[string]string {
	if a[annotationSeal] == seal(a) {
		return a
	}
	for _, added := range [][]string{{annotationReplacedAt}, {annotationDiedEarly}, {annotationReplacedAt, annotationDiedEarly}} {
		own := maps.Clone(a)
		for _, k := range added {
			delete(own, k)
		}
		if own[annotationSeal] == seal(own) {
			return own
		}
	}
	return nil
}

// seal is a checksum of what is remembered. A person who edits, say, the expiry
// does not edit it too, and the operator asks WeChat rather than believe them.
//
// What came later counts only where it is, so that a newer operator finds the
// seals of an older one whole.
func seal(a map[string]string) string {
	parts := []string{
		a[annotationAccount], a[annotationAppID], a[annotationMode], a[annotationObtainedAt], a[annotationExpiresAt],
		a[annotationFingerprint], a[annotationHandled], a[annotationDeadToken], a[annotationDiedEarly], a[annotationForced], a[annotationClassic],
	}
	if at, ok := a[annotationReplacedAt]; ok {
		parts = append(parts, annotationReplacedAt, at)
	}
	return hash(parts...)[:16]
}

// layout changes with what a spec wants of the Secret beside the token. Without
// it, a label that was taken out of the spec could not be told from one that
// somebody else put on the Secret.
func layout(wt *v1alpha1.WeChatToken) string {
	keys := wt.TokenSecretKeys()
	parts := []string{string(keys.AccessToken), string(keys.ExpiresAt), string(keys.ObtainedAt), string(keys.AppID)}
	for _, kind := range wantedKinds(wt) {
		key, end := ticketKeys(wt, kind)
		parts = append(parts, "ticket", key, end)
	}
	if s := wt.Spec.Secret; s != nil {
		var extra []string
		for k, v := range s.Labels {
			extra = append(extra, "label", k, string(v))
		}
		for k, v := range s.Annotations {
			extra = append(extra, "annotation", k, string(v))
		}
		// Triples are sorted as a whole.
		triples := slices.Collect(slices.Chunk(extra, 3))
		slices.SortFunc(triples, slices.Compare)
		for _, triple := range triples {
			parts = append(parts, triple...)
		}
	}
	return hash(parts...)[:16]
}

// stamp writes a time as the Secret holds it: RFC 3339, UTC, whole seconds, cut
// off so that no token is said to live longer than it does.
func stamp(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// writeTimes writes times as Unix seconds with commas between.
func writeTimes(times []time.Time) string {
	parts := make([]string, len(times))
	for i, t := range times {
		parts[i] = strconv.FormatInt(t.Unix(), 10)
	}
	return strings.Join(parts, ",")
}

// readTimes reads what writeTimes wrote, and passes over what is no number.
func readTimes(s string) []time.Time {
	var times []time.Time
	for part := range strings.SplitSeq(s, ",") {
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			times = append(times, time.Unix(n, 0))
		}
	}
	return times
}
