#!/usr/bin/env bash
# Runs the tests that need an API server against every Kubernetes of this folder,
# the oldest first.
#
#   test.sh             all versions: the range that this project is tested with
#   test.sh 1.35 ...    these, of those that --list prints
#   test.sh --list      prints the versions, and tests nothing
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cd "$here/../.."

minor() { # VERSION: as 1.35
	awk '$1 == "k8s.io/kubernetes" && $2 ~ /^v/ {sub("^v", "", $2); sub("[.][0-9]*$", "", $2); print $2; exit}' "$here/${1/newest/.}/go.mod"
}
mapfile -t all < <(cd "$here" && printf '%s\n' [0-9]*/ | tr -d / | sort -V && echo newest)
if [[ ${1:-} == --list ]]; then
	for version in "${all[@]}"; do minor "$version"; done
	exit
fi
(($#)) || set -- "${all[@]}"
set -- "${@/#$(minor newest)/newest}" # which has no folder of its own
say() { printf 'test-all-versions: %s\n' "$*"; }

log=$(mktemp)
trap 'rm -f "$log"' EXIT

table=$(printf '%-8s  %-8s  %6s  %s' Kubernetes verdict seconds 'packages that failed')
failed=0
for version; do
	start=$SECONDS verdict=passed bad=
	assets=$PWD/bin/controlplane
	[[ $version == newest ]] || assets+=-$version
	# KUBEBUILDER_ASSETS would be another Kubernetes.
	if ! env -u KUBEBUILDER_ASSETS KUBERNETES="${version#newest}" "$here/build.sh"; then
		verdict='not built' failed=1
	elif ! is=$("$assets/kube-apiserver" --version) || [[ $is != "Kubernetes v$(minor "$version")."* ]]; then
		verdict='another' bad="$assets/kube-apiserver is $is" failed=1
	else
		say "$is"
		if ! KUBEBUILDER_ASSETS=$assets hack/test.sh cluster 2>&1 | tee "$log"; then
			verdict=FAILED failed=1
			bad=$(awk '$1 == "FAIL" && $2 ~ /^wechattoken/ {printf "%s ", $2}' "$log")
		fi
	fi
	table+=$'\n'$(printf '%-10s  %-8s  %7d  %s' "$(minor "$version")" "$verdict" $((SECONDS - start)) "$bad")
done
printf '\n%s\n' "$table"
exit $failed
