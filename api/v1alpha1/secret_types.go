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

// What other controllers do with a Secret, they do by its labels and annotations:
// copy it to other namespaces, take its contents for a cluster's or a person's
// credentials, put others into it. So the first rule of TokenSecret has the domains
// of those that are known, in the order of the alphabet; each stands for its
// subdomains, too. reloader.stakater.com, which restarts what uses the Secret, is
// not one of them.

// TokenSecret says how the Secret that holds the token looks.
// +kubebuilder:validation:XValidation:rule="[has(self.labels) ? self.labels.map(k, k) : [], has(self.annotations) ? self.annotations.map(k, k) : []].all(keys, keys.all(k, k.startsWith('app.kubernetes.io/') || !k.matches('^([-a-z0-9.]+[.])?(1password[.]io|akuity[.]io|appscode[.]com|argoproj[.]io|bank-vaults[.]dev|banzaicloud[.]com|banzaicloud[.]io|bitnami[.]com|carvel[.]dev|cattle[.]io|cert-manager[.]io|clastix[.]io|cloudfoundry[.]org|clustersecret[.]io|coreos[.]com|crossplane[.]io|deckhouse[.]io|devfile[.]io|doppler[.]com|eclipse[.]org|educates[.]dev|elastic[.]co|emberstack[.]com|external-secrets[.]io|fluxcd[.]io|gardener[.]cloud|giantswarm[.]io|gke[.]io|hashicorp[.]com|helm[.]sh|infisical[.]com|istio|istio[.]io|jenkins[.]io|k14s[.]io|k8s[.]io|karmada[.]io|knative[.]dev|kubernetes[.]io|kubesphere[.]io|kyverno[.]io|liqo[.]io|loft[.]sh|mittwald[.]de|oam[.]dev|onepassword[.]com|open-cluster-management[.]io|openshift[.]io|operatorframework[.]io|projectcapsule[.]dev|replizieren[.]dev|strimzi[.]io|synator|tekton[.]dev|velero[.]io|x-k8s[.]io)/')))",message="labels and annotations that other controllers act on are refused, such as those of Argo CD, Flux, Helm, Kubernetes and reflector: these copy a Secret to other namespaces, or take it over, and who writes a WeChatToken may have no permission for that. Leave them out; app.kubernetes.io/ is allowed"
// +kubebuilder:validation:XValidation:rule="(has(self.labels) ? self.labels.map(k, size(k) + size(self.labels[k])).sum() : 0) + (has(self.annotations) ? self.annotations.map(k, size(k) + size(bytes(self.annotations[k]))).sum() : 0) <= 4096",message="labels and annotations must have at most 4096 bytes together, keys and values"
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

	// labels to put on the Secret beside the operator's own. Those that other
	// controllers act on are refused, and with the annotations they have at most
	// 4,096 bytes, keys and values.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('wechattoken.io/') && k != 'app.kubernetes.io/managed-by')",message="labels with the prefix wechattoken.io/ and app.kubernetes.io/managed-by belong to the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.indexOf('/') <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="each label key must be a valid one, such as team or example.com/team"
	// +kubebuilder:validation:XValidation:rule="self.all(k, self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",message="each label value must be empty or letters, digits, -, _ and ., at most 63"
	Labels map[string]LabelValue `json:"labels,omitempty"`

	// annotations to put on the Secret beside the operator's own. What holds for
	// labels holds for them.
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('wechattoken.io/'))",message="annotations with the prefix wechattoken.io/ belong to the operator"
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.indexOf('/') <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="each annotation key must be a valid one, such as owner or example.com/owner"
	Annotations map[string]AnnotationValue `json:"annotations,omitempty"`
}

// LabelValue is the value of a label, at most 63 characters.
// +kubebuilder:validation:MaxLength=63
type LabelValue string

// AnnotationValue is the value of an annotation.
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
