#!/usr/bin/env bash
# Runs the tests that need an API server against every Kubernetes of this folder,
# the oldest first, each built from source. What a version is like does not
# depend on the race detector, so it is left out.
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

# The packages whose tests have the control plane in them, whoever imports it.
mapfile -t packages < <(go list -test -f '{{$test := .ImportPath}}{{range .Deps}}{{$test}} {{.}}{{"\n"}}{{end}}' ./... |
	awk '$1 ~ /[.]test$/ && $2 == "wechattoken.io/operator/internal/testcluster" {print substr($1, 1, length($1) - 5)}')
((${#packages[@]})) || {
	say "no test imports internal/testcluster: this script looks for the wrong thing." >&2
	exit 1
}

log=$(mktemp)
trap 'kill "$ticks" 2>/dev/null || true; rm -f "$log"' EXIT
(while sleep 30 >/dev/null 2>&1; do say "... at it since $SECONDS s"; done) &
ticks=$!

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
		say "$is: go test of ${#packages[@]} packages"
		# Some measure, and some kill what is late: one package at a time.
		if ! KUBEBUILDER_ASSETS=$assets go test -count=1 -timeout 30m -p 1 "${packages[@]}" 2>&1 | tee "$log"; then
			verdict=FAILED failed=1
			bad=$(awk '$1 == "FAIL" && $2 ~ /^wechattoken/ {printf "%s ", $2}' "$log")
		fi
	fi
	table+=$'\n'$(printf '%-10s  %-8s  %7d  %s' "$(minor "$version")" "$verdict" $((SECONDS - start)) "$bad")
done
printf '\n%s\n' "$table"
exit $failed
