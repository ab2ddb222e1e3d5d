package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Mode is the WeChat endpoint that issues the token.
// +kubebuilder:validation:Enum=Stable;Classic
type Mode string

// The modes.
const (
	// ModeStable is POST /cgi-bin/stable_token.
	ModeStable Mode = "Stable"
	// ModeClassic is GET /cgi-bin/token.
	ModeClassic Mode = "Classic"
)

// TicketType is a ticket that WeChat gives for an access_token.
// +kubebuilder:validation:Enum=JSAPI;WxCard
type TicketType string

// The types of tickets.
const (
	// TicketJSAPI is the jsapi_ticket, which signs the calls of the JS-SDK in web
	// pages.
	TicketJSAPI TicketType = "JSAPI"
	// TicketWxCard is the api_ticket of type wx_card, which signs cards and
	// coupons.
	TicketWxCard TicketType = "WxCard"
)

// WeChatTokenSpec says whose token to keep, and where to put it.
// +kubebuilder:validation:XValidation:rule="!has(self.refreshBefore) || self.mode == 'Classic'",fieldPath=".refreshBefore",message="refreshBefore is for mode Classic only: in mode Stable WeChat itself fixes the moment, 5 minutes before the end"
type WeChatTokenSpec struct {
	// appID is the appid (开发者ID) of the 公众号, 小程序, 小游戏 or app whose
	// token is kept: wx and 16 lower-case hex digits, as the WeChat console
	// shows it. When it changes, a token of the new appid replaces the old one.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^wx[0-9a-f]{16}$')",message="appID must be wx followed by 16 lower-case hex digits, as the WeChat console shows it"
	AppID string `json:"appID,omitempty"`

	// appSecretRef selects the key of a Secret in the same namespace that holds
	// the AppSecret. A changed AppSecret is picked up at once.
	// +required
	AppSecretRef AppSecretReference `json:"appSecretRef,omitzero"`

	// mode is the WeChat endpoint that issues the token.
	//
	// Stable calls POST /cgi-bin/stable_token. WeChat then returns one and the
	// same token until 5 minutes before its end, to everyone who asks, and the old
	// and the new one both work for those 5 minutes. Choose it unless you
	// cannot.
	//
	// Classic calls GET /cgi-bin/token. Each call, by whomever, ends the
	// previous token within 5 minutes, so nothing else may call that endpoint
	// for this appid.
	//
	// The tokens of the two endpoints do not disturb each other.
	// +optional
	// +kubebuilder:default=Stable
	Mode Mode `json:"mode,omitempty"`

	// secret says how the Secret that holds the token looks.
	// +optional
	Secret *TokenSecret `json:"secret,omitempty"`

	// refreshBefore is how long before its end the token is replaced, 1m to
	// 60m, and never more than half of its life. 10m when left out. Only for
	// mode Classic. Consumers have the shorter of this and 5 minutes to pick up
	// the new token.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+[hms])+$') && duration(self) >= duration('1m') && duration(self) <= duration('60m')",message="refreshBefore must be a duration from 1m to 60m, such as 10m"
	RefreshBefore *metav1.Duration `json:"refreshBefore,omitempty"`

	// checkInterval is how often the operator asks WeChat whether the token is
	// valid (get_api_domain_ip), 30s to 1h; never when left out. A token that
	// somebody else has ended is then replaced before anybody reports it. For
	// WeChatTokens that share a token the shortest interval counts. It grows while
	// WeChat does not answer.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+[hms])+$') && duration(self) >= duration('30s') && duration(self) <= duration('1h')",message="checkInterval must be a duration from 30s to 1h, such as 5m"
	CheckInterval *metav1.Duration `json:"checkInterval,omitempty"`

	// propagation is how pods that mount the Secret as a volume get a new
	// token; Watch when left out.
	//
	// Watch leaves it to the kubelet, which looks every 60 to 90 s.
	//
	// Touch makes it look at once: after each write of a new token the operator
	// changes the annotation wechattoken.io/touched-for of those pods. It needs
	// the manager's flag --consumers.
	// +optional
	Propagation Propagation `json:"propagation,omitempty"`

	// restart is for what does not see a new token while it runs: pods that use
	// the Secret as env or through subPath. It needs the manager's flag
	// --consumers.
	// +optional
	Restart Restart `json:"restart,omitzero"`

	// tickets are kept in the Secret beside the token: JSAPI (jsapi_ticket) and
	// WxCard (api_ticket of type wx_card). WeChat is asked for each every 10
	// minutes, once for all WeChatTokens that share the token.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	Tickets []TicketType `json:"tickets,omitempty"`

	// suspend keeps the operator from calling WeChat, from writing the Secret
	// and from restarting workloads. The Secret stays as it is, and its token
	// expires in its time, or within 5 minutes of a call that ends it for another
	// WeChatToken of the account.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// Propagation is how pods that mount the Secret as a volume get a new token.
// +kubebuilder:validation:Enum=Watch;Touch
type Propagation string

// The ways of propagation.
const (
	// PropagationWatch leaves it to the kubelet.
	PropagationWatch Propagation = "Watch"
	// PropagationTouch makes the kubelet look at once.
	PropagationTouch Propagation = "Touch"
)

// Restart says which workloads to restart when a token replaces another.
type Restart struct {
	// workloads to restart, as kubectl rollout restart does, once for each token
	// that replaces another in the Secret. One whose pods are all younger than
	// that is left alone.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Workloads []RestartTarget `json:"workloads,omitempty"`
}

// RestartTarget selects workloads of one kind in the namespace of the
// WeChatToken: the one of a name, those with some labels, or, with neither, all
// that use the Secret as env or through subPath.
// +kubebuilder:validation:XValidation:rule="!has(self.name) || !has(self.selector)",message="name and selector exclude each other: name one workload, or select some by their labels"
type RestartTarget struct {
	// kind of the workloads: Deployment, StatefulSet or DaemonSet.
	// +required
	Kind WorkloadKind `json:"kind,omitempty"`

	// name of the one workload. It is restarted however it uses the Secret, and
	// also if another operator restarts it, too.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="name must be a valid name of a workload: lower-case letters, digits, - and ."
	Name string `json:"name,omitempty"`

	// selector takes the workloads that have these labels themselves, however
	// they use the Secret. Those that Stakater's Reloader restarts are left to
	// it.
	// +optional
	Selector WorkloadSelector `json:"selector,omitzero"`
}

// WorkloadSelector selects workloads by their own labels, not those of their
// pods.
type WorkloadSelector struct {
	// matchLabels are the labels that a workload must have, all of them.
	// +required
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.indexOf('/') <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="each label key must be a valid one, such as app or example.com/app"
	// +kubebuilder:validation:XValidation:rule="self.all(k, self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",message="each label value must be empty or letters, digits, -, _ and ., at most 63"
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`
}

// WorkloadKind is a kind of workload of apps/v1.
// +kubebuilder:validation:Enum=Deployment;StatefulSet;DaemonSet
type WorkloadKind string

// The kinds of workloads.
const (
	KindDeployment  WorkloadKind = "Deployment"
	KindStatefulSet WorkloadKind = "StatefulSet"
	KindDaemonSet   WorkloadKind = "DaemonSet"
)

// AppSecretReference selects one key of a Secret in the same namespace.
type AppSecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="name must be a valid Secret name: lower-case letters, digits, - and ."
	Name string `json:"name,omitempty"`

	// key within the Secret; appsecret when left out.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",message="key must be a valid Secret key: letters, digits, -, _ and ."
	Key string `json:"key,omitempty"`
}

// TokenSecret says how the Secret that holds the token looks.
type TokenSecret struct {
	// name of the Secret; the name of the WeChatToken when left out. It must
	// not be the Secret that holds the AppSecret. When it changes, the token
	// moves and the old Secret is removed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="name must be a valid Secret name: lower-case letters, digits, - and ."
	Name string `json:"name,omitempty"`

	// keys renames what is written.
	// +optional
	Keys *SecretKeys `json:"keys,omitempty"`

	// labels to put on the Secret beside the operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('wechattoken.io/') && k != 'app.kubernetes.io/managed-by')",message="labels with the prefix wechattoken.io/ and app.kubernetes.io/managed-by belong to the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.indexOf('/') <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="each label key must be a valid one, such as team or example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",message="each label value must be empty or letters, digits, -, _ and ., at most 63"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations to put on the Secret beside the operator's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('wechattoken.io/'))",message="annotations with the prefix wechattoken.io/ belong to the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.indexOf('/') <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="each annotation key must be a valid one, such as owner or example.com/owner"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// LabelValue is the value of a label, at most 63 characters.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// AnnotationValue is the value of an annotation. 32 of them at 4,096 characters
// stay well below the 256 KiB that Kubernetes allows an object's annotations.
// +kubebuilder:validation:MaxLength=4096
type AnnotationValue string

// SecretKeys names the keys of the Secret. Each has a default; no two may be
// equal, also of those that are not written.
// +kubebuilder:validation:XValidation:rule="[[has(self.accessToken) ? self.accessToken : 'access_token', has(self.expiresAt) ? self.expiresAt : 'expires_at', has(self.obtainedAt) ? self.obtainedAt : 'obtained_at', has(self.appID) ? self.appID : 'appid', has(self.jsapiTicket) ? self.jsapiTicket : 'jsapi_ticket', has(self.jsapiTicketExpiresAt) ? self.jsapiTicketExpiresAt : 'jsapi_ticket_expires_at', has(self.wxCardTicket) ? self.wxCardTicket : 'wx_card_ticket', has(self.wxCardTicketExpiresAt) ? self.wxCardTicketExpiresAt : 'wx_card_ticket_expires_at']].all(keys, keys.all(k, keys.exists_one(other, other == k)))",message="keys must differ from each other; those left out are access_token, expires_at, obtained_at, appid, jsapi_ticket, jsapi_ticket_expires_at, wx_card_ticket and wx_card_ticket_expires_at"
type SecretKeys struct {
	// accessToken is the key of the token; access_token when left out.
	// +optional
	AccessToken SecretKey `json:"accessToken,omitempty"`

	// expiresAt is the key of the time at which the token expires, as RFC 3339 in
	// UTC; expires_at when left out.
	// +optional
	ExpiresAt SecretKey `json:"expiresAt,omitempty"`

	// obtainedAt is the key of the time at which the token was obtained, as RFC
	// 3339 in UTC; obtained_at when left out.
	// +optional
	ObtainedAt SecretKey `json:"obtainedAt,omitempty"`

	// appID is the key of the appid; appid when left out.
	// +optional
	AppID SecretKey `json:"appID,omitempty"`

	// jsapiTicket is the key of the jsapi_ticket, which is there if spec.tickets
	// has JSAPI; jsapi_ticket when left out.
	// +optional
	JSAPITicket SecretKey `json:"jsapiTicket,omitempty"`

	// jsapiTicketExpiresAt is the key of the time until which the jsapi_ticket is
	// trusted, as RFC 3339 in UTC; jsapi_ticket_expires_at when left out.
	// +optional
	JSAPITicketExpiresAt SecretKey `json:"jsapiTicketExpiresAt,omitempty"`

	// wxCardTicket is the key of the api_ticket of type wx_card, which is there
	// if spec.tickets has WxCard; wx_card_ticket when left out.
	// +optional
	WxCardTicket SecretKey `json:"wxCardTicket,omitempty"`

	// wxCardTicketExpiresAt is the key of the time until which that ticket is
	// trusted, as RFC 3339 in UTC; wx_card_ticket_expires_at when left out.
	// +optional
	WxCardTicketExpiresAt SecretKey `json:"wxCardTicketExpiresAt,omitempty"`
}

// SecretKey is a key in the data of a Secret.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=253
// +kubebuilder:validation:XValidation:rule="self.matches('^[-._a-zA-Z0-9]+$') && self != '.' && !self.startsWith('..')",message="a key must be a valid Secret key: letters, digits, -, _ and ."
type SecretKey string

// WeChatTokenStatus is a view of what the operator last saw and did. Nothing is
// decided from it: what the operator must remember stands on the Secret.
type WeChatTokenStatus struct {
	// observedGeneration is the generation of the spec that this status speaks
	// of; -1 until the operator has seen the object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions say how things stand. Ready is True while the Secret carries a token that works and
	// belongs to the spec. Reconciling is there while the operator waits for
	// something that passes by itself, Stalled while nothing will change until
	// a person acts. TicketsReady is there with spec.tickets, and True while the
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

	// consumers are the Deployments, StatefulSets and DaemonSets that use the
	// Secret or that spec.restart names, the first 64 by kind and name. The
	// condition ConsumersCurrent says whether new tokens reach them. It is empty
	// unless the manager runs with --consumers.
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

// Consumer is a workload that uses the Secret, or that spec.restart names.
type Consumer struct {
	// kind of the workload, as in spec.restart.
	// +required
	Kind WorkloadKind `json:"kind,omitempty"`

	// name of the workload, in the namespace of the WeChatToken.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// uses are the ways in which its containers use the Secret: File follows a
	// new token by itself, SubPath and Env only with a restart. What a plain init
	// container uses does not count, for it ends before the token changes.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=3
	Uses []SecretUse `json:"uses,omitempty"`

	// restartedBy is who restarts it when there is a new token: Operator, as
	// spec.restart says, or Reloader, as the annotations of the workload say. It
	// is absent when nobody does.
	// +optional
	RestartedBy Restarter `json:"restartedBy,omitempty"`
}

// SecretUse is a way in which a container uses a Secret.
// +kubebuilder:validation:Enum=File;SubPath;Env
type SecretUse string

// The uses of a Secret.
const (
	// UseFile is a volume that is mounted as a whole.
	UseFile SecretUse = "File"
	// UseSubPath is a volume of which one file or folder is mounted.
	UseSubPath SecretUse = "SubPath"
	// UseEnv is an environment variable, or all of them.
	UseEnv SecretUse = "Env"
)

// Restarter is who restarts a workload.
// +kubebuilder:validation:Enum=Operator;Reloader
type Restarter string

// The restarters.
const (
	RestarterOperator Restarter = "Operator"
	RestarterReloader Restarter = "Reloader"
)

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

	// callerIP is the address WeChat saw, for errors about the IP allow-list:
	// this is what the allow-list needs.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=45
	CallerIP string `json:"callerIP,omitempty"`
}

// WeChatToken keeps a valid WeChat access_token in a Secret.
//
// It names an appid and the Secret with its AppSecret. From then on the Secret
// named in status.secretName holds a valid token: it is replaced before it expires,
// when its AppSecret changes, when somebody damages the Secret, and at once when
// the annotation wechattoken.io/refresh-requested-at gets a new value, or when
// wechattoken.io/invalid-token names it and WeChat agrees that it is invalid.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=wxt,categories=wechat
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expirationTime`
// +kubebuilder:printcolumn:name="Refresh",type=string,JSONPath=`.status.nextRefreshTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="AppID",type=string,JSONPath=`.spec.appID`,priority=1
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`,priority=1
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.secretName`,priority=1
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:validation:XValidation:rule="!has(self.spec) || !has(self.spec.appSecretRef) || (has(self.spec.secret) && has(self.spec.secret.name) ? self.spec.secret.name : self.metadata.name) != self.spec.appSecretRef.name",message="the token must not go into the Secret that holds the AppSecret: set spec.secret.name to another name"
type WeChatToken struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the user asks for.
	// +required
	Spec WeChatTokenSpec `json:"spec,omitzero"`

	// status is what the operator reports.
	// +optional
	// +kubebuilder:default:={"observedGeneration":-1}
	Status WeChatTokenStatus `json:"status,omitzero"`
}

// WeChatTokenList is a list of WeChatTokens.
//
// +kubebuilder:object:root=true
type WeChatTokenList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`

	// items are the WeChatTokens.
	Items []WeChatToken `json:"items"`
}
