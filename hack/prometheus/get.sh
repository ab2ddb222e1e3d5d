#!/usr/bin/env bash
# Brings Debian's promtool and prometheus into bin/prometheus for the tests. It
# only unpacks them: nothing is installed or started, and root is not needed.
# A second run does nothing. $PROMETHEUS_DIR, a folder with both, wins, and then
# both on $PATH.
set -euo pipefail

out=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/bin/prometheus

say() { printf 'prometheus: %s\n' "$*"; }
fail() {
	printf 'prometheus: %s\n' "$1" \
		"the tests of the alerts need promtool and prometheus 2.42 or newer: put both into PATH, or into a folder that PROMETHEUS_DIR names (https://prometheus.io/download), and run this again." >&2
	exit 1
}
complete() { [[ -x $1/promtool && -x $1/prometheus ]]; }

if [[ -n ${PROMETHEUS_DIR:-} ]]; then
	complete "$PROMETHEUS_DIR" || fail "PROMETHEUS_DIR=$PROMETHEUS_DIR does not hold them."
	exit
fi
if command -v promtool >/dev/null && command -v prometheus >/dev/null; then exit; fi
if complete "$out"; then exit; fi
for tool in apt-get dpkg-deb; do
	command -v "$tool" >/dev/null || fail "there is no $tool to fetch them with."
done

mkdir -p "${out%/*}"
new=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$new"' EXIT
cd "$new"

# apt-get with package lists of its own, which anybody may write.
own=(apt-get -qq -o APT::Sandbox::User=root -o Dir::State::Lists="$new/lists" -o Dir::Cache="$new/cache")
download() { "$@" download prometheus >log 2>&1; }
say "fetching Debian's package prometheus: 20 MB, unpacked 100 MB, once."
if ! download apt-get -qq -o APT::Sandbox::User=root; then
	say "the package lists of this machine do not have it, or are old; fetching newer ones."
	mkdir -p lists/partial cache/archives/partial
	if ! "${own[@]}" update >log 2>&1 || ! download "${own[@]}"; then
		cat log >&2
		fail "apt-get could not download the package prometheus; the reason is above."
	fi
fi
dpkg-deb -x prometheus_*.deb unpacked || fail "dpkg-deb could not unpack it."
rm -rf "$out"
mv unpacked/usr/bin "$out"
say "$("$out/promtool" --version | head -n 1) is in $out."
