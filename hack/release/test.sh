#!/usr/bin/env bash
# Makes a release of this commit in two folders that have nothing in common but Go's
# caches, compares them, and looks into all of it, signatures and all. Everything it makes
# is in a folder of its own, which goes with it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf 'release-test: %s\n' "$*"; }
fail() {
	printf 'release-test: %s\n' "$@" >&2
	exit 1
}
hack/apt.sh skopeo=skopeo ssh-keygen=openssh-client jq=jq
[[ -z $(git status --porcelain) ]] || say "what is not committed here is not in it."
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP
export VERSION=v0.0.1-test.1 IMAGE_REPOSITORY=registry.example.com/somebody/wechat-token-operator RELEASE_URL=https://example.com/somebody/wechat-token-operator/releases/download/v0.0.1-test.1
unset SIGNING_KEY UNSIGNED MAKEFLAGS MAKEOVERRIDES # make's of outside

one=$tmp/one another=$tmp/another/folder
git -c advice.detachedHead=false clone --quiet . "$one"
git -c advice.detachedHead=false clone --quiet . "$another"
release() { make --no-print-directory -C "$1" release "${@:2}"; }
release "$one" UNSIGNED=yes 2>&1 | tee "$tmp/said"
[[ ! -e $one/dist/SHA256SUMS.sig ]] && grep -qF 'THIS RELEASE IS NOT SIGNED' "$tmp/said" || fail "a release without a key should end with a warning."
ssh-keygen -q -t ecdsa -N '' -C '' -f "$tmp/key"
printf 'wechat-token-operator namespaces="file" %s\n' "$(<"$tmp/key.pub")" >"$tmp/allowed_signers"
export ALLOWED_SIGNERS=$tmp/allowed_signers
(umask 077 && TZ=Asia/Shanghai LC_ALL=C.UTF-8 GOAMD64=v3 release "$another" SIGNING_KEY="$tmp/key")
ssh-keygen -q -Y verify -n file -f "$ALLOWED_SIGNERS" -I wechat-token-operator -s "$another/dist/SHA256SUMS.sig" <"$another/dist/SHA256SUMS" ||
	fail "the signature does not verify; the reason is above."
diff "$one/dist/SHA256SUMS" "$another/dist/SHA256SUMS" || fail "the same commit gave other bytes in another folder: the lines above."
say "two folders gave the same $(wc -l <"$one/dist/SHA256SUMS") files."
(while sleep 30 >/dev/null 2>&1; do say "... at it since $SECONDS s"; done) &
ticks=$!
trap 'kill "$ticks" 2>/dev/null || true; rm -rf "$tmp"' EXIT

# refuses TEXT ARGS...: make release does nothing, and says TEXT.
refuses() {
	local said
	if said=$(release "$another" "${@:2}" 2>&1); then fail "make release ${*:2} should have said '$1', and made a release."; fi
	grep -qF -- "$1" <<<"$said" || fail "make release ${*:2} should have said '$1', and said:" "$said"
	cmp -s "$one/dist/SHA256SUMS" "$another/dist/SHA256SUMS" || fail "make release ${*:2} changed dist, though it refused."
}
for wrong in dev 1.2.3 v1.2 v01.2.3 v1.2.3- 'v1.2.3 ' v1.2.3+more; do refuses 'is no version of a release' VERSION="$wrong"; done
refuses 'in which registry' IMAGE_REPOSITORY=wechat-token-operator
refuses 'where krew will find' RELEASE_URL=example.com
for key in '' "$tmp/none"; do refuses 'ssh-keygen -t ecdsa' SIGNING_KEY="$key"; done
refuses 'ssh-keygen -t ecdsa' UNSIGNED=no
git -C "$another" tag v1.2.3 HEAD~
refuses 'the tag v1.2.3 is commit' VERSION=v1.2.3
touch "$another/controllers/new.go"
refuses 'a release is made of a commit'
say "it refuses what it should."

for image in wechat-token-operator wechat-token-server fake-wechat; do
	# skopeo checks every digest on the way, and takes both platforms.
	skopeo --insecure-policy copy --quiet --all "oci-archive:$one/dist/${image}_image.tar" "dir:$tmp/$image" ||
		fail "skopeo cannot read the image $image; the reason is above."
done
say "skopeo reads the images."

DIST=$one/dist go test -C hack -tags release -count=1 -timeout 20m ./release
DIST=$one/dist go test -C hack/release/images -count=1 -timeout 20m .
# Nor do the bytes come from Go's cache: one program is compiled without it.
say "compiling the manager once more, from nothing; this takes some minutes."
(cd "$one" && GOCACHE=$tmp/cache GOOS=linux GOARCH=amd64 GOAMD64=v1 REVISION=$(git rev-parse HEAD) hack/image/compile.sh "$tmp/manager" ./cmd/manager)
tar -xzOf "$one/dist/wechat-token-operator_linux_amd64.tar.gz" manager | cmp - "$tmp/manager" ||
	fail "the manager of the release is not what its commit gives."

say "done in $SECONDS s."
