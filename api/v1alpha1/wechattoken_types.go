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

// ForcedRefresh is whether a refresh may be forced.
// +kubebuilder:validation:Enum=Allowed;Never
type ForcedRefresh string

// What may be said of forced refreshes.
const (
	ForcedRefreshAllowed ForcedRefresh = "Allowed"
	ForcedRefreshNever   ForcedRefresh = "Never"
)

// SourceReference names a WeChatToken.
type SourceReference struct {
	// namespace of the WeChatToken.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="namespace must be a valid name of a namespace: lower-case letters, digits and -"
	Namespace string `json:"namespace,omitempty"`

	// name of the WeChatToken.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')",message="name must be a valid name of a WeChatToken: lower-case letters, digits, - and ."
	Name string `json:"name,omitempty"`
}

// AllowedNamespace is the name of a namespace, or * for all.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:XValidation:rule="self == '*' || self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="each of allowedNamespaces must be a name of a namespace, or * for all"
type AllowedNamespace string

// AllNamespaces allows all of them.
const AllNamespaces AllowedNamespace = "*"

// WeChatTokenSpec says whose token to keep, and where to put it.
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.checkInterval) || self.mode != 'Classic' || !self.checkInterval.matches('^([0-9]+[hms])+$') || duration(self.checkInterval) == duration('0s') || duration(self.checkInterval) >= duration('5m')",fieldPath=".checkInterval",message="checkInterval must be 0s or at least 5m in mode Classic, where the check is a call that WeChat allows about a thousand times a day"
// +kubebuilder:validation:XValidation:rule="has(self.sourceRef) || has(self.appID) && has(self.appSecretRef)",message="set appID and appSecretRef, or sourceRef for the token of another WeChatToken"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceRef) || !has(self.appID) && !has(self.appSecretRef) && self.mode != 'Classic' && !has(self.refreshBefore) && !has(self.checkInterval) && !has(self.forcedRefresh) && !has(self.classicCallsPerDay)",message="with sourceRef the account is that of the source: leave out appID, appSecretRef, mode, refreshBefore, checkInterval, forcedRefresh and classicCallsPerDay"
// +kubebuilder:validation:XValidation:rule="!has(self.sourceRef) || !has(self.allowedNamespaces)",message="allowedNamespaces is for a WeChatToken that has the AppSecret: take the token from that one in each namespace"
// +kubebuilder:validation:XValidation:rule="!has(self.classicCallsPerDay) || self.mode == 'Classic'",fieldPath=".classicCallsPerDay",message="classicCallsPerDay is for mode Classic only: in mode Stable WeChat allows 500,000 calls a day"
// +kubebuilder:validation:XValidation:rule="!has(self.refreshBefore) || self.mode == 'Classic'",fieldPath=".refreshBefore",message="refreshBefore is for mode Classic only: in mode Stable WeChat itself fixes the moment, 5 minutes before the end"
type WeChatTokenSpec struct {
	// appID is the appid (开发者ID) of the 公众号, 服务号, 小程序, 小游戏, 微信小店,
	// app or other account whose token is kept: wx and 16 lower-case hex digits, as
	// the WeChat console shows it. When it changes, a token of the new appid replaces the old one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^wx[0-9a-f]{16}$')",message="appID must be wx followed by 16 lower-case hex digits, as the WeChat console shows it"
	AppID string `json:"appID,omitempty"`

	// appSecretRef selects the key of a Secret in the same namespace that holds
	// the AppSecret. A changed AppSecret is picked up at once.
	// +optional
	AppSecretRef AppSecretReference `json:"appSecretRef,omitzero"`

	// sourceRef takes the token of another WeChatToken, the source, instead of appID
	// and appSecretRef: this namespace needs no AppSecret. The source must name this
	// namespace in its allowedNamespaces. Each new token arrives here at the same time
	// as there, and so do the tickets that both ask for. A report of an invalid token
	// counts as one there; a refresh is forced at the source only.
	// +optional
	SourceRef SourceReference `json:"sourceRef,omitzero"`

	// allowedNamespaces are those whose WeChatTokens may take this token by sourceRef;
	// "*" is all, nobody when left out. Who may write WeChatTokens in one of them, or
	// read Secrets, then has the token. A namespace that is taken out keeps the token
	// that it has until that expires.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	AllowedNamespaces []AllowedNamespace `json:"allowedNamespaces,omitempty"`

	// mode is the WeChat endpoint that issues the token.
	//
	// Stable calls POST /cgi-bin/stable_token. WeChat then returns one and the
	// same token until 5 minutes before its end, to everyone who asks, and the old
	// and the new one both work for those 5 minutes. Choose it unless you
	// cannot.
	//
	// Classic calls GET /cgi-bin/token. Each call, from anyone, ends the
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
	// 60m, and never more than half of its lifetime. 10m when left out. Only for
	// mode Classic. Consumers have the shorter of this and 5 minutes to pick up
	// the new token.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+[hms])+$') && duration(self) >= duration('1m') && duration(self) <= duration('60m')",message="refreshBefore must be a duration from 1m to 60m, such as 10m"
	RefreshBefore *metav1.Duration `json:"refreshBefore,omitempty"`

	// checkInterval is how often the operator makes sure that the token is still
	// WeChat's current one: 30s to 1h, or 0s for never. For WeChatTokens that share a
	// token the shortest interval counts.
	//
	// In mode Stable the check is a plain call of stable_token, of which WeChat
	// allows 500,000 a day: it ends no token. When another cluster, another
	// environment or a person has forced a refresh, it brings the new token while
	// the old one is still valid, for 5 minutes. So keep it below 5m. When left out,
	// it is what the manager's flag --check-interval says: 1m.
	//
	// In mode Classic no call brings the current token. The check asks whether the
	// token is valid (get_api_domain_ip), and a token that was ended is replaced. It
	// is 5m at least, and never when left out.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+[hms])+$') && (duration(self) == duration('0s') || duration(self) >= duration('30s') && duration(self) <= duration('1h'))",message="checkInterval must be 0s, or a duration from 30s to 1h, such as 1m"
	CheckInterval *metav1.Duration `json:"checkInterval,omitempty"`

	// forcedRefresh is whether the operator may end the present token for this
	// object by a forced refresh; Allowed when left out.
	//
	// With Never it forces none, no matter who asks: neither for a refresh request
	// nor for an invalid token. Use it where others share the appid and matter more,
	// as production does to staging. An invalid token is still replaced when WeChat
	// has another one, and each token in its time.
	// +optional
	ForcedRefresh ForcedRefresh `json:"forcedRefresh,omitempty"`

	// classicCallsPerDay is how many calls of /cgi-bin/token WeChat allows the account
	// in a day, 20 to 1000000; 2000 when left out, 200 for a test account (测试号). The
	// operator makes no more, and keeps a tenth for refreshes that are due. Only for
	// mode Classic.
	// +optional
	// +kubebuilder:validation:Minimum=20
	// +kubebuilder:validation:Maximum=1000000
	ClassicCallsPerDay int32 `json:"classicCallsPerDay,omitempty"`

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
// +kubebuilder:printcolumn:name="Secret",type=string,JSONPath=`.status.secretName`
// +kubebuilder:printcolumn:name="Refreshed",type=date,JSONPath=`.status.lastRefreshTime`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expirationTime`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="AppID",type=string,JSONPath=`.spec.appID`,priority=1
// +kubebuilder:printcolumn:name="Source",type=string,JSONPath=`.spec.sourceRef`,priority=1
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.spec.mode`,priority=1
// +kubebuilder:printcolumn:name="Refresh",type=string,JSONPath=`.status.nextRefreshTime`,priority=1
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
