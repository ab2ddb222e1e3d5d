//go:build integration

package config_test

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/record"
)

const secretsPolicy = "ValidatingAdmissionPolicy '" + name + "-secrets' with binding '" + name + "-secrets' denied request: "

// ownedBy is a Secret that has the owner, and something of everything.
func ownedBy(namespace string, owners ...metav1.OwnerReference) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "token", Namespace: namespace, OwnerReferences: owners},
		Type:       corev1.SecretTypeOpaque, Data: map[string][]byte{"k": []byte("v")},
	}
}

// controller is the reference to a WeChatToken that controls its Secret.
func controller() metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "wechattoken.io/v1alpha1", Kind: "WeChatToken", Name: "shop", UID: "5b1ad7a1-8a39-4dbd-a7b6-92dbb3a8e2b7", Controller: new(true)}
}

// What RBAC cannot say of Secrets the policy does.
func TestTheOperatorWritesNoSecretButThoseOfWeChatTokens(t *testing.T) {
	t.Parallel()
	ns, admin := newNamespace(t), cluster.admin(t)
	as := func(change func(*metav1.OwnerReference)) metav1.OwnerReference {
		r := controller()
		change(&r)
		return r
	}
	stored := map[string]*corev1.Secret{
		"ours":           ownedBy(ns, controller()),
		"unowned":        ownedBy(ns),
		"another's":      ownedBy(ns, metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop", UID: "u", Controller: new(true)}),
		"orphan":         ownedBy(ns),
		"orphan-tls":     ownedBy(ns),
		"another-record": ownedBy(ns, metav1.OwnerReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "shop", UID: "u", Controller: new(true)}),
		"no-controller":  ownedBy(ns, as(func(r *metav1.OwnerReference) { r.Controller = nil })),
		"other-group":    ownedBy(ns, as(func(r *metav1.OwnerReference) { r.APIVersion = "wechattoken.io.example.com/v1" })),
		"other-kind":     ownedBy(ns, as(func(r *metav1.OwnerReference) { r.Kind = "WeChatTokenList" })),
		"tls":            ownedBy(ns, controller()),
	}
	for _, what := range []string{"tls", "orphan-tls"} {
		stored[what].Type, stored[what].Data = corev1.SecretTypeTLS, map[string][]byte{"tls.crt": nil, "tls.key": nil}
	}
	for _, what := range []string{"orphan", "orphan-tls", "another-record"} {
		stored[what].Annotations = map[string]string{record.Annotation: "{}"}
	}
	for what, s := range stored {
		s.Name = strings.ReplaceAll(what, "'", "-")
		if err := admin.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	born := func(change func(*corev1.Secret)) *corev1.Secret {
		s := ownedBy(ns, controller())
		s.Name = "born"
		change(s)
		return s
	}
	create := func(s *corev1.Secret) func(client.Client) error {
		return func(c client.Client) error { return c.Create(t.Context(), s.DeepCopy(), client.DryRunAll) }
	}
	patch := func(what, body string) func(client.Client) error {
		return func(c client.Client) error {
			return c.Patch(t.Context(), stored[what].DeepCopy(), merge(body), client.DryRunAll)
		}
	}
	apply := func(name, owners string) func(client.Client) error {
		return func(c client.Client) error {
			s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns}}
			body := fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":%q,"ownerReferences":[%s]},"data":{"k":"dw=="}}`, name, owners)
			return c.Patch(t.Context(), s, client.RawPatch("application/apply-patch+yaml", []byte(body)), client.DryRunAll, client.ForceOwnership, client.FieldOwner("manager"))
		}
	}
	remove := func(what string) func(client.Client) error {
		return func(c client.Client) error { return c.Delete(t.Context(), stored[what].DeepCopy(), client.DryRunAll) }
	}
	const (
		ref                     = `{"apiVersion":"wechattoken.io/v1alpha1","kind":"WeChatToken","name":"shop","uid":"5b1ad7a1-8a39-4dbd-a7b6-92dbb3a8e2b7","controller":true}`
		stolen                  = `{"apiVersion":"wechattoken.io/v1alpha1","kind":"WeChatToken","name":"evil","uid":"0d9c7e52-51a5-4a5e-8a55-0d6c9f6a3c11","controller":true}`
		writes, changes, leaves = "writes no Secret but", "changes and deletes no Secret but", "leaves a Secret to"
	)
	serviceAccountToken := func(s *corev1.Secret) {
		s.Namespace, s.Type, s.Data = "kube-system", corev1.SecretTypeServiceAccountToken, nil
		s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "generic-garbage-collector"}
	}
	bad := map[string]struct {
		reason string
		try    func(client.Client) error
		want   string
	}{
		"AServiceAccount":               {"It would get a token of that account.", create(born(func(s *corev1.Secret) { serviceAccountToken(s); s.OwnerReferences = nil })), writes},
		"AServiceAccountOfAWeChatToken": {"An owner makes it no better.", create(born(serviceAccountToken)), writes},
		"ABootstrapToken": {"It would let a node join.", create(born(func(s *corev1.Secret) {
			s.Namespace, s.Name, s.Type = "kube-system", "bootstrap-token-abcdef", corev1.SecretTypeBootstrapToken
			s.Data = map[string][]byte{"token-id": []byte("abcdef"), "token-secret": []byte("0123456789abcdef")}
		})), writes},
		"AnotherType":         {"It is of no type of ours.", create(born(func(s *corev1.Secret) { s.Type = "example.com/own" })), writes},
		"Unowned":             {"Nothing would ever delete it.", create(born(func(s *corev1.Secret) { s.OwnerReferences = nil })), writes},
		"NotControlled":       {"An owner is not the controller.", create(born(func(s *corev1.Secret) { s.OwnerReferences[0].Controller = nil })), writes},
		"NotOfOurGroup":       {"A group that begins alike is another's.", create(born(func(s *corev1.Secret) { s.OwnerReferences[0].APIVersion = "wechattoken.io.example.com/v1" })), writes},
		"NotOfOurKind":        {"A kind that begins alike is another.", create(born(func(s *corev1.Secret) { s.OwnerReferences[0].Kind = "WeChatTokenList" })), writes},
		"AppliedUnowned":      {"Server-side apply creates, too.", apply("born", ""), writes},
		"ChangeUnowned":       {"It is a person's.", patch("unowned", `{"data":{"k":"dw=="}}`), changes},
		"ChangeAnothers":      {"It is another controller's.", patch("another's", `{"data":{"k":"dw=="}}`), changes},
		"ChangeTLS":           {"The operator makes none of this type.", patch("tls", `{"data":{"k":"dw=="}}`), changes},
		"Adopt":               {"To call it one's own does not make it so.", patch("unowned", `{"metadata":{"ownerReferences":[`+ref+`]},"data":{"k":"dw=="}}`), changes},
		"AdoptByApply":        {"To call it one's own does not make it so.", apply("unowned", ref), changes},
		"AdoptTLS":            {"The operator has made none of this type.", patch("orphan-tls", `{"metadata":{"ownerReferences":[`+ref+`]},"data":{"k":"dw=="}}`), changes},
		"AdoptAnothers":       {"Another controller has it.", patch("another-record", `{"data":{"k":"dw=="}}`), changes},
		"AdoptForNobody":      {"Nothing would ever delete it.", patch("orphan", `{"data":{"k":"dw=="}}`), writes},
		"DeleteOrphan":        {"It is taken over, or left alone.", remove("orphan"), changes},
		"BecomeTheOwner":      {"To call it one's own does not make it so.", patch("no-controller", `{"metadata":{"ownerReferences":[`+ref+`]}}`), changes},
		"ChangeOtherGroup":    {"A group that begins alike is another's.", patch("other-group", `{"data":{"k":"dw=="}}`), changes},
		"ChangeOtherKind":     {"A kind that begins alike is another.", patch("other-kind", `{"data":{"k":"dw=="}}`), changes},
		"ChangeTheOwner":      {"It would go with another.", patch("ours", `{"metadata":{"ownerReferences":[`+stolen+`]}}`), leaves},
		"DropTheOwner":        {"Nothing would ever delete it.", patch("ours", `{"metadata":{"ownerReferences":null}}`), writes},
		"DropTheController":   {"An owner is not the controller.", patch("ours", `{"metadata":{"ownerReferences":[`+strings.Replace(ref, ":true", ":false", 1)+`]}}`), writes},
		"DeleteUnowned":       {"It is a person's.", remove("unowned"), changes},
		"DeleteAnothers":      {"It is another controller's.", remove("another's"), changes},
		"DeleteNotControlled": {"An owner is not the controller.", remove("no-controller"), changes},
		"DeleteTLS":           {"The operator makes none of this type.", remove("tls"), changes},
	}
	good := map[string]func(client.Client) error{
		"Create": create(born(func(*corev1.Secret) {})),
		"CreateBesideAnOwner": create(born(func(s *corev1.Secret) {
			s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "more", UID: "u"})
		})),
		"Apply":       apply("born", ref),
		"ApplyAgain":  apply("ours", ref),
		"Change":      patch("ours", `{"data":{"k":"dw=="}}`),
		"NextVersion": patch("ours", `{"metadata":{"ownerReferences":[`+strings.Replace(ref, "v1alpha1", "v1", 1)+`]}}`),
		"AdoptOrphan": apply("orphan", ref),
		"Delete":      remove("ours"),
	}
	operator := clientFor(t, cluster.serviceAccount(t, name, name))
	elsewhere := rest.CopyConfig(cluster.Config)
	elsewhere.Impersonate = rest.ImpersonationConfig{UserName: "system:serviceaccount:another:" + name, Groups: []string{"system:masters"}}
	for who, c := range map[string]client.Client{"Operator": operator, "Elsewhere": clientFor(t, elsewhere)} {
		for what, tc := range bad {
			t.Run(who+"/"+what, func(t *testing.T) {
				t.Parallel()
				if err := tc.try(c); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), secretsPolicy) || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s\ngot %v, want a refusal with %q", tc.reason, err, tc.want)
				}
			})
		}
		for what, try := range good {
			if err := try(c); err != nil {
				t.Errorf("%s may not %s: %v", who, what, err)
			}
		}
	}
	for what, tc := range bad {
		if err := tc.try(admin); err != nil {
			t.Errorf("an administrator may not %s: %v", what, err)
		}
	}
	// RBAC does not give it, and where somebody does the policy asks for each Secret.
	if err := operator.DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace(ns)); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), " cannot deletecollection ") {
		t.Errorf("delete all: got %v, want a refusal by RBAC", err)
	}
	if err := clientFor(t, elsewhere).DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace(ns), client.DryRunAll); err == nil || !strings.Contains(err.Error(), secretsPolicy) {
		t.Errorf("delete all, where RBAC allows it: got %v, want a refusal by the policy", err)
	}
}
