#!/usr/bin/env bash
# Installs the operator on the node, with a fake WeChat, and the samples in the
# namespace default.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf 'node: %s\n' "$*"; }
export KUBECONFIG=/var/lib/wechattoken-node/admin.kubeconfig
kubectl() { bin/controlplane/kubectl "$@" >/dev/null; }
say "installing the operator, a fake WeChat, and the samples"
kubectl --namespace=fake-wechat get secret fake-wechat >/dev/null 2>&1 || go run -C hack ./e2e/certificate | kubectl apply -f -
kubectl apply -f hack/e2e/fake-wechat.yaml
kubectl apply -k hack/e2e/operator
kubectl rollout status --timeout=3m --namespace=fake-wechat deployment/fake-wechat
kubectl rollout status --timeout=3m --namespace=wechat-token-operator deployment/wechat-token-operator
bin/controlplane/kubectl create secret generic shop-app --from-literal=appsecret=0123456789abcdef0123456789abcdef --dry-run=client -o yaml |
	kubectl apply -f -
kubectl apply -f config/samples/touch-and-restart/stable.yaml -f config/samples/consumer-file.yaml -f config/samples/consumer-env.yaml
kubectl wait --timeout=3m --for=condition=Ready wechattoken/shop
kubectl rollout status --timeout=3m deployment/shop-file
kubectl rollout status --timeout=3m deployment/shop-env
say "done. Look at it with:"
cat <<EOF

  export KUBECONFIG=$KUBECONFIG PATH=$PWD/bin/controlplane:\$PATH
  kubectl get wxt --watch
  kubectl logs --follow deployment/shop-file
  make node-down

EOF
