#!/usr/bin/env bash
# Pushes the images and the chart of a release and signs them: push.sh FOLDER, where
# FOLDER is what release.sh made. An image comes by its digest, with its signature, where
# it comes from (SLSA) and what is in it (CycloneDX). It gets its tag when all of that
# could be verified as docs/releasing.md tells users to: a tag never names an image that
# is not signed. Log in first, so that skopeo, cosign and helm find the password: docker
# login, or skopeo login --authfile ~/.docker/config.json. A job of GitHub that may ask for
# its identity (id-token: write) signs everything with that, too. Its variables:
#
#   VERSION           the release's
#   IMAGE_REPOSITORY  where its image comes, without a tag; beside it come the other
#                     images, and charts/wechat-token-operator
#   SIGNING_KEY       an SSH key of the type ecdsa-sha2-nistp256: its private half
#   ALLOWED_SIGNERS   who may sign; left out, the file beside this one
set -euo pipefail

fail() {
	printf 'release: %s\n' "$@" >&2
	exit 1
}
dist=$(realpath "$1") signers=$(realpath "${ALLOWED_SIGNERS:-$(dirname "${BASH_SOURCE[0]}")/allowed_signers}")
[[ -r ${SIGNING_KEY:-} ]] || fail "SIGNING_KEY=${SIGNING_KEY:-} is no file that can be read, and nobody could tell an unsigned image from a forged one. docs/releasing.md says how to make a key."
key=$(realpath "$SIGNING_KEY")
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
command -v skopeo >/dev/null || fail "there is no skopeo here, which pushes the images: install the package skopeo."
(cd "$dist" && sha256sum --check --quiet SHA256SUMS) || fail "$dist is not a release as it was made: the lines above. Run 'make release' first."

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM HUP

# The same key, as cosign reads it. ssh-keygen cannot write Ed25519 in that form.
(umask 077 && cat "$key" >"$tmp/key")
ssh-keygen -q -p -m PKCS8 -N '' -f "$tmp/key" >/dev/null ||
	fail "SIGNING_KEY=$SIGNING_KEY is no private half of an SSH key; the reason is above. One that only an agent holds cannot sign images."
ssh-keygen -y -f "$tmp/key" | cut -d' ' -f1,2 >"$tmp/key.pub"
[[ $(<"$tmp/key.pub") == "ecdsa-sha2-nistp256 "* ]] || fail "SIGNING_KEY=$SIGNING_KEY is not of the type ecdsa-sha2-nistp256, which images need. Make one with 'ssh-keygen -t ecdsa -f ../release-key'."
grep -qF -- "$(<"$tmp/key.pub")" <(grep -v '^#' "$signers") ||
	fail "nobody could verify this signature: $signers does not name the key $SIGNING_KEY. Put its public half there as docs/releasing.md says, and commit that before the release."
ssh-keygen -e -m PKCS8 -f "$tmp/key.pub" >"$tmp/key.pem"

echo "release: getting cosign and helm; the first time, compiling them takes some minutes."
cosign=$(CGO_ENABLED=0 go tool -n -modfile=hack/release/images/go.mod cosign) || fail "cosign cannot be compiled; the reason is above."
helm=$(CGO_ENABLED=0 go tool -n -modfile=hack/helm/go.mod helm) || fail "helm cannot be compiled; the reason is above."
export COSIGN_PASSWORD= # cosign asks for one otherwise
"$cosign" import-key-pair --key "$tmp/key" --output-key-prefix "$tmp/cosign" >/dev/null 2>"$tmp/said" || fail "cosign cannot read the key:" "$(<"$tmp/said")"

# quiet COMMAND...: it says nothing, unless it fails.
quiet() { "$@" >"$tmp/said" 2>&1 || fail "$* failed:" "$(<"$tmp/said")"; }
# The format that cosign 2 verifies without a network, too, and that admission
# controllers look for.
format=(--yes --new-bundle-format=false --use-signing-config=false)
# With the key, no log of sigstore.dev has to know of a release.
who=(key)
key_signs=("${format[@]}" --key "$tmp/cosign.key" --tlog-upload=false)
key_verifies=(--key "$tmp/key.pem" --insecure-ignore-tlog=true)
if [[ -n ${ACTIONS_ID_TOKEN_REQUEST_URL:-} ]]; then
	who+=(workflow)
	workflow_signs=("${format[@]}")
	workflow_verifies=(--certificate-oidc-issuer https://token.actions.githubusercontent.com --certificate-identity "$GITHUB_SERVER_URL/$GITHUB_WORKFLOW_REF")
fi

# sign REFERENCE [SBOM]: with the statements about it, by each who can, and verified.
sign() {
	local by
	for by in "${who[@]}"; do
		local -n signs=${by}_signs verifies=${by}_verifies
		quiet "$cosign" sign "${signs[@]}" "$1"
		quiet "$cosign" verify "${verifies[@]}" "$1"
		provenance >"$tmp/provenance.json"
		attest slsaprovenance1 "$tmp/provenance.json" "$1"
		[[ -z ${2:-} ]] || attest cyclonedx "$2" "$1"
	done
}
attest() { # TYPE PREDICATE REFERENCE
	quiet "$cosign" attest "${signs[@]}" --type "$1" --predicate "$2" "$3"
	quiet "$cosign" verify-attestation "${verifies[@]}" --type "$1" "$3"
}

# What SLSA asks of a builder, as far as it is known here. It is made where the image is
# signed, since it is no part of what the same commit gives.
provenance() {
	local source builder=https://wechattoken.io/operator/make-release base='' run=''
	source=$(git remote get-url origin 2>/dev/null | sed -nE 's#^git@([^:/]+):#https://\1/#; s#^https://([^/@]*@)?(.*)#"uri": "git+https://\2", #p' || true)
	if [[ ${GITHUB_ACTIONS:-} == true ]]; then
		builder=$GITHUB_SERVER_URL/$GITHUB_WORKFLOW_REF
		run="\"invocationId\": \"$GITHUB_SERVER_URL/$GITHUB_REPOSITORY/actions/runs/$GITHUB_RUN_ID/attempts/$GITHUB_RUN_ATTEMPT\""
		base=$(sed -nE 's#^ARG BASE=(.*)@sha256:(.*)#, {"uri": "docker://\1", "digest": {"sha256": "\2"}}#p' Dockerfile)
	fi
	cat <<-EOF
		{
		  "buildDefinition": {
		    "buildType": "https://wechattoken.io/operator/make-release/v1",
		    "externalParameters": {"version": "$VERSION", "imageRepository": "$IMAGE_REPOSITORY"},
		    "resolvedDependencies": [{$source"digest": {"gitCommit": "$revision"}}$base]
		  },
		  "runDetails": {"builder": {"id": "$builder"}, "metadata": {$run}}
		}
	EOF
}

push() { # ARCHIVE REPOSITORY
	local archive=oci-archive:$dist/$1_image.tar labels image
	labels=$(skopeo inspect --override-os linux --override-arch amd64 --format '{{index .Labels "org.opencontainers.image.version"}} {{index .Labels "org.opencontainers.image.revision"}}' "$archive")
	[[ ${labels% *} == "$VERSION" ]] || fail "$1_image.tar is of ${labels% *}, and VERSION=$VERSION."
	revision=${labels#* }
	image=$2@sha256:$(skopeo inspect --raw "$archive" | sha256sum | cut -d' ' -f1)
	quiet skopeo --insecure-policy copy --all --preserve-digests "$archive" "docker://$image"
	sign "$image" "$dist/$1_image.cdx.json"
	quiet skopeo --insecure-policy copy --all --preserve-digests "$archive" "docker://$2:$VERSION"
	echo "release: $2:$VERSION is ${image#*@}, signed, with provenance and SBOM."
}
push wechat-token-operator "$IMAGE_REPOSITORY"
push wechat-token-server "${IMAGE_REPOSITORY%/*}/wechat-token-server"
push fake-wechat "${IMAGE_REPOSITORY%/*}/fake-wechat"

# helm pushes by tag only. So the chart comes last, when all that signs has worked. helm
# writes the time of the file into the manifest: with that of the commit, a second push
# gives the same digest.
chart=wechat-token-operator-${VERSION#v}.tgz charts=${IMAGE_REPOSITORY%/*}/charts
cp "$dist/$chart" "$tmp"
touch --date="@$(git log -1 --format=%ct "$revision")" "$tmp/$chart"
quiet "$helm" push "$tmp/$chart" "oci://$charts"
digest=$(sed -n 's/^Digest: //p' "$tmp/said")
[[ $digest == sha256:* ]] || fail "helm does not say which digest the chart has, but:" "$(<"$tmp/said")"
sign "$charts/wechat-token-operator@$digest"
echo "release: $charts/wechat-token-operator:${VERSION#v} is $digest, signed, with provenance."
