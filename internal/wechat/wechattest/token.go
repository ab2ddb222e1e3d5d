package wechattest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"time"
)

// Token is what became of an access_token.
type Token struct {
	// Fingerprint is the first 16 hex digits of the token's SHA-256.
	Fingerprint string
	// AppID of its account.
	AppID string
	// Endpoint that gave it out, Stable or Classic.
	Endpoint Endpoint
	// Issued is when it was made, by a call or by [Server.Rotate].
	Issued time.Time
	// Expires is its natural end.
	Expires time.Time
	// Ends is when it becomes invalid, as far as is known now: Expires, or earlier
	// if it was replaced or revoked.
	Ends time.Time
}

// Tokens are the last 100,000 that were made, oldest first.
func (s *Server) Tokens() []Token {
	s.journal.mu.Lock()
	made := slices.Clone(s.journal.made)
	s.journal.mu.Unlock()
	all := make([]Token, len(made))
	for i, t := range made {
		t.account.mu.Lock()
		all[i] = Token{
			Fingerprint: fingerprint(t.value), AppID: t.account.appID, Endpoint: Stable,
			Issued: t.issued, Expires: t.expires, Ends: t.ends,
		}
		t.account.mu.Unlock()
		if t.classic {
			all[i].Endpoint = Classic
		}
	}
	return all
}

func fingerprint(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:8])
}

// token is an access_token. Its account's lock guards it.
type token struct {
	value   string
	account *account
	classic bool // of the endpoint Classic
	issued  time.Time
	expires time.Time // its natural end
	ends    time.Time // when it becomes invalid: expires, or earlier if it was replaced or revoked
}

func (t *token) valid(now time.Time) bool { return now.Before(t.ends) }

// remaining is the life that WeChat reports, in whole seconds.
func (t *token) remaining(now time.Time) int64 { return int64(t.expires.Sub(now) / time.Second) }

// succeed gives the lineage a new present token and keeps the old one valid until
// oldEnds at most. The account is locked.
func (s *Server) succeed(a *account, l *lineage, now, oldEnds time.Time) *token {
	if l.present != nil {
		l.present.ends = earlier(l.present.ends, oldEnds)
		l.past = append(l.past, l.present)
	}
	// A token is remembered for a life after its end, so that one that was
	// replaced differs from one that never was.
	for len(l.past) > 0 && now.Sub(l.past[0].ends) > s.cfg.Life {
		s.tokens.Delete(l.past[0].value)
		l.past[0], l.past = nil, l.past[1:]
	}

	expires := now.Add(s.cfg.Life)
	l.present = &token{
		value:   mint(s.cfg.TokenLength),
		account: a,
		classic: l == &a.classic,
		issued:  now,
		expires: expires,
		ends:    expires,
	}
	s.tokens.Store(l.present.value, l.present)
	s.journal.issued(l.present)
	return l.present
}

func (s *Server) find(value string) (*token, bool) {
	t, ok := s.tokens.Load(value)
	if !ok {
		return nil, false
	}
	return t.(*token), true
}

// mint makes a token that was never made before, also not by another process.
// Its form, a number and then letters, digits, "_" and "-", has been observed.
func mint(length int) string {
	random := make([]byte, length)
	rand.Read(random) // never fails
	return ("98_" + base64.RawURLEncoding.EncodeToString(random))[:length]
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
