package v1alpha1

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
