package v1alpha1

import (
	"cmp"
	"slices"
	"time"
)

// These methods fill in what a spec leaves out. Nothing of it is defaulted by
// the API server, so that GitOps tools find in the cluster what they applied.

// TokenSecretName is the name of the Secret that holds the token.
func (wt *WeChatToken) TokenSecretName() string {
	if wt.Spec.Secret == nil {
		return wt.Name
	}
	return cmp.Or(wt.Spec.Secret.Name, wt.Name)
}

// TokenSecretKeys are the keys under which the Secret holds the token, what
// belongs to it, and the tickets. None is empty.
func (wt *WeChatToken) TokenSecretKeys() SecretKeys {
	var keys SecretKeys
	if wt.Spec.Secret != nil && wt.Spec.Secret.Keys != nil {
		keys = *wt.Spec.Secret.Keys
	}
	return SecretKeys{
		AccessToken:           cmp.Or(keys.AccessToken, "access_token"),
		ExpiresAt:             cmp.Or(keys.ExpiresAt, "expires_at"),
		ObtainedAt:            cmp.Or(keys.ObtainedAt, "obtained_at"),
		AppID:                 cmp.Or(keys.AppID, "appid"),
		JSAPITicket:           cmp.Or(keys.JSAPITicket, "jsapi_ticket"),
		JSAPITicketExpiresAt:  cmp.Or(keys.JSAPITicketExpiresAt, "jsapi_ticket_expires_at"),
		WxCardTicket:          cmp.Or(keys.WxCardTicket, "wx_card_ticket"),
		WxCardTicketExpiresAt: cmp.Or(keys.WxCardTicketExpiresAt, "wx_card_ticket_expires_at"),
	}
}

// HasSource reports whether the token is that of another WeChatToken.
func (s *WeChatTokenSpec) HasSource() bool { return s.SourceRef.Name != "" }

// Allows reports whether WeChatTokens of a namespace may take the token.
func (s *WeChatTokenSpec) Allows(namespace string) bool {
	return slices.Contains(s.AllowedNamespaces, AllNamespaces) || slices.Contains(s.AllowedNamespaces, AllowedNamespace(namespace))
}

// KeyOrDefault is the key that holds the AppSecret.
func (r AppSecretReference) KeyOrDefault() string { return cmp.Or(r.Key, "appsecret") }

// ModeOrDefault is the mode, also of an object that no API server has seen.
func (s *WeChatTokenSpec) ModeOrDefault() Mode { return cmp.Or(s.Mode, ModeStable) }

// RefreshBeforeOrDefault is how long before its end a Classic token is
// replaced.
func (s *WeChatTokenSpec) RefreshBeforeOrDefault() time.Duration {
	if s.RefreshBefore == nil {
		return 10 * time.Minute
	}
	return s.RefreshBefore.Duration
}

// NeedsConsumers reports whether the spec asks for what only a manager with
// --consumers does.
func (s *WeChatTokenSpec) NeedsConsumers() bool {
	return s.Propagation == PropagationTouch || len(s.Restart.Workloads) > 0
}

// CheckIntervalOr is the time between two checks of the token, 0 for none. What the
// spec leaves out is stable in mode Stable, and 0 in mode Classic.
func (s *WeChatTokenSpec) CheckIntervalOr(stable time.Duration) time.Duration {
	switch {
	case s.CheckInterval != nil:
		return s.CheckInterval.Duration
	case s.ModeOrDefault() == ModeStable:
		return stable
	default:
		return 0
	}
}
