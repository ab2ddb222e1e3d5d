#!/bin/sh
# Reports that WeChat refused a token: report.sh NAME-OF-THE-WECHATTOKEN <FILE-WITH-THE-TOKEN
set -eu
dir=${SERVICEACCOUNT_DIR:-/var/run/secrets/kubernetes.io/serviceaccount}
case $KUBERNETES_SERVICE_HOST in
*:*) host="[$KUBERNETES_SERVICE_HOST]" ;;
*) host=$KUBERNETES_SERVICE_HOST ;;
esac
path=/apis/wechattoken.io/v1alpha1/namespaces/$(cat "$dir/namespace")/wechattokens/$1
report=$(tr -d '\n' | sha256sum | cut -c1-16)@$(date -u +%Y-%m-%dT%H:%M:%SZ)
# The credential comes by stdin, for a process shows its arguments. With HTTP/2, curl 7.88 loses refusals.
answer=$(printf 'header = "Authorization: Bearer %s"\n' "$(cat "$dir/token")" |
  curl -sS --http1.1 --fail-with-body --max-time 10 --noproxy '*' --config - --cacert "$dir/ca.crt" \
    -X PATCH "https://$host:$KUBERNETES_SERVICE_PORT$path" -H 'Content-Type: application/merge-patch+json' \
    -d '{"metadata":{"annotations":{"wechattoken.io/invalid-token":"'"$report"'"}}}') || {
  echo "The report failed: $answer" >&2
  exit 1
}
