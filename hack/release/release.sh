#!/usr/bin/env bash
# Makes the files of a release in dist, for `make release VERSION=v1.2.3`: from the
# same commit the same bytes, in whatever folder. Its variables:
#
#   VERSION           the release's
#   IMAGE_REPOSITORY  where its image will be, without a tag
#   RELEASE_URL       where its files will be, for krew
#   SIGNING_KEY       an SSH key that allowed_signers names: sign.sh
#   UNSIGNED          yes, and no key is needed: to try it, or to compare
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf 'release: %s\n' "$*"; }
fail() {
	printf 'release: %s\n' "$@" >&2
	exit 1
}

number='(0|[1-9][0-9]*)'
[[ ${VERSION:-} =~ ^v$number\.$number\.$number(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?$ ]] ||
	fail "VERSION=${VERSION:-} is no version of a release. It has to be like v1.2.3, or v1.2.3-rc.1 for a candidate: make release VERSION=v1.2.3"
[[ ${IMAGE_REPOSITORY:-} =~ ^[^/]+/.*[^/]$ ]] ||
	fail "IMAGE_REPOSITORY=${IMAGE_REPOSITORY:-} does not say in which registry the image will be: make release VERSION=$VERSION IMAGE_REPOSITORY=registry.example.com/wechat-token-operator"
[[ ${RELEASE_URL:-} =~ ^https?://[^/] ]] ||
	fail "RELEASE_URL=${RELEASE_URL:-} does not say where krew will find the files: make release VERSION=$VERSION IMAGE_REPOSITORY=$IMAGE_REPOSITORY RELEASE_URL=https://example.com/$VERSION"
dirty=$(git status --porcelain) || fail "git does not know this folder; the reason is above. A release is made of a commit."
[[ -z $dirty ]] || fail "$dirty" "a release is made of a commit, and the files above differ from it. Commit them, or put them away with 'git stash -u', and run this again."
REVISION=$(git rev-parse HEAD)
tagged=$(git rev-parse --quiet --verify "refs/tags/$VERSION^{commit}" || true)
[[ -z $tagged || $tagged == "$REVISION" ]] ||
	fail "the tag $VERSION is commit $tagged, and this is $REVISION. Check the tag out: git checkout $VERSION"
[[ -r ${SIGNING_KEY:-} || ${UNSIGNED:-} == yes ]] ||
	fail "SIGNING_KEY=${SIGNING_KEY:-} is no file that can be read, and nobody could tell an unsigned release from a forged one. Make a key with 'ssh-keygen -t ecdsa -f ../release-key', add its public half to hack/release/allowed_signers as docs/releasing.md says, commit that, and run: make release VERSION=$VERSION SIGNING_KEY=../release-key" \
		"to try a release, or to compare it with a published one, no key is needed: make release VERSION=$VERSION UNSIGNED=yes"

# What the bytes would depend on otherwise: the clock, the umask, the language, and
# what Go takes from its environment. The version of Go is that of go.mod.
umask 022
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
GOTOOLCHAIN=$(awk '$1 == "toolchain" {print $2; exit}' go.mod)
export REVISION VERSION IMAGE_REPOSITORY SOURCE_DATE_EPOCH GOTOOLCHAIN
export LC_ALL=C TZ=UTC GOWORK=off GOFLAGS= GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT= GOFIPS140=off
go version >/dev/null || fail "this needs $GOTOOLCHAIN, which go.mod names, and could not get it; the reason is above."

rm -rf dist # SHA256SUMS comes last: without it, the release is not whole
mkdir dist
tmp=$(mktemp -d)
(while sleep 30 >/dev/null 2>&1; do say "... at it since $SECONDS s"; done) &
ticks=$!
trap 'kill "$ticks" 2>/dev/null || true; rm -rf "$tmp"' EXIT
say "$VERSION of commit $REVISION, with $(go env GOVERSION). The first time, compiling takes 25 minutes on 2 cores."
go build -C hack -o "$tmp/" ./release
(cd hack/release/sbom && go build -o "$tmp/" .)

# pack FOLDER FILE...: a tar.gz on stdout in which all is of the commit's time, and
# belongs to root.
pack() {
	tar --format=ustar --sort=name --owner=root:0 --group=root:0 --mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" -C "$1" -c "${@:2}" | gzip -9n
}

programs=()
# program NAME PACKAGE OS/ARCH...: its archives
program() {
	local name=$1 package=$2 platform folder file archive
	for platform in "${@:3}"; do
		folder=$tmp/$platform/$name file=${package##*/} archive=${name}_${platform/\//_}.tar.gz
		[[ $platform != windows/* ]] || file+=.exe
		mkdir -p "$folder"
		cp LICENSE "$folder"
		GOOS=${platform%/*} GOARCH=${platform#*/} hack/image/compile.sh "$folder/$file" "$package"
		programs+=("$folder/$file")
		pack "$folder" LICENSE "$file" >"dist/$archive"
		say "$archive"
	done
}
program wechat-token-operator ./cmd/manager linux/amd64 linux/arm64
program wechat-token-server ./cmd/token-server linux/amd64 linux/arm64
program fake-wechat ./cmd/fake-wechat linux/amd64 linux/arm64
program kubectl-wechattoken ./cmd/kubectl-wechattoken linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64

image() { # NAME PROGRAM REPOSITORY
	local archive=$1_image.tar
	go run -C hack ./image -o "$PWD/dist/$archive" -platforms linux/amd64,linux/arm64 -name "$3:$VERSION" -version "$VERSION" -revision "$REVISION" "$2" >/dev/null
	say "$archive"
	"$tmp/sbom" -name "$1 image" -version "$VERSION" -o "dist/$1_image.cdx.json" "$tmp"/linux/{amd64,arm64}/"$1/$2"
	say "$1_image.cdx.json"
}
image wechat-token-operator manager "$IMAGE_REPOSITORY"
image wechat-token-server token-server "${IMAGE_REPOSITORY%/*}/wechat-token-server"
image fake-wechat fake-wechat "${IMAGE_REPOSITORY%/*}/fake-wechat"

make --no-print-directory dist VERSION="$VERSION" IMAGE_REPOSITORY="$IMAGE_REPOSITORY" >/dev/null
say "install.yaml and token-server.yaml"

make --no-print-directory chart VERSION="$VERSION" IMAGE_REPOSITORY="$IMAGE_REPOSITORY" >/dev/null
chart=(dist/*.tgz)
mkdir "$tmp/chart"
tar -xzf "${chart[0]}" -C "$tmp/chart"
tree=$tmp/chart/wechat-token-operator
sed -i "s|^  repository: wechat-token-operator$|  repository: $IMAGE_REPOSITORY|
s|^    repository: wechat-token-server$|    repository: ${IMAGE_REPOSITORY%/*}/wechat-token-server|" "$tree/values.yaml"
sed -i "s|image: wechat-token-operator:dev$|image: $IMAGE_REPOSITORY:$VERSION|
s|image: wechat-token-server:dev$|image: ${IMAGE_REPOSITORY%/*}/wechat-token-server:$VERSION|" "$tree/Chart.yaml"
for line in "  repository: $IMAGE_REPOSITORY" "    repository: ${IMAGE_REPOSITORY%/*}/wechat-token-server"; do
	grep -qxF "$line" "$tree/values.yaml" || fail "the chart's values.yaml has no place for IMAGE_REPOSITORY."
done
# GitHub and Gitea have the runbooks, too.
if [[ $RELEASE_URL == */releases/download/* ]]; then
	sed -i "s|^  runbookBaseURL: \"\"$|  runbookBaseURL: ${RELEASE_URL%/releases/download/*}/blob/$VERSION|" "$tree/values.yaml"
fi
go run -C hack ./chartdoc "$tree"
"$tmp/release" chart -version "$VERSION" -url "$RELEASE_URL" CHANGELOG.md <"$tree/Chart.yaml" >"$tmp/Chart.yaml"
mv "$tmp/Chart.yaml" "$tree/"
pack "$tmp/chart" wechat-token-operator >"${chart[0]}"
say "${chart[0]#dist/}"

"$tmp/release" krew -version "$VERSION" -url "$RELEASE_URL" dist/kubectl-wechattoken_*.tar.gz <cmd/kubectl-wechattoken/krew.yaml >dist/wechattoken.yaml
say wechattoken.yaml

"$tmp/sbom" -name wechat-token-operator -version "$VERSION" -o "dist/wechat-token-operator.cdx.json" "${programs[@]}"
say "wechat-token-operator.cdx.json"

(cd dist && sha256sum -- *) >"$tmp/SHA256SUMS"
mv "$tmp/SHA256SUMS" dist/
say SHA256SUMS

if [[ -n ${SIGNING_KEY:-} ]]; then
	hack/release/sign.sh dist
fi
say "done in $SECONDS s: $(find dist -type f | wc -l) files, $(du -sh dist | cut -f 1), in dist."
[[ -f dist/SHA256SUMS.sig ]] ||
	say "THIS RELEASE IS NOT SIGNED, for UNSIGNED=yes said so. Nobody can tell it from a forged one: do not publish it before SIGNING_KEY=../release-key hack/release/sign.sh dist" >&2
