package v1alpha1

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
	// workloads to restart, once for each token that replaces another in the
	// Secret. One whose pods are all younger than that is not restarted. Between two
	// restarts of a workload are 2.5 minutes at least, whichever WeChatTokens ask
	// for them.
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
// +kubebuilder:validation:XValidation:rule="has(self.apiVersion) && self.apiVersion != 'apps/v1' || self.kind in ['Deployment', 'StatefulSet', 'DaemonSet']",message="kind must be Deployment, StatefulSet or DaemonSet; give the apiVersion of another kind"
// +kubebuilder:validation:XValidation:rule="!has(self.apiVersion) || self.apiVersion == 'apps/v1' || has(self.method) && self.method == 'Eviction'",message="method must be Eviction for other kinds than Deployment, StatefulSet and DaemonSet: their controllers may do something else with a new pod template than to replace all pods"
// +kubebuilder:validation:XValidation:rule="!has(self.apiVersion) || self.apiVersion == 'apps/v1' || !has(self.selector)",message="selector is for Deployments, StatefulSets and DaemonSets: name a workload of another kind, or leave name and selector out"
type RestartTarget struct {
	// apiVersion of the workloads, such as argoproj.io/v1alpha1; apps/v1 when left
	// out. Their kind must have a scale subresource, and the operator permission
	// to get it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?v[0-9][a-z0-9]*$`
	APIVersion string `json:"apiVersion,omitempty"`

	// kind of the workloads: Deployment, StatefulSet or DaemonSet; or of another
	// apiVersion, such as Rollout.
	// +required
	Kind WorkloadKind `json:"kind,omitempty"`

	// method is how the pods are replaced: Rollout when left out.
	// +optional
	Method RestartMethod `json:"method,omitempty"`

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
	// +kubebuilder:validation:MaxProperties=4
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.indexOf('/') <= 253 && k.matches('^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))",message="each label key must be a valid one, such as app or example.com/app"
	// +kubebuilder:validation:XValidation:rule="self.all(k, self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))",message="each label value must be empty or letters, digits, -, _ and ., at most 63"
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`
}

// RestartMethod is how the pods of a workload are replaced.
// +kubebuilder:validation:Enum=Rollout;Eviction
type RestartMethod string

// The methods of a restart.
const (
	// RestartByRollout changes an annotation of the pod template, as kubectl
	// rollout restart does: new pods come before old ones go, as far as the
	// workload's strategy says. All restarts of one version keep two revisions in
	// the rollout history, and kubectl rollout undo finds the other one of them.
	RestartByRollout RestartMethod = "Rollout"
	// RestartByEviction evicts the pods that are older than the token, a quarter
	// of them at once, as far as their PodDisruptionBudgets let them go, and goes
	// on when those that replace them are ready. The workload does not change, nor
	// does its rollout history; but an old pod goes before the new one comes.
	RestartByEviction RestartMethod = "Eviction"
)

// WorkloadKind is a kind of workload.
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^[A-Z][A-Za-z0-9]*$`
type WorkloadKind string

// The kinds of workloads of apps/v1.
const (
	KindDeployment  WorkloadKind = "Deployment"
	KindStatefulSet WorkloadKind = "StatefulSet"
	KindDaemonSet   WorkloadKind = "DaemonSet"
)

// Consumer is a workload that uses the Secret, or that spec.restart names.
type Consumer struct {
	// apiVersion of the workload, such as apps/v1.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	APIVersion string `json:"apiVersion,omitempty"`

	// kind of the workload: one of those that spec.restart knows, CronJob, or
	// what controls pods that use the Secret, such as Rollout, Job, or Pod
	// for a pod that nothing controls.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind,omitempty"`

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
