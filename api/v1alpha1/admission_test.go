//go:build integration

package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

func TestMain(m *testing.M) { os.Exit(testcluster.Main(m, 8)) }

// admit shows a WeChatToken to the API server, which does not keep it.
func admit(t *testing.T, manifest string) (*unstructured.Unstructured, error) {
	t.Helper()
	c, err := dynamic.NewForConfig(testcluster.Shared(t).Config)
	if err != nil {
		t.Fatal(err)
	}
	var obj unstructured.Unstructured
	if err := yaml.UnmarshalStrict([]byte(manifest), &obj.Object); err != nil {
		t.Fatal(err)
	}
	return c.Resource(v1alpha1.GroupVersion.WithResource("wechattokens")).Namespace("default").
		Create(t.Context(), &obj, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
}

// shop is a WeChatToken with the given spec, each line of it.
func shop(lines ...string) string {
	return "apiVersion: wechattoken.io/v1alpha1\nkind: WeChatToken\nmetadata: {name: shop}\nspec:\n  " + strings.Join(lines, "\n  ") + "\n"
}

const (
	goodID  = "appID: wx0123456789abcdef"
	goodRef = "appSecretRef: {name: shop-app}"
)

// P9: bad input is refused with a sentence that says what is wrong.
func TestBadInputIsRefused(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 300)
	cases := map[string]struct {
		manifest string
		want     string // part of the refusal
	}{
		"AppIDMissing":       {shop(goodRef), "set appID and appSecretRef"},
		"AppIDEmpty":         {shop(`appID: ""`, goodRef), "appID must be wx followed by 16 lower-case hex digits"},
		"AppIDShort":         {shop("appID: wx0123", goodRef), "appID must be wx followed by 16 lower-case hex digits"},
		"AppIDUpperCase":     {shop("appID: wx0123456789ABCDEF", goodRef), "appID must be wx followed by 16 lower-case hex digits"},
		"AppIDWithLineFeed":  {shop(`appID: "wx0123456789abcdef\n"`, goodRef), "appID must be wx followed by 16 lower-case hex digits"},
		"ReferenceMissing":   {shop(goodID), "set appID and appSecretRef"},
		"ReferenceEmpty":     {shop(goodID, "appSecretRef: {}"), "spec.appSecretRef.name: Required value"},
		"ReferenceNoName":    {shop(goodID, `appSecretRef: {name: ""}`), "spec.appSecretRef.name"},
		"ReferenceBadName":   {shop(goodID, "appSecretRef: {name: Shop_App}"), "name must be a valid Secret name"},
		"ReferenceLongName":  {shop(goodID, "appSecretRef: {name: "+long+"}"), "Too long"},
		"ReferenceBadKey":    {shop(goodID, `appSecretRef: {name: shop-app, key: "a/b"}`), "key must be a valid Secret key"},
		"ReferenceDotsKey":   {shop(goodID, `appSecretRef: {name: shop-app, key: "..x"}`), "key must be a valid Secret key"},
		"ModeUnknown":        {shop(goodID, goodRef, "mode: Fancy"), `Unsupported value: "Fancy"`},
		"TargetIsTheSource":  {shop(goodID, goodRef, "secret: {name: shop-app}"), "the token must not go into the Secret that holds the AppSecret"},
		"DefaultIsTheSource": {shop(goodID, "appSecretRef: {name: shop}"), "the token must not go into the Secret that holds the AppSecret"},
		"TargetBadName":      {shop(goodID, goodRef, "secret: {name: -x}"), "name must be a valid Secret name"},
		"KeyBad":             {shop(goodID, goodRef, `secret: {keys: {accessToken: "a b"}}`), "a key must be a valid Secret key"},
		"KeyEmpty":           {shop(goodID, goodRef, `secret: {keys: {accessToken: ""}}`), "secret.keys.accessToken"},
		"KeysEqual":          {shop(goodID, goodRef, "secret: {keys: {accessToken: x, expiresAt: x}}"), "keys must differ from each other"},
		"KeyEqualsDefault":   {shop(goodID, goodRef, "secret: {keys: {expiresAt: access_token}}"), "keys must differ from each other"},
		"KeyEqualsAppID":     {shop(goodID, goodRef, "secret: {keys: {accessToken: appid}}"), "keys must differ from each other"},
		"KeyEqualsTicket":    {shop(goodID, goodRef, "secret: {keys: {accessToken: jsapi_ticket}}"), "keys must differ from each other"},
		"TicketKeysEqual":    {shop(goodID, goodRef, "tickets: [JSAPI, WxCard]", "secret: {keys: {jsapiTicket: x, wxCardTicketExpiresAt: x}}"), "keys must differ from each other"},
		"TicketUnknown":      {shop(goodID, goodRef, "tickets: [jsapi]"), `Unsupported value: "jsapi"`},
		"TicketTwice":        {shop(goodID, goodRef, "tickets: [JSAPI, JSAPI]"), "Duplicate value"},
		"OurLabel":           {shop(goodID, goodRef, `secret: {labels: {wechattoken.io/x: "1"}}`), "labels with the prefix wechattoken.io/"},
		"OurManagedBy":       {shop(goodID, goodRef, "secret: {labels: {app.kubernetes.io/managed-by: me}}"), "app.kubernetes.io/managed-by belong to the operator"},
		"OurAnnotation":      {shop(goodID, goodRef, `secret: {annotations: {wechattoken.io/expires-at: "2100-01-01T00:00:00Z"}}`), "annotations with the prefix wechattoken.io/"},
		"LabelKeyBad":        {shop(goodID, goodRef, `secret: {labels: {"a b": x}}`), "each label key must be a valid one"},
		"LabelKeyLong":       {shop(goodID, goodRef, "secret: {labels: {"+strings.Repeat("a", 64)+": x}}"), "each label key must be a valid one"},
		"LabelPrefixLong":    {shop(goodID, goodRef, "secret: {labels: {"+strings.Repeat("a", 254)+"/x: z}}"), "each label key must be a valid one"},
		"LabelValueBad":      {shop(goodID, goodRef, `secret: {labels: {team: "a b"}}`), "each label value must be empty or letters"},
		"LabelValueLong":     {shop(goodID, goodRef, "secret: {labels: {team: "+strings.Repeat("a", 64)+"}}"), "Too long"},
		"AnnotationKeyBad":   {shop(goodID, goodRef, `secret: {annotations: {"a b": x}}`), "each annotation key must be a valid one"},
		"AnnotationTooLong":  {shop(goodID, goodRef, "secret: {annotations: {note: "+strings.Repeat("a", 4097)+"}}"), "Too long"},
		"AllTooLarge":        {shop(goodID, goodRef, "secret: {labels: {a: b}, annotations: {note: "+strings.Repeat("a", 4096-1-1-4+1)+"}}"), "at most 4096 bytes together"},
		"AllTooLargeInBytes": {shop(goodID, goodRef, "secret: {annotations: {note: "+strings.Repeat("今", 1365)+"}}"), "at most 4096 bytes together"},
		"BeforeWithStable":   {shop(goodID, goodRef, "mode: Stable", "refreshBefore: 10m"), "refreshBefore is for mode Classic only"},
		"BeforeWithDefault":  {shop(goodID, goodRef, "refreshBefore: 10m"), "refreshBefore is for mode Classic only"},
		"CheckTooShort":      {shop(goodID, goodRef, "checkInterval: 29s"), "checkInterval must be 0s, or a duration from 30s to 1h"},
		"CheckTooLong":       {shop(goodID, goodRef, "checkInterval: 1h1s"), "checkInterval must be 0s, or a duration from 30s to 1h"},
		"CheckNoDuration":    {shop(goodID, goodRef, "mode: Classic", "checkInterval: soon"), "checkInterval must be 0s, or a duration from 30s to 1h"},
		"CheckClassic":       {shop(goodID, goodRef, "mode: Classic", "checkInterval: 299s"), "checkInterval must be 0s or at least 5m in mode Classic"},
		"ForcedUnknown":      {shop(goodID, goodRef, "forcedRefresh: Sometimes"), "supported values"},
		"CallsStable":        {shop(goodID, goodRef, "classicCallsPerDay: 200"), "classicCallsPerDay is for mode Classic only"},
		"CallsFew":           {shop(goodID, goodRef, "mode: Classic", "classicCallsPerDay: 19"), "greater than or equal to 20"},
		"BeforeTooShort":     {shop(goodID, goodRef, "mode: Classic", "refreshBefore: 59s"), "refreshBefore must be a duration from 1m to 60m"},
		"BeforeTooLong":      {shop(goodID, goodRef, "mode: Classic", "refreshBefore: 1h1s"), "refreshBefore must be a duration from 1m to 60m"},
		"BeforeNegative":     {shop(goodID, goodRef, "mode: Classic", "refreshBefore: -10m"), "refreshBefore must be a duration from 1m to 60m"},
		"BeforeNoDuration":   {shop(goodID, goodRef, "mode: Classic", "refreshBefore: soon"), "refreshBefore must be a duration from 1m to 60m"},
		"BeforeNoUnit":       {shop(goodID, goodRef, "mode: Classic", `refreshBefore: "600"`), "refreshBefore must be a duration from 1m to 60m"},
		"PropagationUnknown": {shop(goodID, goodRef, "propagation: Push"), `Unsupported value: "Push"`},
		"RestartEmpty":       {shop(goodID, goodRef, "restart: {}"), "spec.restart.workloads: Required value"},
		"RestartOfNothing":   {shop(goodID, goodRef, "restart: {workloads: []}"), "spec.restart.workloads"},
		"RestartOfTooMany":   {shop(goodID, goodRef, "restart: {workloads: ["+strings.Repeat("{kind: Deployment}, ", 17)+"]}"), "must have at most 16 items"},
		"RestartNoKind":      {shop(goodID, goodRef, "restart: {workloads: [{name: shop}]}"), "kind: Required value"},
		"RestartOtherKind":   {shop(goodID, goodRef, "restart: {workloads: [{kind: Job}]}"), "kind must be Deployment, StatefulSet or DaemonSet; give the apiVersion"},
		"RestartOfApps":      {shop(goodID, goodRef, "restart: {workloads: [{apiVersion: apps/v1, kind: ReplicaSet, method: Eviction}]}"), "kind must be Deployment, StatefulSet or DaemonSet; give the apiVersion"},
		"RestartByRollout":   {shop(goodID, goodRef, "restart: {workloads: [{apiVersion: argoproj.io/v1alpha1, kind: Rollout, method: Rollout}]}"), "method must be Eviction"},
		"RestartNoMethod":    {shop(goodID, goodRef, "restart: {workloads: [{apiVersion: argoproj.io/v1alpha1, kind: Rollout}]}"), "method must be Eviction"},
		"RestartSelects":     {shop(goodID, goodRef, "restart: {workloads: [{apiVersion: argoproj.io/v1alpha1, kind: Rollout, method: Eviction, selector: {matchLabels: {a: a}}}]}"), "selector is for Deployments"},
		"RestartBadVersion":  {shop(goodID, goodRef, "restart: {workloads: [{apiVersion: argoproj.io, kind: Rollout, method: Eviction}]}"), "apiVersion"},
		"RestartBadKind":     {shop(goodID, goodRef, "restart: {workloads: [{apiVersion: argoproj.io/v1, kind: rollouts, method: Eviction}]}"), "kind"},
		"RestartMethod":      {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, method: Delete}]}"), `Unsupported value: "Delete"`},
		"RestartBadName":     {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, name: Shop_A}]}"), "name must be a valid name of a workload"},
		"RestartNameAndAll":  {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, name: shop, selector: {matchLabels: {app: shop}}}]}"), "name and selector exclude each other"},
		"RestartNoLabels":    {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, selector: {}}]}"), "matchLabels: Required value"},
		"RestartEmptyLabels": {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, selector: {matchLabels: {}}}]}"), "should have at least 1 properties"},
		"RestartBadLabel":    {shop(goodID, goodRef, `restart: {workloads: [{kind: Deployment, selector: {matchLabels: {"a b": x}}}]}`), "each label key must be a valid one"},
		"RestartBadValue":    {shop(goodID, goodRef, `restart: {workloads: [{kind: Deployment, selector: {matchLabels: {app: "a b"}}}]}`), "each label value must be empty or letters"},
		"RestartExpressions": {shop(goodID, goodRef, `restart: {workloads: [{kind: Deployment, selector: {matchExpressions: []}}]}`), "unknown field"},
		"RestartManyLabels":  {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, selector: {matchLabels: {a: a, b: b, c: c, d: d, e: e}}}]}"), "must have at most 4 items"},
		"NoAccount":          {shop("secret: {name: shop-token}"), "set appID and appSecretRef, or sourceRef"},
		"SourceAndAccount":   {shop(goodID, goodRef, "sourceRef: {namespace: platform, name: shop}"), "with sourceRef the account is that of the source"},
		"SourceAndMode":      {shop("sourceRef: {namespace: platform, name: shop}", "mode: Classic"), "with sourceRef the account is that of the source"},
		"SourceAndChecks":    {shop("sourceRef: {namespace: platform, name: shop}", "checkInterval: 1m"), "with sourceRef the account is that of the source"},
		"SourceAndForced":    {shop("sourceRef: {namespace: platform, name: shop}", "forcedRefresh: Never"), "with sourceRef the account is that of the source"},
		"SourceOfOthers":     {shop("sourceRef: {namespace: platform, name: shop}", "allowedNamespaces: [web]"), "allowedNamespaces is for a WeChatToken that has the AppSecret"},
		"SourceNoNamespace":  {shop("sourceRef: {name: shop}"), "namespace: Required value"},
		"SourceBadNamespace": {shop("sourceRef: {namespace: a.b, name: shop}"), "namespace must be a valid name of a namespace"},
		"SourceBadName":      {shop("sourceRef: {namespace: platform, name: Shop}"), "name must be a valid name of a WeChatToken"},
		"AllowedBad":         {shop(goodID, goodRef, "allowedNamespaces: [web-*]"), "each of allowedNamespaces must be a name of a namespace, or *"},
		"AllowedTwice":       {shop(goodID, goodRef, "allowedNamespaces: [web, web]"), "Duplicate value"},
		"AllowedMany":        {shop(goodID, goodRef, "allowedNamespaces: ["+strings.Repeat("a, ", 65)+"]"), "must have at most 64 items"},
		"UnknownField":       {shop(goodID, goodRef, "appSecret: oops"), `unknown field "spec.appSecret"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := admit(t, tc.manifest)
			if !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
				t.Fatalf("got %v, want a refusal", err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("refused with\n%v\nwant in it\n%s", err, tc.want)
			}
		})
	}
}

func TestGoodInputIsAccepted(t *testing.T) {
	t.Parallel()
	// The keys that cost most to compare.
	var longest []string
	for i, key := range []string{"accessToken", "expiresAt", "obtainedAt", "appID", "jsapiTicket", "jsapiTicketExpiresAt", "wxCardTicket", "wxCardTicketExpiresAt"} {
		longest = append(longest, fmt.Sprintf("%s: %s%d", key, strings.Repeat("k", 252), i))
	}
	cases := map[string]string{
		"Least":            shop(goodID, goodRef),
		"Stable":           shop(goodID, goodRef, "mode: Stable"),
		"Classic":          shop(goodID, goodRef, "mode: Classic"),
		"CheckShortest":    shop(goodID, goodRef, "checkInterval: 30s"),
		"CheckNever":       shop(goodID, goodRef, "checkInterval: 0s"),
		"CheckLongest":     shop(goodID, goodRef, "mode: Classic", "checkInterval: 60m"),
		"CheckClassic":     shop(goodID, goodRef, "mode: Classic", "checkInterval: 5m"),
		"CallsTestAccount": shop(goodID, goodRef, "mode: Classic", "classicCallsPerDay: 200"),
		"ForcedNever":      shop(goodID, goodRef, "forcedRefresh: Never"),
		"BeforeShortest":   shop(goodID, goodRef, "mode: Classic", "refreshBefore: 1m"),
		"BeforeLongest":    shop(goodID, goodRef, "mode: Classic", "refreshBefore: 60m"),
		"BeforeCompound":   shop(goodID, goodRef, "mode: Classic", "refreshBefore: 10m30s"),
		"AllOfTheSecret":   shop(goodID, "appSecretRef: {name: shop-app, key: APP_SECRET}", `secret: {name: shop.token, keys: {accessToken: WECHAT_TOKEN, expiresAt: WECHAT_EXPIRES, obtainedAt: at, appID: id}, labels: {example.com/team: shop, empty: ""}, annotations: {example.com/note: "a note, with spaces"}}`),
		"SwappedKeys":      shop(goodID, goodRef, "secret: {keys: {accessToken: expires_at, expiresAt: access_token}}"),
		"Touch":            shop(goodID, goodRef, "propagation: Touch"),
		"Watch":            shop(goodID, goodRef, "propagation: Watch"),
		"Restart":          shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, name: shop}, {kind: StatefulSet, selector: {matchLabels: {app: shop, empty: \"\"}}}, {kind: DaemonSet}]}"),
		"Source":           shop("sourceRef: {namespace: platform, name: shop.eu}", "tickets: [JSAPI]", "propagation: Touch", "secret: {name: shop-token}"),
		"Allowed":          shop(goodID, goodRef, "allowedNamespaces: [web, pay]"),
		"AllowedAll":       shop(goodID, goodRef, `allowedNamespaces: ["*"]`),
		"Evictions":        shop(goodID, goodRef, "restart: {workloads: [{apiVersion: apps/v1, kind: Deployment, method: Eviction, selector: {matchLabels: {app: shop}}}, {apiVersion: argoproj.io/v1alpha1, kind: Rollout, method: Eviction}, {apiVersion: v1, kind: ReplicationController, name: shop, method: Eviction}]}"),
		"Tickets":          shop(goodID, goodRef, "tickets: [WxCard, JSAPI]"),
		"NoTickets":        shop(goodID, goodRef, "tickets: []"),
		"TicketKeys":       shop(goodID, goodRef, "tickets: [JSAPI]", "secret: {keys: {jsapiTicket: jsapi, jsapiTicketExpiresAt: jsapi-until, wxCardTicket: jsapi_ticket, wxCardTicketExpiresAt: card}}"),
		"LongestKeys":      shop(goodID, goodRef, "secret: {keys: {"+strings.Join(longest, ", ")+"}}"),
		"Suspended":        shop(goodID, goodRef, "suspend: true"),
		"FreedDefaultKey":  shop(goodID, goodRef, "secret: {keys: {accessToken: token, appID: access_token}}"),
	}
	for name, manifest := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := admit(t, manifest); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a GitOps tool applied is what it finds: only the mode is filled in. And
// a new object does not look finished to kstatus.
func TestOnlyTheModeIsDefaulted(t *testing.T) {
	t.Parallel()
	got, err := admit(t, shop(goodID, goodRef, "secret: {keys: {accessToken: token}}"))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"spec": map[string]any{
			"appID":        "wx0123456789abcdef",
			"appSecretRef": map[string]any{"name": "shop-app"},
			"mode":         "Stable",
			"secret":       map[string]any{"keys": map[string]any{"accessToken": "token"}},
		},
		"status": map[string]any{"observedGeneration": int64(-1)},
	}
	if diff := cmp.Diff(want, map[string]any{"spec": got.Object["spec"], "status": got.Object["status"]}); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// Who may write a WeChatToken and no Secret gets no other controller to act on one.
func TestLabelsAndAnnotationsOfOtherControllersAreRefused(t *testing.T) {
	t.Parallel()
	keys := []string{
		"reflector.v1.k8s.emberstack.com/reflection-auto-enabled", "replicator.v1.mittwald.de/replicate-to", "secret-generator.v1.mittwald.de/autogenerate",
		"kubed.appscode.com/sync", "synator/sync", "replizieren.dev/replicate", "secret-copier.deckhouse.io/enabled", "clustersecret.io/version",
		"argocd.argoproj.io/secret-type", "kargo.akuity.io/cred-type", "kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name",
		"fluxcd.io/ignore", "kapp.k14s.io/app", "secretgen.carvel.dev/image-pull-secret", "tekton.dev/git-0", "jenkins.io/credentials-type",
		"meta.helm.sh/release-name", "helm.sh/resource-policy", "sealedsecrets.bitnami.com/sealed-secrets-key", "cert-manager.io/allow-direct-injection",
		"kubernetes.io/service-account.name", "app.kubernetes.io.kubernetes.io/x", "node.kubernetes.io/x", "k8s.io/x", "secrets-store.csi.k8s.io/managed",
		"x-k8s.io/x", "cluster.x-k8s.io/cluster-name", "propagate.hnc.x-k8s.io/all", "istio/multiCluster", "topology.istio.io/network",
		"external-secrets.io/x", "reconcile.external-secrets.io/managed", "secrets.hashicorp.com/x", "vault.security.banzaicloud.io/vault-role",
		"operator.1password.io/item-path", "secrets.doppler.com/reload", "secrets.infisical.com/auto-reload", "velero.io/exclude-from-backup",
		"cattle.io/x", "field.cattle.io/projectId", "generate.kyverno.io/clone-source", "konfigure.giantswarm.io/x",
		"open-cluster-management.io/x", "resourcetemplate.karmada.io/name", "config.kubesphere.io/type", "cluster.core.oam.dev/cluster-credential-type",
		"controller.devfile.io/mount-to-devworkspace", "common.k8s.elastic.co/type", "strimzi.io/cluster", "liqo.io/identity-type",
	}
	free := []string{
		"team", "kubernetes.io", "example.com/team", "app.kubernetes.io/name", "app.kubernetes.io/part-of", "reloader.stakater.com/match",
		"mykubernetes.io/x", "kubernetes.io.example.com/x", "example.com/kubernetes.io", "k8s-io/x", "mysynator/x",
	}
	try := func(field, key string) error {
		_, err := admit(t, shop(goodID, goodRef, fmt.Sprintf(`secret: {%s: {"%s": "x"}}`, field, key)))
		return err
	}
	for _, field := range []string{"labels", "annotations"} {
		for _, key := range keys {
			if err := try(field, key); err == nil || !strings.Contains(err.Error(), "labels and annotations that other controllers act on are refused") {
				t.Errorf("%s: %s: got %v, want a refusal", field, key, err)
			}
		}
		for _, key := range free {
			if err := try(field, key); err != nil {
				t.Errorf("%s: %s: %v", field, key, err)
			}
		}
	}
}

// maxSpec is how large a spec can be, in bytes of JSON: the memory of the operator
// grows by the number of WeChatTokens, which a ResourceQuota bounds, and not by what
// stands in one.
const maxSpec = 48 << 10

func TestTheLargestSpecIsSmall(t *testing.T) {
	t.Parallel()
	name := func(first string) string { return first + strings.Repeat("n", 252) }
	key := func(i int) string {
		return fmt.Sprintf("%03d%s/%s", i, strings.Repeat("k", 250), strings.Repeat("k", 63))
	}
	value := v1alpha1.LabelValue(strings.Repeat("v", 63))
	secretKey := func(first string) v1alpha1.SecretKey { return v1alpha1.SecretKey(name(first)) }
	wt := v1alpha1.WeChatToken{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.Kind},
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: v1alpha1.WeChatTokenSpec{
			AppID: "wx0123456789abcdef", Mode: v1alpha1.ModeClassic, Propagation: v1alpha1.PropagationWatch, Suspend: true,
			AppSecretRef:  v1alpha1.AppSecretReference{Name: name("a"), Key: name("a")},
			RefreshBefore: &metav1.Duration{Duration: 59*time.Minute + 59*time.Second},
			CheckInterval: &metav1.Duration{Duration: 59*time.Minute + 59*time.Second}, ForcedRefresh: v1alpha1.ForcedRefreshAllowed, ClassicCallsPerDay: 1_000_000,
			Tickets: []v1alpha1.TicketType{v1alpha1.TicketJSAPI, v1alpha1.TicketWxCard},
			Secret: &v1alpha1.TokenSecret{
				Name:   name("t"),
				Labels: map[string]v1alpha1.LabelValue{}, Annotations: map[string]v1alpha1.AnnotationValue{},
				Keys: &v1alpha1.SecretKeys{
					AccessToken: secretKey("1"), ExpiresAt: secretKey("2"), ObtainedAt: secretKey("3"), AppID: secretKey("4"),
					JSAPITicket: secretKey("5"), JSAPITicketExpiresAt: secretKey("6"), WxCardTicket: secretKey("7"), WxCardTicketExpiresAt: secretKey("8"),
				},
			},
		},
	}
	for i := range 32 { // many short ones: what is between them counts, too
		wt.Spec.Secret.Labels[fmt.Sprintf("%02d", i)] = value
		wt.Spec.Secret.Annotations[fmt.Sprintf("%02d", i)] = v1alpha1.AnnotationValue(value[:61])
	}
	for range 16 {
		labels := map[string]v1alpha1.LabelValue{}
		for i := range 4 {
			labels[key(i)] = value
		}
		wt.Spec.Restart.Workloads = append(wt.Spec.Restart.Workloads, v1alpha1.RestartTarget{Kind: v1alpha1.KindStatefulSet, Selector: v1alpha1.WorkloadSelector{MatchLabels: labels}})
	}
	manifest, err := yaml.Marshal(wt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admit(t, string(manifest)); err != nil {
		t.Fatalf("it is not valid: %.2000s", err)
	}
	spec, err := json.Marshal(wt.Spec)
	if err != nil {
		t.Fatal(err)
	}
	if len(spec) > maxSpec || len(spec) < maxSpec/2 {
		t.Errorf("the largest spec has %d bytes, want at most %d, and this one to be large", len(spec), maxSpec)
	}
	t.Logf("the largest spec has %d bytes", len(spec))
}
