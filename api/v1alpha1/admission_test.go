package v1alpha1_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/testcluster"
)

// plane is the API server of these tests.
var plane *testcluster.Cluster

func TestMain(m *testing.M) {
	os.Exit(func() int {
		var err error
		if plane, err = testcluster.Start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer plane.Stop() //nolint:errcheck // the tests have their result by now
		return m.Run()
	}())
}

// admit shows a WeChatToken to the API server, which does not keep it.
func admit(t *testing.T, manifest string) (*unstructured.Unstructured, error) {
	t.Helper()
	c, err := dynamic.NewForConfig(plane.Config)
	if err != nil {
		t.Fatal(err)
	}
	var obj unstructured.Unstructured
	if err := yaml.UnmarshalStrict([]byte(manifest), &obj.Object); err != nil {
		t.Fatal(err)
	}
	return c.Resource(v1alpha1.GroupVersion.WithResource("wechattokens")).Namespace("default").
		Create(context.Background(), &obj, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
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
	long := strings.Repeat("a", 300)
	cases := map[string]struct {
		manifest string
		want     string // part of the refusal
	}{
		"AppIDMissing":       {shop(goodRef), "spec.appID: Required value"},
		"AppIDEmpty":         {shop(`appID: ""`, goodRef), "appID must be wx followed by 16 lower-case hex digits"},
		"AppIDShort":         {shop("appID: wx0123", goodRef), "appID must be wx followed by 16 lower-case hex digits"},
		"AppIDUpperCase":     {shop("appID: wx0123456789ABCDEF", goodRef), "appID must be wx followed by 16 lower-case hex digits"},
		"AppIDWithLineFeed":  {shop(`appID: "wx0123456789abcdef\n"`, goodRef), "appID must be wx followed by 16 lower-case hex digits"},
		"ReferenceMissing":   {shop(goodID), "spec.appSecretRef: Required value"},
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
		"RestartOtherKind":   {shop(goodID, goodRef, "restart: {workloads: [{kind: Job}]}"), `Unsupported value: "Job"`},
		"RestartBadName":     {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, name: Shop_A}]}"), "name must be a valid name of a workload"},
		"RestartNameAndAll":  {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, name: shop, selector: {matchLabels: {app: shop}}}]}"), "name and selector exclude each other"},
		"RestartNoLabels":    {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, selector: {}}]}"), "matchLabels: Required value"},
		"RestartEmptyLabels": {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, selector: {matchLabels: {}}}]}"), "should have at least 1 properties"},
		"RestartBadLabel":    {shop(goodID, goodRef, `restart: {workloads: [{kind: Deployment, selector: {matchLabels: {"a b": x}}}]}`), "each label key must be a valid one"},
		"RestartBadValue":    {shop(goodID, goodRef, `restart: {workloads: [{kind: Deployment, selector: {matchLabels: {app: "a b"}}}]}`), "each label value must be empty or letters"},
		"RestartExpressions": {shop(goodID, goodRef, `restart: {workloads: [{kind: Deployment, selector: {matchExpressions: []}}]}`), "unknown field"},
		"RestartManyLabels":  {shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, selector: {matchLabels: {a: a, b: b, c: c, d: d, e: e}}}]}"), "must have at most 4 items"},
		"UnknownField":       {shop(goodID, goodRef, "appSecret: oops"), `unknown field "spec.appSecret"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
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
	// The keys that cost most to compare.
	var longest []string
	for i, key := range []string{"accessToken", "expiresAt", "obtainedAt", "appID", "jsapiTicket", "jsapiTicketExpiresAt", "wxCardTicket", "wxCardTicketExpiresAt"} {
		longest = append(longest, fmt.Sprintf("%s: %s%d", key, strings.Repeat("k", 252), i))
	}
	cases := map[string]string{
		"Least":           shop(goodID, goodRef),
		"Stable":          shop(goodID, goodRef, "mode: Stable"),
		"Classic":         shop(goodID, goodRef, "mode: Classic"),
		"BeforeShortest":  shop(goodID, goodRef, "mode: Classic", "refreshBefore: 1m"),
		"BeforeLongest":   shop(goodID, goodRef, "mode: Classic", "refreshBefore: 60m"),
		"BeforeCompound":  shop(goodID, goodRef, "mode: Classic", "refreshBefore: 10m30s"),
		"AllOfTheSecret":  shop(goodID, "appSecretRef: {name: shop-app, key: APP_SECRET}", `secret: {name: shop.token, keys: {accessToken: WECHAT_TOKEN, expiresAt: WECHAT_EXPIRES, obtainedAt: at, appID: id}, labels: {example.com/team: shop, empty: ""}, annotations: {example.com/note: "a note, with spaces"}}`),
		"SwappedKeys":     shop(goodID, goodRef, "secret: {keys: {accessToken: expires_at, expiresAt: access_token}}"),
		"Touch":           shop(goodID, goodRef, "propagation: Touch"),
		"Watch":           shop(goodID, goodRef, "propagation: Watch"),
		"Restart":         shop(goodID, goodRef, "restart: {workloads: [{kind: Deployment, name: shop}, {kind: StatefulSet, selector: {matchLabels: {app: shop, empty: \"\"}}}, {kind: DaemonSet}]}"),
		"Tickets":         shop(goodID, goodRef, "tickets: [WxCard, JSAPI]"),
		"NoTickets":       shop(goodID, goodRef, "tickets: []"),
		"TicketKeys":      shop(goodID, goodRef, "tickets: [JSAPI]", "secret: {keys: {jsapiTicket: jsapi, jsapiTicketExpiresAt: jsapi-until, wxCardTicket: jsapi_ticket, wxCardTicketExpiresAt: card}}"),
		"LongestKeys":     shop(goodID, goodRef, "secret: {keys: {"+strings.Join(longest, ", ")+"}}"),
		"Suspended":       shop(goodID, goodRef, "suspend: true"),
		"FreedDefaultKey": shop(goodID, goodRef, "secret: {keys: {accessToken: token, appID: access_token}}"),
	}
	for name, manifest := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := admit(t, manifest); err != nil {
				t.Error(err)
			}
		})
	}
}

// What a GitOps tool applied is what it finds: only the mode is filled in. And
// a new object does not look finished to kstatus.
func TestOnlyTheModeIsDefaulted(t *testing.T) {
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

// kubectl explain is the manual: each field says what it is.
func TestEveryFieldIsExplained(t *testing.T) {
	out, err := plane.Kubectl("explain", "wechattoken", "--recursive").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, path := range []string{
		"spec", "spec.appID", "spec.appSecretRef", "spec.appSecretRef.name", "spec.appSecretRef.key", "spec.mode", "spec.secret",
		"spec.secret.name", "spec.secret.keys", "spec.secret.keys.accessToken", "spec.secret.keys.expiresAt", "spec.secret.keys.obtainedAt",
		"spec.secret.keys.appID", "spec.secret.keys.jsapiTicket", "spec.secret.keys.jsapiTicketExpiresAt", "spec.secret.keys.wxCardTicket",
		"spec.secret.keys.wxCardTicketExpiresAt", "spec.tickets", "status.tickets", "status.tickets.type", "status.tickets.expirationTime",
		"status.tickets.lastRefreshTime", "status.tickets.fingerprint", "status.tickets.lastError",
		"spec.secret.labels", "spec.secret.annotations", "spec.refreshBefore", "spec.suspend",
		"status", "status.observedGeneration", "status.conditions", "status.secretName", "status.expirationTime", "status.nextRefreshTime",
		"status.lastRefreshTime", "status.tokenFingerprint", "status.lastHandledRefreshAt", "status.lastError", "status.lastError.code",
		"spec.propagation", "spec.restart", "spec.restart.workloads", "spec.restart.workloads.kind", "spec.restart.workloads.name",
		"spec.restart.workloads.selector", "spec.restart.workloads.selector.matchLabels",
		"status.consumers", "status.consumers.kind", "status.consumers.name", "status.consumers.uses", "status.consumers.restartedBy",
		"status.lastError.message", "status.lastError.callerIP",
	} {
		out, err := plane.Kubectl("explain", "wechattoken."+path).CombinedOutput()
		_, text, found := strings.Cut(string(out), "DESCRIPTION:")
		if err != nil || !found || len(strings.Fields(text)) < 3 || strings.Contains(text, "<empty>") {
			t.Errorf("kubectl explain wechattoken.%s: %v\n%s", path, err, out)
		}
	}
}
