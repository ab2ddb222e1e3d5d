//go:build e2e

package e2e

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/hack/e2e/report"
)

// Rotations that the shop sees at least.
const rotations = 5

// The operator as it is installed, and pods that call WeChat all the time with
// the token they have, from a file and from the environment. Whatever happens
// meanwhile, none of their calls has an invalid token.
func TestOperatorInACluster(t *testing.T) {
	c := connect(t)
	c.install(t)
	s := c.openShop(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"SamplesRunAsTheyStand", c.samplesRunAsTheyStand},
		{"RefreshIsSeenInTheContainer", c.refreshIsSeenInTheContainer},
		{"LeaderIsDeleted", s.leaderIsDeleted},
		{"KubeletRestarts", s.kubeletRestarts},
		{"AllIsKilled", s.allIsKilled},
		{"UpgradeCostsNoCall", s.upgradeCostsNoCall},
		{"SecretGoesWithItsToken", c.secretGoesWithItsToken},
		{"NamespaceGoes", c.namespaceGoes},
		{"NoInvalidToken", s.noInvalidToken},
		{"VersionsStayInTheHistory", s.versionsStayInTheHistory},
		{"OthersSawNoInvalidToken", s.othersSawNoInvalidToken},
	} {
		if !t.Run(step.name, step.run) {
			return // the next would only say it again
		}
	}
}

// shop is the namespace with the samples in it.
type shop struct {
	*cluster
	*diary
	tokens func() []string // fingerprints so far, oldest first
	others *withoutAppSecret
}

const shopNamespace = "shop"

// openShop applies the samples. Only what the pods run is another program: it
// calls WeChat, and writes down what it finds.
func (c *cluster) openShop(t *testing.T) *shop {
	t.Helper()
	token := sample[v1alpha1.WeChatToken](t, "touch-and-restart/stable.yaml")
	token.Spec.Restart.Workloads = append(token.Spec.Restart.Workloads, v1alpha1.RestartTarget{Kind: v1alpha1.KindDeployment, Name: "shop-evicted", Method: v1alpha1.RestartByEviction})
	token.Spec.AllowedNamespaces = []v1alpha1.AllowedNamespace{takerNamespace}
	evicted, labels := sample[appsv1.Deployment](t, "consumer-env.yaml"), map[string]string{"app": "shop-evicted"}
	evicted.Name, evicted.Spec.Replicas = "shop-evicted", new(int32(2))
	evicted.Spec.Selector.MatchLabels, evicted.Spec.Template.Labels = labels, labels
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "shop-evicted"}, Spec: policyv1.PodDisruptionBudgetSpec{Selector: evicted.Spec.Selector, MinAvailable: new(intstr.FromInt32(1))}}
	c.create(t, shopNamespace, appSecret(), token, budget,
		c.calling(sample[appsv1.Deployment](t, "consumer-file.yaml"), "--token-file=/etc/wechat/access_token"),
		c.calling(sample[appsv1.Deployment](t, "consumer-env.yaml")),
		c.calling(evicted))
	s := &shop{cluster: c, diary: c.follow(t, shopNamespace)}
	c.isReady(t, shopNamespace, "shop")
	s.tokens = c.collect(t, shopNamespace, "shop")
	c.available(t, shopNamespace, "shop-file")
	c.available(t, shopNamespace, "shop-env")
	c.available(t, shopNamespace, "shop-evicted")
	s.others = c.serveOthers(t)
	return s
}

// calling makes a sample run the consumer of these tests.
func (c *cluster) calling(d *appsv1.Deployment, args ...string) *appsv1.Deployment {
	container := &d.Spec.Template.Spec.Containers[0]
	container.Image, container.Command = consumerImage, nil
	container.Args = append([]string{"--wechat-url=" + weChatURL, "--wechat-certificate=" + c.weChatCertificate}, args...)
	return d
}

// collect writes down the fingerprints of the tokens of a WeChatToken until the
// test ends.
func (c *cluster) collect(t *testing.T, namespace, name string) func() []string {
	t.Helper()
	d := struct {
		seen chan []string
		stop chan struct{}
	}{make(chan []string), make(chan struct{})}
	t.Cleanup(func() { close(d.stop) })
	go func() {
		var seen []string
		for {
			wt, err := c.token(namespace, name)
			if f := wt.Status.TokenFingerprint; err == nil && f != "" && !slices.Contains(seen, f) {
				seen = append(seen, f)
			}
			select {
			case <-d.stop:
				return
			case d.seen <- slices.Clone(seen):
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return func() []string { return <-d.seen }
}

// samplesRunAsTheyStand applies them as a user does, unchanged: the containers
// print the fingerprint of the token that the status has.
func (c *cluster) samplesRunAsTheyStand(t *testing.T) {
	c.create(t, "samples", appSecret())
	for _, file := range []string{"touch-and-restart/stable.yaml", "consumer-file.yaml", "consumer-env.yaml"} {
		c.mustKubectl(t, "apply", "--namespace=samples", "-f", "../../config/samples/"+file)
	}
	c.isReady(t, "samples", "shop")
	for _, app := range []string{"shop-file", "shop-env"} {
		eventually(t, "the token in "+app, func() error {
			said, err := c.kubectl("logs", "--namespace=samples", "--selector=app="+app, "--tail=1")
			if err != nil {
				return err
			}
			if f := c.fingerprint(t, "samples", "shop"); !strings.HasPrefix(said, "token "+f+" works until ") {
				return fmt.Errorf("it says %q, want the token %s", said, f)
			}
			return nil
		})
	}
}

// A user requests a refresh, and the container finds the new token in its file.
func (c *cluster) refreshIsSeenInTheContainer(t *testing.T) {
	token := sample[v1alpha1.WeChatToken](t, "touch-and-restart/stable.yaml")
	token.Name, token.Spec.AppID, token.Spec.Restart = "forced", "wx00000000000f0ced", v1alpha1.Restart{}
	token.Spec.Secret.Name = "shop-token"
	c.create(t, "forced", appSecret(), token,
		c.calling(sample[appsv1.Deployment](t, "consumer-file.yaml"), "--token-file=/etc/wechat/access_token"))
	d := c.follow(t, "forced")
	c.isReady(t, "forced", "forced")
	c.available(t, "forced", "shop-file")
	before := c.fingerprint(t, "forced", "forced")
	c.mustKubectl(t, "annotate", "--namespace=forced", "wechattoken/forced", "wechattoken.io/refresh-requested-at=now")
	after := c.nextToken(t, "forced", "forced", before)
	eventually(t, "the new token in the container", func() error {
		if d.saw("shop-file", after).IsZero() {
			return fmt.Errorf("the container has not seen %s", after)
		}
		return nil
	})
	if wt, err := c.token("forced", "forced"); err != nil || wt.Status.LastHandledRefreshAt != "now" {
		t.Errorf("the echo is %q (%v), want %q", wt.Status.LastHandledRefreshAt, err, "now")
	}
}

// leaderIsDeleted deletes the pod that leads: the stand-by goes on.
func (s *shop) leaderIsDeleted(t *testing.T) {
	leader := s.leader(t)
	before := s.fingerprint(t, shopNamespace, "shop")
	s.mustKubectl(t, "delete", "pod", "--namespace="+operatorNamespace, "--wait=false", leader)
	eventually(t, "another leader", func() error {
		if s.leader(t) == leader {
			return fmt.Errorf("%s still leads", leader)
		}
		return nil
	})
	s.nextToken(t, shopNamespace, "shop", before)
	s.available(t, operatorNamespace, operatorName)
}

// kubeletRestarts kills the kubelet in the middle of a rotation. Pods go on
// without it, and it brings them the new token when it is back.
func (s *shop) kubeletRestarts(t *testing.T) {
	command := os.Getenv("E2E_RESTART_KUBELET")
	if command == "" {
		t.Fatal("E2E_RESTART_KUBELET does not say how to restart the kubelet; with kind for instance: docker exec kind-control-plane systemctl restart kubelet")
	}
	before := s.fingerprint(t, shopNamespace, "shop")
	after := s.nextToken(t, shopNamespace, "shop", before)
	restart := exec.Command("sh", "-c", command)
	restart.Dir = "../.."
	if out, err := restart.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", command, err, out)
	}
	eventually(t, "the token in the file", func() error {
		if s.saw("shop-file", after).IsZero() {
			return fmt.Errorf("the container has not seen %s", after)
		}
		return nil
	})
	eventually(t, "the node", func() error {
		var nodes corev1.NodeList
		if err := s.List(t.Context(), &nodes); err != nil {
			return err
		}
		for _, n := range nodes.Items {
			for _, condition := range n.Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
					return fmt.Errorf("node %s is not ready: %s", n.Name, condition.Message)
				}
			}
		}
		return nil
	})
}

// upgradeTries is how often the upgrade is tried: it costs no call, but a token
// may become due meanwhile, and a machine be slow.
const upgradeTries = 4

// upgradeCostsNoCall rolls the operator to another image and back, just after a
// rotation.
func (s *shop) upgradeCostsNoCall(t *testing.T) {
	images := []string{nextOperatorImage, operatorImage}
	var found []string
	for try := range upgradeTries {
		before := s.fingerprint(t, shopNamespace, "shop")
		s.nextToken(t, shopNamespace, "shop", before)
		old, calls := s.operatorPods(t), s.tokenCalls(t)
		held := s.fingerprint(t, shopNamespace, "shop")
		s.mustKubectl(t, "set", "image", "--namespace="+operatorNamespace, "deployment/"+operatorName, "manager="+images[try%2])
		s.available(t, operatorNamespace, operatorName)
		eventually(t, "the new pods to take over", func() error { // the lease is given back a moment after they are ready
			leader, after := s.leader(t), s.operatorPods(t)
			if slices.ContainsFunc(after, func(p string) bool { return slices.Contains(old, p) }) || !slices.Contains(after, leader) {
				return fmt.Errorf("of the pods %q still %q are there, and %s leads", old, after, leader)
			}
			return nil
		})
		got := s.tokenCalls(t) - calls
		if got == 0 && s.fingerprint(t, shopNamespace, "shop") == held {
			return
		}
		found = append(found, strconv.Itoa(got))
	}
	t.Errorf("%s calls of WeChat during %d upgrades, want 0 in one of them", strings.Join(found, ", "), upgradeTries)
}

// tokenCalls are the calls for a token of the shop's account so far.
func (s *shop) tokenCalls(t *testing.T) int {
	t.Helper()
	counts := s.stats(t, s.appID())
	return counts.Stable.Calls + counts.Classic.Calls
}

func (s *shop) appID() string { return "wx0123456789abcdef" }

// secretGoesWithItsToken deletes a WeChatToken: the garbage collector takes its
// Secret, and leaves the user's.
func (c *cluster) secretGoesWithItsToken(t *testing.T) {
	token := sample[v1alpha1.WeChatToken](t, "stable.yaml")
	token.Spec.AppID = "wx00000000000de1e7"
	c.create(t, "deleted", appSecret(), token)
	c.isReady(t, "deleted", "shop")
	c.mustKubectl(t, "delete", "wechattoken", "shop", "--namespace=deleted")
	c.gone(t, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "deleted", Name: "shop-token"}})
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: "deleted", Name: "shop-app"}, &corev1.Secret{}); err != nil {
		t.Errorf("the user's Secret: %v", err)
	}
}

// namespaceGoes deletes a namespace with everything in it: nothing holds it up.
func (c *cluster) namespaceGoes(t *testing.T) {
	token := sample[v1alpha1.WeChatToken](t, "stable.yaml")
	token.Spec.AppID = "wx00000000000607e0"
	c.create(t, "going", appSecret(), token,
		c.calling(sample[appsv1.Deployment](t, "consumer-file.yaml"), "--token-file=/etc/wechat/access_token"))
	c.isReady(t, "going", "shop")
	c.available(t, "going", "shop-file")
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "going"}}
	if err := c.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	c.gone(t, ns)
}

// noInvalidToken waits until the shop has seen enough rotations, and looks what its
// pods and WeChat have to say.
func (s *shop) noInvalidToken(t *testing.T) {
	for last := ""; len(s.tokens()) <= rotations; {
		last = s.nextToken(t, shopNamespace, "shop", last)
	}
	tokens := s.tokens()
	for app, reason := range map[string]string{
		"shop-file":    "its file follows the Secret",
		"shop-env":     "it is restarted for each token",
		"shop-evicted": "its pods are evicted for each token",
	} {
		eventually(t, app+" to have the last token", func() error {
			if s.saw(app, tokens[len(tokens)-1]).IsZero() {
				return fmt.Errorf("it has not seen %s", tokens[len(tokens)-1])
			}
			return nil
		})
		for _, token := range tokens {
			if s.saw(app, token).IsZero() {
				t.Errorf("%s has never seen the token %s, though %s", app, token, reason)
			}
		}
		for _, event := range []report.Event{report.Dead, report.Failed} {
			for _, l := range s.of(app, event) {
				t.Errorf("%s at %s, with the token %s: %s %s", app, l.At, l.Fingerprint, l.Event, l.Detail)
			}
		}
	}
	counts := s.stats(t, s.appID())
	if counts.InvalidTokens != 0 || counts.Business.OK == 0 {
		t.Errorf("WeChat has counted %d calls with a valid token and %d with an invalid one, want 0 of these", counts.Business.OK, counts.InvalidTokens)
	}
	t.Logf("%d tokens, %d calls with a valid one and %d with an invalid one", len(tokens), counts.Business.OK, counts.InvalidTokens)

	for _, name := range []string{"shop-file", "shop-evicted"} {
		var d appsv1.Deployment
		if err := s.Get(t.Context(), client.ObjectKey{Namespace: shopNamespace, Name: name}, &d); err != nil {
			t.Fatal(err)
		}
		if d.Generation != 1 {
			t.Errorf("%s has generation %d: nobody should have changed it", name, d.Generation)
		}
	}
}

// versionsStayInTheHistory rolls out a second version of what is restarted, and takes it
// back after further restarts: what is evicted with the plain command, the other one with
// the number of the revision.
func (s *shop) versionsStayInTheHistory(t *testing.T) {
	want := map[string]int{"shop-evicted": 1, "shop-env": 2}
	for name := range want {
		if got := s.revisions(t, name); len(got) != want[name] {
			t.Errorf("after %d tokens %s has the revisions %s, want %d", len(s.tokens()), name, got, want[name])
		}
		s.mustKubectl(t, "set", "env", "--namespace="+shopNamespace, "deployment/"+name, "VERSION=2")
		s.available(t, shopNamespace, name)
	}
	undo := map[string][]string{"shop-evicted": nil, "shop-env": {"--to-revision=" + s.revisions(t, "shop-env")[0]}}
	for range 3 {
		token := s.nextToken(t, shopNamespace, "shop", s.fingerprint(t, shopNamespace, "shop"))
		for name := range undo {
			eventually(t, name+" to have the token", func() error {
				if s.saw(name, token).IsZero() {
					return fmt.Errorf("it has not seen %s", token)
				}
				return nil
			})
		}
	}
	for name, args := range undo {
		revisions := s.revisions(t, name)
		if len(revisions) != 2*want[name] {
			t.Errorf("the second version of %s has left the revisions %s, want %d", name, revisions, 2*want[name])
		}
		out := s.mustKubectl(t, append([]string{"rollout", "undo", "--namespace=" + shopNamespace, "deployment/" + name}, args...)...)
		var d appsv1.Deployment
		if err := s.Get(t.Context(), client.ObjectKey{Namespace: shopNamespace, Name: name}, &d); err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(d.Spec.Template.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "VERSION" }) {
			t.Errorf("kubectl rollout undo %s of %s says %q, and the second version stays", args, name, out)
		}
		t.Logf("%s: revisions %s", name, revisions)
	}
}

// revisions are those in the rollout history of a Deployment, oldest first.
func (s *shop) revisions(t *testing.T, name string) (revisions []string) {
	t.Helper()
	var sets appsv1.ReplicaSetList
	if err := s.List(t.Context(), &sets, client.InNamespace(shopNamespace), client.MatchingLabels{"app": name}); err != nil {
		t.Fatal(err)
	}
	for _, set := range sets.Items {
		revisions = append(revisions, set.Annotations["deployment.kubernetes.io/revision"])
	}
	slices.SortFunc(revisions, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return revisions
}
