package docs_test

// visit says what the blocks of a page need. All of them run, in their order, but for
// those that say why not.
type visit struct {
	before string          // a script: what is there when a reader comes to the page
	blocks map[string]step // those that need more, by a part of their text
}

// step is one block.
type step struct {
	before string // a script: what was done between the block before and this one
	after  string // a script that fails if the block has not done what the page says
	stdin  string // what is typed; an AppSecret if empty

	node      string // where it runs on a real node: fromHere, or the pod in which it is typed
	elsewhere string // the file, and a word in it, of what runs this block or the same; then it does not run here
	needs     string // what no test has; then it does not run
}

// What most of the blocks need that do not run.
const (
	registry = "a builder of images, and a registry to push to"
	internet = "the internet: WeChat itself, or a registry"
	host     = "a host, or a token server, under a name of example.com"
	release  = "a published release: files, images and tags"
	hours    = "minutes to hours, or the whole machine: a person calls it by name"
)

// fromHere is for a block that is typed at the machine of the reader.
const fromHere = "here"

// sameFingerprints wants the fingerprint of the status and that of a pod, which a block prints in
// this order, to be one.
const sameFingerprints = `test "$(grep -E '^[0-9a-f]{16}$' | sort | uniq -c | sed -E 's/^ *([0-9]+) .*/\1/')" = 2`

// What runs some of them.
const (
	trialRuns   = "hack/try/e2e_test.go TestATrialFromBeginningToEnd"
	trialBlocks = "hack/try/e2e_test.go docs/trial.md"
	imageBuilds = "hack/image/test.sh as `make image` does"

	releasePages = "hack/release/images/pages_test.go TestTheCommandsOfThePagesWork"
)

// What readers have when they come to a page, in the words of prelude.
const (
	installed     = `operator`
	shopHere      = installed + `; shop "$HERE"`
	shopNamespace = `kubectl create namespace shop`
	shopInWeb     = installed + `; shop web`
	cronJobHere   = `kubectl create cronjob wechat-token --image=registry.example.com/job:v1 --schedule="@hourly" -- true`
)

// prelude has what scripts of this table call.
const prelude = `
operator() { # installed as the README says
  kubectl apply -k config/default
  kubectl -n wechat-token-operator rollout status deployment/wechat-token-operator --timeout=60s
}
shop() { # NAMESPACE: the WeChatToken that the pages speak of, and a Deployment beside it
  kubectl get namespace "$1" || kubectl create namespace "$1"
  kubectl -n "$1" create secret generic shop-app --from-literal=appsecret="$APPSECRET"
  kubectl -n "$1" apply -f config/samples/stable.yaml
  kubectl -n "$1" create deployment shop --image=registry.example.com/shop:v1
  kubectl -n "$1" wait --for=condition=Ready wxt/shop --timeout=60s
}
revisions() { # VERSION...: of the Deployment shop
  for version; do
    kubectl set env deployment/shop VERSION="$version"
    kubectl rollout status deployment/shop --timeout=60s
  done
}
chart() { # the operator by Helm, instead of what is there
  helm install wechat-token-operator config/chart --namespace wechat-token-operator --create-namespace \
    --take-ownership --force-conflicts --set image.repository=registry.example.com/wechat-token-operator --set image.tag=v0.1.0
  kubectl -n wechat-token-operator rollout status deployment/wechat-token-operator --timeout=60s
}
partsAway() { # the parts of config/consumers, which Helm would take for somebody else's
  for part in watch touch restart; do
    kubectl delete clusterrole,clusterrolebinding,validatingadmissionpolicy,validatingadmissionpolicybinding --ignore-not-found "wechat-token-operator-$part"
  done
}
crd() { # KIND PLURAL.GROUP VERSION: one of others, which takes everything
  kubectl create -f - <<EOF
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: $2}
spec:
  group: ${2#*.}
  scope: Namespaced
  names: {kind: $1, plural: ${2%%.*}}
  versions:
    - {name: $3, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
EOF
  kubectl wait --for=condition=Established "crd/$2" --timeout=60s
}
prometheus() { # the CRDs of the Prometheus Operator that config/prometheus needs
  crd ServiceMonitor servicemonitors.monitoring.coreos.com v1
  crd PrometheusRule prometheusrules.monitoring.coreos.com v1
}
answered() { # NAMESPACE: the operator still serves it
  now=answered-$(date +%s)
  kubectl -n "$1" patch wxt shop --type=merge -p '{"spec":{"secret":{"labels":{"answered":"'"$now"'"}}}}'
  kubectl -n "$1" wait secret/shop-token --for=jsonpath='{.metadata.labels.answered}'="$now" --timeout=60s
}
`

// visits are those of all pages with blocks.
var visits = map[string]visit{
	"README.md": {before: shopHere, blocks: map[string]step{
		"--from-file": {
			before: `kubectl delete wxt/shop secret/shop-app secret/shop-token`,
			after:  `kubectl wait --for=condition=Ready wxt/shop --timeout=60s`,
		},
		"make try": {elsewhere: trialRuns},
	}},
	"CONTRIBUTING.md": {blocks: map[string]step{
		"make unit": {elsewhere: ".ci/run make test"},
		"make node": {elsewhere: "hack/e2e/run.sh node"},
	}},
	"config/chart/README.md": {before: `helm package config/chart --version 0.1.0`},
	"docs/air-gapped.md": {before: `ln -s . wechat-token-operator`, blocks: map[string]step{
		"skopeo login":   {elsewhere: releasePages},
		"cosign copy":    {elsewhere: releasePages},
		"cosign save":    {elsewhere: releasePages},
		"digest=":        {needs: internet},
		"ctr -n":         {needs: release},
		"helm push":      {needs: release},
		"krew install":   {needs: release},
		"export GOPROXY": {needs: registry},
		"make image":     {elsewhere: imageBuilds},
		"cosign verify":  {elsewhere: releasePages},
	}},
	"docs/backup.md": {before: shopInWeb, blocks: map[string]step{
		"velero": {needs: "Velero"},
		"grep SecretConflict": {before: `kubectl -n web create secret generic taken --from-literal=key=value
kubectl -n web apply -f - <<EOF
apiVersion: wechattoken.io/v1alpha1
kind: WeChatToken
metadata: {name: conflict}
spec: {appID: wx0123456789abcdef, appSecretRef: {name: shop-app}, secret: {name: taken}}
EOF
kubectl -n web wait wxt/conflict --for=jsonpath='{.status.conditions[?(@.type=="Ready")].reason}'=SecretConflict --timeout=60s`},
		"--if-invalid": {before: `kubectl -n web delete wxt conflict`},
		"get secret shop-app": {before: `kubectl config use-context new
` + installed + `
kubectl create namespace web
kubectl config use-context old`},
		"context new wait": {after: `
fingerprint() { kubectl --context "$1" get wxt shop -n web -o jsonpath='{.status.tokenFingerprint}'; }
test "$(fingerprint old)" = "$(fingerprint new)"`},
	}},
	"docs/consumers.md": {before: installed, blocks: map[string]step{
		"helm upgrade": {before: `partsAway; chart`},
	}},
	"docs/egress-ip.md": {before: shopHere, blocks: map[string]step{
		"run egress-ip": {needs: internet},
		"read -r url":   {stdin: "http://user:password@proxy.example.com:3128\n"},
	}},
	"docs/environments.md": {before: shopHere + `; shop dev`},
	"docs/fake-wechat.md": {blocks: map[string]step{
		"--open-accounts": {needs: "two programs that do not end"},
		"bin/manager":     {needs: "two programs that do not end"},
		"samples/stable":  {before: installed},
		"/fake/stats":     {elsewhere: "internal/wechat/wechattest/admin_test.go /fake/faults"},
		"/fake/kill":      {elsewhere: "internal/wechat/wechattest/admin_test.go /fake/kill"},
	}},
	"docs/gitops.md": {before: `kubectl create namespace argocd; kubectl -n argocd create configmap argocd-cm --from-literal=mine=1`, blocks: map[string]step{
		"helm push": {needs: release},
		"argocd-cm": {after: `kubectl -n argocd get configmap argocd-cm -o yaml | grep 'mine: "1"'`},
	}},
	"docs/helm.md": {blocks: map[string]step{
		"helm test": {elsewhere: "config/chart_install_test.go TestHelmTestChecksTheRelease"},
		"field-manager=helm": {before: installed,
			after: `helm upgrade wechat-token-operator config/chart -n wechat-token-operator --reset-then-reuse-values --set networkPolicy.apiServerPort=16443,logLevel=DEBUG`},
		"delete rolebinding": {
			before: `helm uninstall wechat-token-operator -n wechat-token-operator
for namespace in web pay; do
  kubectl create namespace $namespace
  kubectl create rolebinding wechat-token-operator -n $namespace --clusterrole=wechat-token-operator --serviceaccount=wechat-token-operator:wechat-token-operator
done`,
			after: `helm install wechat-token-operator config/chart -n wechat-token-operator --take-ownership --force-conflicts --set image.repository=registry.example.com/o --set 'namespaces={web,pay}'
kubectl get rolebinding wechat-token-operator -n web -o jsonpath='{.roleRef.kind}' | grep -x Role`,
		},
		"namespaces={web,shop}": {before: `helm uninstall wechat-token-operator -n wechat-token-operator; kubectl create namespace shop`},
		"owner=helm": {
			before: `helm uninstall shard-b -n shard-b; chart`,
			after:  `! kubectl get deployment wechat-token-operator -n wechat-token-operator -o jsonpath='{.metadata.annotations}' | grep meta.helm`,
		},
		"helm install shard-a": {before: `helm uninstall wechat-token-operator -n wechat-token-operator; kubectl delete crd wechattokens.wechattoken.io`},
	}},
	"docs/install.md": {before: `ln -s . wechat-token-operator`, blocks: map[string]step{
		"OWNER":      {needs: release},
		"make image": {elsewhere: imageBuilds},
	}},
	"docs/invalid-tokens.md": {before: shopHere, blocks: map[string]step{
		"#!/bin/sh": {elsewhere: "config/report_test.go TestEachLanguageReportsAnInvalidToken"},
	}},
	"docs/kubectl-plugin.md": {before: shopInWeb, blocks: map[string]step{
		"(it is not shown)": {before: `kubectl -n web delete --ignore-not-found wxt/shop secret/shop-app secret/shop-token`},
	}},
	"docs/metrics.md": {before: installed + `; kubectl create namespace monitoring`, blocks: map[string]step{
		"-bench Scrape": {needs: hours},
		"port-forward": {
			node:   fromHere,
			before: `kubectl create namespace monitoring; kubectl -n monitoring create serviceaccount prometheus; kubectl create clusterrolebinding prometheus --clusterrole=wechat-token-operator-metrics-reader --serviceaccount=monitoring:prometheus`,
			after:  `grep wechattoken_expiration_timestamp_seconds`,
		},
	}},
	"docs/migration/README.md": {before: installed, blocks: map[string]step{
		"kubectl exec":  {node: fromHere, after: sameFingerprints},
		"while :":       {needs: "a file /etc/wechat, and somebody who ends it"},
		"patch cronjob": {before: cronJobHere},
	}},
	"docs/migration/curl-cron.md": {before: shopHere + `; revisions 1 2; ` + cronJobHere + `; kubectl create configmap wechat --from-literal=token=x`, blocks: map[string]step{
		"token=$(curl":         {needs: internet},
		"kubectl exec":         {node: fromHere, after: sameFingerprints},
		"job/wechat-token-now": {before: cronJobHere},
	}},
	"docs/migration/external-secrets.md": {blocks: map[string]step{
		"externalsecrets": {before: `crd ExternalSecret externalsecrets.external-secrets.io v1
crd Webhook webhooks.generators.external-secrets.io v1alpha1
kubectl create -f - <<EOF
{"apiVersion":"v1","kind":"List","items":[
{"apiVersion":"external-secrets.io/v1","kind":"ExternalSecret","metadata":{"name":"shop"}},
{"apiVersion":"generators.external-secrets.io/v1alpha1","kind":"Webhook","metadata":{"name":"wechat"}}]}
EOF`},
	}},
	"docs/migration/reading-the-file.md": {blocks: map[string]step{
		"readlink": {node: "deployment/shop"},
	}},
	"docs/migration/silenceper.md": {},
	"docs/monitoring.md": {before: installed + `; prometheus`, blocks: map[string]step{
		"yq": {needs: "yq, which no test installs"},
	}},
	"docs/outside-the-cluster.md": {before: installed + `; shop shop`, blocks: map[string]step{ //nolint:dupword // a function and a namespace
		"make image":       {elsewhere: imageBuilds},
		"certificate.yaml": {before: `crd Certificate certificates.cert-manager.io v1`},
		"helm upgrade":     {before: `kubectl delete -k config/token-server; chart`},
		"ssh ":             {needs: host},
		"cat credential":   {elsewhere: "config/token_server_clients_test.go TestClientsKeepTheToken"},
		"#!/bin/sh":        {elsewhere: "config/token_server_clients_test.go TestClientsKeepTheToken"},
	}},
	"docs/performance.md": {blocks: map[string]step{"make bench": {needs: hours}}},
	"docs/propagation.md": {blocks: map[string]step{"make propagation": {needs: hours}}},
	"docs/rbac.md": {before: shopInWeb + `; shop pay`, blocks: map[string]step{
		"rolebinding": {after: `answered web
answered pay
kubectl kustomize . >all.yaml
kubectl diff -f all.yaml
kubectl get clusterrolebinding -o name | grep wechat-token-operator-metrics-auth
if kubectl get clusterrolebinding wechat-token-operator; then exit 1; fi`},
	}},
	"docs/releasing.md": {blocks: map[string]step{
		"ssh-keygen -Y":     {elsewhere: "hack/release/test.sh ssh-keygen -q -Y verify"},
		"make release UNS":  {elsewhere: `hack/release/test.sh release "$one" UNSIGNED=yes`},
		"make release-push": {elsewhere: "hack/release/images/images_test.go ../push.sh"},
		"--key release-key": {elsewhere: releasePages},
		"OWNER/REPOSITORY":  {needs: release},
		"oci://":            {needs: release},
		"git tag":           {needs: release},
		"skopeo inspect":    {needs: internet},
		"ssh-keygen -t":     {elsewhere: "hack/release/test.sh ssh-keygen -q -t ecdsa"},
	}},
	"docs/refresh.md": {before: shopHere},
	"docs/restarts.md": {before: shopHere + `; revisions 2 3 4`, blocks: map[string]step{
		"--to-revision": {after: `kubectl get deployment shop -o yaml | grep 'value: "3"'`},
	}},
	"docs/runbooks/WeChatTokenClockSkewed.md": {before: shopInWeb, blocks: map[string]step{
		"kubectl debug": {node: fromHere, after: `grep -c "UTC $(date -u +%Y)"`},
	}},
	"docs/runbooks/WeChatTokenExpiring.md":     {before: shopInWeb},
	"docs/runbooks/WeChatTokenIPNotAllowed.md": {before: shopInWeb},
	"docs/runbooks/WeChatTokenInvalid.md":      {before: shopInWeb},
	// The page is for a namespace where the second line finds nothing, and so fails.
	"docs/runbooks/WeChatTokenNamespaceUnreadable.md": {before: shopInWeb + `
kubectl create rolebinding for-watch -n web --clusterrole=wechat-token-operator-view --serviceaccount=wechat-token-operator:wechat-token-operator`},
	"docs/runbooks/WeChatTokenNotReady.md":         {before: shopInWeb},
	"docs/runbooks/WeChatTokenOperatorDown.md":     {before: shopInWeb},
	"docs/runbooks/WeChatTokenOperatorNoLeader.md": {before: shopInWeb},
	"docs/runbooks/WeChatTokenQuotaNearlyUsed.md":  {before: shopInWeb},
	"docs/runbooks/errcodes.md":                    {before: installed},
	"docs/runbooks/reasons.md": {before: shopHere + `; shop web; kubectl create namespace platform; kubectl -n platform create -f config/samples/stable.yaml`, blocks: map[string]step{
		"kubectl exec":             {node: fromHere, after: sameFingerprints},
		"run ask-wechat":           {needs: internet},
		"clear_quota":              {needs: internet},
		"appsecret=/dev/stdin   #": {before: `kubectl delete --ignore-not-found secret shop-app`},
		"--patch-file":             {before: `kubectl get secret shop-app || kubectl create secret generic shop-app --from-literal=appsecret="$APPSECRET"`},
		"can-i patch pods":         {before: `kubectl apply -k config/consumers`},
		"allowedNamespaces":        {before: `kubectl -n platform patch wxt shop --type=merge -p '{"spec":{"allowedNamespaces":["pay"]}}'`, after: `kubectl -n platform get wxt shop -o jsonpath='{.spec.allowedNamespaces}' | grep '\["pay","web"\]'`},
		"can-i patch deployments":  {before: `kubectl apply -k config/consumers; kubectl apply -f config/consumers/evict/role.yaml`},
		"rollout resume":           {before: `kubectl rollout pause deployment/shop`},
		"delete pod shop-0": {before: `kubectl create -f - <<EOF
{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{"name":"shop"},"spec":{"selector":{"matchLabels":{"app":"s"}},
"template":{"metadata":{"labels":{"app":"s"}},"spec":{"containers":[{"name":"s","image":"registry.example.com/shop:v1"}]}}}}
EOF
kubectl run shop-0 --image=registry.example.com/shop:v1`},
	}},
	"docs/sdk-cache.md": {before: shopNamespace},
	"docs/security.md": {before: shopHere, blocks: map[string]step{
		"audit.log": {before: `echo '{"verb":"get","user":{"username":"jane"},"objectRef":{"namespace":"web","name":"shop-app"}}' >audit.log`},
	}},
	"docs/sharding.md": {blocks: map[string]step{
		"patch deployment": {before: installed},
		"while read": {
			before: `shop "$HERE"; kubectl create namespace pay
kubectl create -f - <<EOF
{apiVersion: wechattoken.io/v1alpha1, kind: WeChatToken, metadata: {name: one},
 spec: {appID: wx0123456789abcde1, appSecretRef: {name: shop-app}, secret: {name: one-token}, allowedNamespaces: [pay]}}
---
{apiVersion: wechattoken.io/v1alpha1, kind: WeChatToken, metadata: {namespace: pay, name: taker},
 spec: {sourceRef: {namespace: $HERE, name: one}, secret: {name: taker-token}}}
EOF`,
			after: `kubectl get wxt -A -l wechattoken.io/shard=a | grep taker; kubectl get wxt -l wechattoken.io/shard=b | grep shop`,
		},
		"for namespace in web": {before: `kubectl create namespace web; kubectl create namespace shop`},
	}},
	"docs/trial.md": {blocks: map[string]step{
		"make try\n":    {elsewhere: trialRuns},
		"make try-down": {elsewhere: trialRuns},
		"logs -f":       {elsewhere: trialBlocks},
		"get wxt -w":    {elsewhere: trialBlocks},
		"delete pod":    {elsewhere: trialBlocks},
		"delete secret": {elsewhere: trialBlocks},
		"annotate wxt":  {elsewhere: trialBlocks},
		"make image":    {needs: registry},
		"apply -k":      {elsewhere: trialRuns},
	}},
	"docs/uninstall.md": {before: `chart; shop "$HERE"`, blocks: map[string]step{
		"get wechattokens,secrets,deployments": {before: installed},
		"config/prometheus":                    {before: `prometheus`},
		"delete crd":                           {after: `if kubectl get wxt; then exit 1; fi`},
	}},
	"docs/use/dotnet.md": {before: shopNamespace},
	"docs/use/go.md":     {before: shopNamespace},
	"docs/use/java.md":   {before: shopNamespace},
	"docs/use/nodejs.md": {before: shopNamespace},
	"docs/use/php.md":    {before: shopNamespace},
	"docs/use/python.md": {before: shopNamespace},
	"docs/versions.md": {before: shopHere, blocks: map[string]step{
		"helm upgrade": {before: `chart`},
	}},
}
