#!/usr/bin/env bash
# Runs the tests of all Go modules of this repository, and says how long they took.
#
#   test.sh unit       those that need nothing but Go
#   test.sh all        all of them, with the control plane of KUBEBUILDER_ASSETS
#   test.sh cluster    of all, the packages whose tests start an API server, without
#                      the race detector: what another Kubernetes may break
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tier=${1:-}

tmp=$(mktemp -d)
(while sleep 30 >/dev/null 2>&1; do echo "... compiling and testing since $SECONDS s"; done) &
ticks=$!
trap 'kill "$ticks" 2>/dev/null || true; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

# packages MODULE PATTERN: those of the module that the tier is about, less those that
# the pattern names.
packages() {
	local list=(go list -C "$1" -tags integration)
	if [[ $tier == cluster ]]; then
		"${list[@]}" -test -f '{{$test := .ImportPath}}{{range .Deps}}{{$test}} {{.}}{{"\n"}}{{end}}' ./... |
			awk '$1 ~ /[.]test$/ && $2 == "wechattoken.io/operator/internal/testcluster" {print substr($1, 1, length($1) - 5)}'
	else
		"${list[@]}" ./...
	fi | grep -Ev "$2"
}

part() { # NAME ARGUMENTS OF GO TEST...: adds a line to the table
	local name=$1 start=$SECONDS verdict=passed
	shift
	echo "go test $*"
	go test "$@" || verdict=FAILED
	printf '%-28s %-8s %5d s\n' "$name" $verdict $((SECONDS - start)) >>"$tmp/table"
}

# These measure, or kill what is late: nothing runs beside them.
alone='/hack/(attack|bench|chaos)$'
case $tier in
unit)
	for module in . config docs hack; do part "$module" -C $module ./...; done
	;;
all | cluster)
	# The operator's packages have goroutines; the others only start programs.
	race=-race
	if [[ $tier == cluster ]]; then
		race=
	elif [[ $(go env CGO_ENABLED) != 1 ]]; then
		race=
		echo 'There is no C compiler here, so the tests run without the race detector.'
	fi
	flags=(-tags integration -timeout 30m)
	[[ $tier == all ]] || flags+=(-count 1)
	# One module after the other. Beside each other their API servers took so long on two
	# cores that tests failed which wait for them.
	# shellcheck disable=SC2046 # names of packages have no blanks
	part . "${flags[@]}" $race $(packages . "$alone")
	part config -C config "${flags[@]}" ./...
	part docs -C docs "${flags[@]}" ./...
	part docs/migration/silenceper -C docs/migration/silenceper "${flags[@]}" ./...
	# shellcheck disable=SC2046
	part hack -C hack "${flags[@]}" $(packages hack "$alone")
	part 'hack/attack, bench, chaos' -C hack "${flags[@]}" -p 1 ./attack ./bench ./chaos
	;;
*)
	echo "usage: hack/test.sh unit|all|cluster" >&2
	exit 2
	;;
esac
echo
cat "$tmp/table"
printf '%-28s          %5d s\n' 'in all' "$SECONDS"
! grep -q ' FAILED ' "$tmp/table"
