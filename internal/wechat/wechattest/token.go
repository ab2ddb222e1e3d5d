package wechattest

import (
	"crypto/rand"
	"encoding/base64"
	"time"
)

// token is an access_token. Its account's lock guards it.
type token struct {
	value   string
	account *account
	classic bool      // of the endpoint Classic
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
		expires: expires,
		ends:    expires,
	}
	s.tokens.Store(l.present.value, l.present)
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
