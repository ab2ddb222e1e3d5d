//go:build e2e

package docs_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wechattoken.io/operator/internal/testcluster"
)

// The blocks that need a kubelet run on the cluster of E2E_KUBECONFIG, where the operator and a
// fake WeChat are. In each page there is the WeChatToken shop, with a Deployment that mounts its
// Secret.
func TestBlocksOnANode(t *testing.T) { // one page after the other: they use the same names
	kubeconfig := os.Getenv("E2E_KUBECONFIG")
	if kubeconfig == "" {
		t.Fatal("E2E_KUBECONFIG does not say which cluster to use: run `make e2e`")
	}
	assets, err := filepath.Abs(filepath.Join(root, "bin", "controlplane"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", assets+":"+os.Getenv("PATH"))
	s := newShell(t, kubeconfig)
	node, err := s.run(t, root, `kubectl get nodes -o jsonpath='{.items[0].metadata.name}'`, "")
	if err != nil {
		t.Fatalf("%v: %s", err, node)
	}
	ran := 0
	for _, name := range english() {
		for _, b := range pages[name].blocks {
			w := visits[name].step(t, b)
			if !b.isTyped() || w.node == "" {
				continue
			}
			ran++
			t.Run(name, func(t *testing.T) {
				defer func() { // no Cleanup: the context of the test has ended then
					if out, err := s.run(t, root, `kubectl delete namespace "$HERE" monitoring --ignore-not-found --timeout=100s
kubectl delete clusterrolebinding prometheus --ignore-not-found`, ""); err != nil {
						t.Errorf("%v: %s", err, out)
					}
				}()
				if out, err := s.run(t, root, onANode+w.before, ""); err != nil {
					t.Fatalf("before the block: %v: %s", err, out)
				}
				script, _ := b.script()
				script = strings.ReplaceAll(script, "worker-1", node)
				if w.node != fromHere {
					script = "kubectl exec -i " + w.node + " -- sh -e <<'BLOCK'\n" + script + "BLOCK\n"
				}
				// A file may be older than the status, for 90 s.
				testcluster.Eventually(t, "the block does what the page says", func() error {
					out, err := s.run(t, root, script, "")
					if err != nil {
						t.Fatalf("%v in\n%s\n%s", err, script, out)
					}
					if after, err := s.run(t, root, w.after, out); err != nil {
						return fmt.Errorf("after\n%s\n%s: %w in\n%s\n%s", script, out, err, w.after, after)
					}
					return nil
				})
			})
		}
	}
	if ran == 0 {
		t.Error("no block needs a node")
	}
}

// onANode is what each of the pages has before it comes to the block: of the token, two files,
// for one page has another name for it.
const onANode = `
kubectl create namespace "$HERE"
kubectl create secret generic shop-app --from-literal=appsecret="$APPSECRET"
kubectl apply -f config/samples/stable.yaml
sed 's/shop-file/shop/; s/secretName: shop-token.*/&\n            items: [{key: access_token, path: access_token}, {key: expires_at, path: expires_at}, {key: access_token, path: token}]/' config/samples/consumer-file.yaml |
  kubectl apply -f -
kubectl wait --for=condition=Ready wxt/shop --timeout=60s
kubectl rollout status deployment/shop --timeout=90s
`
