package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// WeChatTokenStatus is a view of what the operator last saw and did. Nothing is
// decided from it: what the operator must remember stands on the Secret.
type WeChatTokenStatus struct {
	// observedGeneration is the generation of the spec that this status speaks
	// of; -1 until the operator has seen the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions are the state of the token. Ready is True while the Secret holds a
	// valid token that belongs to the spec. Reconciling is there while the operator
	// retries a transient problem, Stalled while someone has to act. TicketsReady is there with spec.tickets, and True while the
	// Secret carries a ticket of each type that is trusted. docs/runbooks/reasons.md
	// has the reasons with their remedies.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// secretName is the Secret that holds the token.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`

	// expirationTime is when the token in the Secret expires.
	// +optional
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`

	// nextRefreshTime is when that token is due to be replaced.
	// +optional
	NextRefreshTime *metav1.Time `json:"nextRefreshTime,omitempty"`

	// lastRefreshTime is when that token was obtained.
	// +optional
	LastRefreshTime *metav1.Time `json:"lastRefreshTime,omitempty"`

	// tokenFingerprint is the first 16 hex digits of the SHA-256 of that token.
	// In a shell: printf %s "$TOKEN" | sha256sum | cut -c1-16
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	TokenFingerprint string `json:"tokenFingerprint,omitempty"`

	// replacedElsewhere says that somebody else has replaced the token of this
	// account in the last 24 hours, as the operator has found, and how often.
	// +optional
	ReplacedElsewhere ReplacedElsewhere `json:"replacedElsewhere,omitzero"`

	// lastHandledRefreshAt is the value of the annotation
	// wechattoken.io/refresh-requested-at that was handled last. It appears when
	// the Secret holds the new token.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	LastHandledRefreshAt string `json:"lastHandledRefreshAt,omitempty"`

	// lastHandledInvalidToken is the value of the annotation
	// wechattoken.io/invalid-token that was handled last: WeChat says that the token
	// is valid, or it is not the current one any more.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	LastHandledInvalidToken string `json:"lastHandledInvalidToken,omitempty"`

	// takers are the WeChatTokens that take the token of this one by sourceRef.
	// +optional
	Takers Takers `json:"takers,omitzero"`

	// consumers are the workloads of whatever kind that use the Secret, and those
	// that spec.restart names, the first 64 by kind and name. The condition
	// ConsumersCurrent says whether new tokens reach them. Others than
	// Deployments, StatefulSets and DaemonSets are looked for after each new
	// token. It is empty unless the manager runs with --consumers.
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Consumers []Consumer `json:"consumers,omitempty"`

	// lastError is why the last call to WeChat gave no token. It is absent when
	// all is well.
	// +optional
	LastError *WeChatError `json:"lastError,omitempty"`

	// tickets are those that spec.tickets asks for.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=2
	Tickets []TicketStatus `json:"tickets,omitempty"`
}

// Takers are the WeChatTokens that take a token of another one.
type Takers struct {
	// count is how many there are.
	// +required
	// +kubebuilder:validation:Minimum=1
	Count int32 `json:"count,omitempty"`

	// names are those of the first 32 by namespace and name, as namespace/name.
	// +required
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=317
	Names []string `json:"names,omitempty"`
}

// ReplacedElsewhere counts the tokens of an account that somebody else has replaced:
// by a forced refresh, in mode Classic by any call of /cgi-bin/token.
type ReplacedElsewhere struct {
	// lastTime is when the operator found the last one.
	// +required
	LastTime *metav1.Time `json:"lastTime,omitempty"`

	// count is how many it had found in the 24 hours until then, 20 at most.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=20
	Count int32 `json:"count,omitempty"`
}

// TicketStatus is a ticket in the Secret.
type TicketStatus struct {
	// type of the ticket.
	// +required
	Type TicketType `json:"type,omitempty"`

	// expirationTime is until when the ticket is trusted. WeChat does not tell
	// how long it works: its expires_in is always that of a new one.
	// +optional
	ExpirationTime *metav1.Time `json:"expirationTime,omitempty"`

	// lastRefreshTime is when WeChat was first seen to give this ticket.
	// +optional
	LastRefreshTime *metav1.Time `json:"lastRefreshTime,omitempty"`

	// fingerprint is the first 16 hex digits of the SHA-256 of the ticket.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=16
	Fingerprint string `json:"fingerprint,omitempty"`

	// lastError is why the last call for this ticket brought none. It is absent
	// when all is well.
	// +optional
	LastError *WeChatError `json:"lastError,omitempty"`
}

// WeChatError is an answer of WeChat that carried no token, or no ticket.
type WeChatError struct {
	// code is WeChat's errcode; absent when no errcode came, as with a timeout.
	// +optional
	Code *int64 `json:"code,omitempty"`

	// message is WeChat's errmsg without what changes from answer to answer
	// (rid and hint), or what else went wrong.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`

	// rid is WeChat's id of the first of the calls that failed like this one. The page
	// API 诊断 of WeChat's console shows more of it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	RID string `json:"rid,omitempty"`

	// callerIP is the address WeChat saw, for errors about the IP allow-list:
	// this is what the allow-list needs.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	CallerIP string `json:"callerIP,omitempty"`
}
