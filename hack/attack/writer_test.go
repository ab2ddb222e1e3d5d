//go:build integration

package attack

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

func TestOnlyAnAppSecretIsSent(t *testing.T) {
	t.Parallel()
	tried(t, writer, "appSecretRef names what is no AppSecret: a password, a key, 900 KB, in both modes")
	shop := newNamespace(t, "shop")
	who := as(t, writer, shop)
	var all []*v1alpha1.WeChatToken
	core := newAppSecret()[:20]
	others := map[string]string{
		"password": "hunter2-" + core, "tls-key": "-----BEGIN PRIVATE KEY-----\n" + core + "\n-----END PRIVATE KEY-----\n",
		"large": strings.Repeat(core, 45_000), "short": core + "01234567890", "long": core + "0123456789012",
		"two": core + "012345678901\n" + core + "012345678901", "no-hex": "g" + core + "01234567890", "quoted": `"` + core + `012345678901"`,
	}
	for name, value := range others {
		for _, mode := range []v1alpha1.Mode{v1alpha1.ModeStable, v1alpha1.ModeClassic} {
			wt := newWeChatToken(shop, name+"-"+strings.ToLower(string(mode)), newAppID())
			wt.Spec.Mode = mode
			weChat.AddAccount(wt.Spec.AppID, value)
			create(t, who, wt, value)
			all = append(all, wt)
		}
	}
	good := newWeChatToken(shop, "good", newAppID())
	create(t, who, good, weChat.newAccount(good.Spec.AppID)+"\n") // as an editor saves a file
	awaitReason(t, good, v1alpha1.ReasonTokenValid)
	for _, wt := range all {
		message := awaitReason(t, wt, v1alpha1.ReasonAppSecretInvalid, v1alpha1.ReasonTokenValid)
		if share(message, core) {
			t.Errorf("%s: the message tells the value: %s", wt.Name, message)
		}
		if len(weChat.sentFor(wt.Spec.AppID)) > 0 {
			t.Errorf("%s: it was sent to WeChat", wt.Name)
		}
	}
}

func TestForeignControllersAreNotCommanded(t *testing.T) {
	t.Parallel()
	tried(t, writer, "labels and annotations of the Secret that other controllers act on")
	shop := newNamespace(t, "shop")
	who := as(t, writer, shop)
	apply := func(labels map[string]v1alpha1.LabelValue, annotations map[string]v1alpha1.AnnotationValue) error {
		wt := newWeChatToken(shop, "commands", newAppID())
		wt.Spec.Secret = &v1alpha1.TokenSecret{Labels: labels, Annotations: annotations}
		return who.Create(t.Context(), wt, client.DryRunAll)
	}
	must(t, apply(map[string]v1alpha1.LabelValue{"team": "web"}, map[string]v1alpha1.AnnotationValue{"example.com/owner": "web"}))
	for _, label := range []string{"argocd.argoproj.io/secret-type", "sealedsecrets.bitnami.com/sealed-secrets-key"} {
		if err := apply(map[string]v1alpha1.LabelValue{label: "cluster"}, nil); !apierrors.IsInvalid(err) {
			t.Errorf("label %s: got %v, want a refusal", label, err)
		}
	}
	for _, annotation := range []string{"reflector.v1.k8s.emberstack.com/reflection-auto-enabled", "replicator.v1.mittwald.de/replicate-to"} {
		if err := apply(nil, map[string]v1alpha1.AnnotationValue{annotation: "true"}); !apierrors.IsInvalid(err) {
			t.Errorf("annotation %s: got %v, want a refusal", annotation, err)
		}
	}
}

func TestTheSpecHoldsNoLargeAnnotations(t *testing.T) {
	t.Parallel()
	tried(t, writer, "100 KB of annotations for the Secret")
	wt := newWeChatToken(newNamespace(t, "shop"), "large", newAppID())
	wt.Spec.Secret = &v1alpha1.TokenSecret{Annotations: map[string]v1alpha1.AnnotationValue{}}
	for i := range 25 {
		wt.Spec.Secret.Annotations[fmt.Sprintf("note-%d", i)] = v1alpha1.AnnotationValue(strings.Repeat("x", 4096))
	}
	if err := as(t, writer, wt.Namespace).Create(t.Context(), wt, client.DryRunAll); !apierrors.IsInvalid(err) {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestNewAppIDsAreCalledSlowly(t *testing.T) {
	const n = 150
	tried(t, writer, "%d WeChatTokens of new appids, created and deleted", n)
	shop, stranger := newNamespace(t, "shop"), newNamespace(t, "stranger")
	who := as(t, writer, shop)
	must(t, admin.Create(t.Context(), newSecret(shop, "app", map[string]string{"appsecret": newAppSecret()})))
	delaysNobody(t, func() {
		inParallel(t, "WeChatTokens", n, func(i int) error {
			wt := newWeChatToken(shop, fmt.Sprintf("new-%d", i), fmt.Sprintf("wx%016x", 0xabc000+i))
			wt.Spec.AppSecretRef.Name = "app"
			if err := who.Create(t.Context(), wt); err != nil || i%2 == 0 {
				return err
			}
			time.Sleep(50 * time.Millisecond)
			return who.Delete(t.Context(), wt)
		})
	})
	timeToToken(t, stranger)
	calls := slices.DeleteFunc(weChat.Calls(), func(c wechattest.Call) bool {
		return !strings.HasPrefix(c.AppID, "wx0000000000abc")
	})
	if len(calls) == 0 {
		t.Fatal("WeChat was not asked at all")
	}
	t.Logf("%d calls in %s", len(calls), calls[len(calls)-1].At.Sub(calls[0].At).Round(time.Millisecond))
	for i, c := range calls {
		if since := c.At.Sub(calls[0].At); i+1 > 60+5*int(since/time.Second+1) {
			t.Fatalf("%d calls for new appids within %s, want some 50, and 5 more each second", i+1, since)
		}
	}
}

func TestASecretStaysWithItsHolder(t *testing.T) {
	t.Parallel()
	tried(t, writer, "an older WeChatToken that names the victim's Secret")
	shop := newNamespace(t, "shop")
	who := as(t, writer, shop)
	old := newWeChatToken(shop, "old", newAppID())
	create(t, who, old, weChat.newAccount(old.Spec.AppID))
	awaitReason(t, old, v1alpha1.ReasonTokenValid)
	time.Sleep(1100 * time.Millisecond) // creation times have whole seconds
	v := newVictim(t, shop)
	oldToken := secretOf(t, old.Namespace, old.Name).Data["access_token"]
	v.mu.Lock()
	v.foreign = string(oldToken)
	v.mu.Unlock()

	must(t, who.Patch(t.Context(), nameOf(old), merge(`{"spec":{"secret":{"name":"victim"}}}`)))
	awaitReason(t, old, v1alpha1.ReasonSecretConflict, v1alpha1.ReasonTokenValid)
	v.refresh(t)
	if s := secretOf(t, shop, "victim"); !metav1.IsControlledBy(s, v.WeChatToken) {
		t.Errorf("the Secret belongs to %v", s.OwnerReferences)
	}
}

func TestTheOlderClaimCountsWhileThereIsNoSecret(t *testing.T) {
	t.Parallel()
	tried(t, writer, "a younger WeChatToken with the victim's target, before there is a Secret")
	shop := newNamespace(t, "shop")
	who := as(t, writer, shop)
	var all []*v1alpha1.WeChatToken
	appSecret := newAppSecret()
	for _, name := range []string{"z-older", "a-younger"} {
		wt := newWeChatToken(shop, name, newAppID())
		wt.Spec.AppSecretRef.Name, wt.Spec.Secret = "app", &v1alpha1.TokenSecret{Name: "target"}
		weChat.AddAccount(wt.Spec.AppID, appSecret)
		must(t, who.Create(t.Context(), wt))
		all = append(all, wt)
		time.Sleep(1100 * time.Millisecond) // creation times have whole seconds
	}
	must(t, admin.Create(t.Context(), newSecret(shop, "app", map[string]string{"appsecret": appSecret})))
	awaitReason(t, all[0], v1alpha1.ReasonTokenValid)
	awaitReason(t, all[1], v1alpha1.ReasonSecretConflict)
	if s := secretOf(t, shop, "target"); !metav1.IsControlledBy(s, all[0]) {
		t.Errorf("the Secret belongs to %v", s.OwnerReferences)
	}
}

func TestASecretOfAPersonIsNoTarget(t *testing.T) {
	t.Parallel()
	tried(t, writer, "Secrets of others as targets: a person's, a ConfigMap's, 20 that a person makes at this moment")
	shop := newNamespace(t, "shop")
	who := as(t, writer, shop)
	precious := map[string]string{"access_token": "precious", "password": "precious"}
	theirs := newSecret(shop, "theirs", precious)
	theirs.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "payroll-database", UID: "5b1ad7a1-8a39-4dbd-a7b6-92dbb3a8e2b7", Controller: new(true)}}
	must(t, admin.Create(t.Context(), newSecret(shop, "persons", precious)))
	must(t, admin.Create(t.Context(), theirs))
	appSecret := newAppSecret()
	must(t, admin.Create(t.Context(), newSecret(shop, "app", map[string]string{"appsecret": appSecret})))
	aim := func(target string) *v1alpha1.WeChatToken {
		wt := newWeChatToken(shop, "aims-at-"+target, newAppID())
		wt.Spec.AppSecretRef.Name, wt.Spec.Secret = "app", &v1alpha1.TokenSecret{Name: target}
		weChat.AddAccount(wt.Spec.AppID, appSecret)
		must(t, who.Create(t.Context(), wt))
		return wt
	}
	targets := []string{"persons", "theirs"}
	var all []*v1alpha1.WeChatToken
	for i := range 20 {
		race := fmt.Sprintf("race-%d", i)
		all = append(all, aim(race))
		time.Sleep(time.Duration(i%5) * time.Millisecond)
		if err := admin.Create(t.Context(), newSecret(shop, race, precious)); err == nil {
			targets = append(targets, race)
		}
	}
	for _, wt := range append(all, aim("persons"), aim("theirs")) {
		message := awaitReason(t, wt, v1alpha1.ReasonSecretConflict, v1alpha1.ReasonTokenValid)
		if strings.Contains(message, "payroll-database") || strings.Contains(message, "ConfigMap") {
			t.Errorf("the writer learns whose Secret it is: %s", message)
		}
	}
	t.Logf("the person was faster in %d of 20 races", len(targets)-2)
	for _, target := range targets {
		if s := secretOf(t, shop, target); string(s.Data["access_token"]) != "precious" || string(s.Data["password"]) != "precious" {
			t.Errorf("Secret %s of a person was written to", target)
		}
	}
}

func TestMessagesTellNoMoreThanTheUserMayKnow(t *testing.T) {
	t.Parallel()
	tried(t, writer, "appSecretRef as a question: which Secrets and keys are there?")
	shop := newNamespace(t, "shop")
	who := as(t, writer, shop)
	must(t, admin.Create(t.Context(), newSecret(shop, "has-another-key", map[string]string{"password": "x"})))
	must(t, admin.Create(t.Context(), newSecret(shop, "has-it-and-void", map[string]string{"k": " \n"})))
	answers := map[string]string{}
	for _, secret := range []string{"is-not-there-at", "has-another-key", "has-it-and-void"} {
		wt := newWeChatToken(shop, "asks-"+secret, newAppID())
		wt.Spec.AppSecretRef = v1alpha1.AppSecretReference{Name: secret, Key: "k"}
		must(t, who.Create(t.Context(), wt))
		message := awaitReason(t, wt, v1alpha1.ReasonAppSecretMissing)
		answers[strings.ReplaceAll(message, secret, "X")] = secret
	}
	if len(answers) != 1 {
		t.Errorf("the answers differ: %q", answers)
	}
}

// completeRollouts does what the controller of Deployments does: some time after a
// change of the template the pods are new ones. It returns when there is no change
// for a while, or none at all.
func completeRollouts(t *testing.T, d *appsv1.Deployment, quiet time.Duration, pods func(generation int64)) {
	t.Helper()
	for last := time.Now(); time.Since(last) < quiet; time.Sleep(100 * time.Millisecond) {
		must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(d), d))
		if d.Status.ObservedGeneration == d.Generation {
			continue
		}
		time.Sleep(3 * time.Second) // the operator takes pods of the first two seconds for old ones
		must(t, admin.Get(t.Context(), client.ObjectKeyFromObject(d), d))
		pods(d.Generation)
		status := appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 1, UpdatedReplicas: 1, ReadyReplicas: 1, AvailableReplicas: 1}
		text, err := json.Marshal(map[string]any{"status": status})
		must(t, err)
		must(t, admin.Status().Patch(t.Context(), d, merge("%s", text)))
		last = time.Now()
	}
}

func TestOneRolloutForManyRequests(t *testing.T) {
	t.Parallel()
	const n = 20
	tried(t, writer, "%d WeChatTokens that restart one Deployment, when WeChat has revoked their token", n)
	shop := newNamespace(t, "shop")
	who, labels := as(t, writer, shop), map[string]string{"app": "web"}
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "web"}}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: labels}
	d.Spec.Template.Labels = labels
	d.Spec.Template.Spec.Containers = []corev1.Container{{Name: "web", Image: "web", EnvFrom: []corev1.EnvFromSource{
		{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "victim"}}},
	}}}
	must(t, admin.Create(t.Context(), d))
	pods := func(generation int64) {
		hash := fmt.Sprint(generation)
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: shop, Name: "web-" + hash, Labels: map[string]string{"app": "web", "pod-template-hash": hash}}, Spec: d.Spec.Template.Spec}
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "ReplicaSet", Name: p.Name, UID: "5b1ad7a1-8a39-4dbd-a7b6-92dbb3a8e2b7", Controller: new(true)}}
		must(t, admin.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(shop), client.GracePeriodSeconds(0)))
		must(t, admin.Create(t.Context(), p))
	}
	restartsWeb := func(wt *v1alpha1.WeChatToken) {
		wt.Spec.Restart.Workloads = []v1alpha1.RestartTarget{{Kind: v1alpha1.KindDeployment, Name: "web"}}
	}
	v := newVictim(t, shop, restartsWeb)
	for i := range n - 1 {
		wt := newWeChatToken(shop, fmt.Sprintf("more-%d", i), v.Spec.AppID)
		wt.Spec.AppSecretRef.Name = v.Spec.AppSecretRef.Name
		restartsWeb(wt)
		must(t, who.Create(t.Context(), wt))
		awaitReason(t, wt, v1alpha1.ReasonTokenValid)
	}
	completeRollouts(t, d, 3*time.Second, pods) // its pod is older than the next token then
	before := d.Generation
	weChat.Revoke(v.has())
	annotate(t, admin, v.WeChatToken, v1alpha1.AnnotationInvalidToken, v.Status.TokenFingerprint)
	completeRollouts(t, d, 8*time.Second, pods)
	if rollouts := d.Generation - before; rollouts != 1 {
		readyOf(t, v.WeChatToken)
		t.Errorf("%d rollouts for one token, want 1: %v", rollouts, v.Status.Conditions)
	}
}
