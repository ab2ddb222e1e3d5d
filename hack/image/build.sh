#!/usr/bin/env bash
# Builds the image from the Dockerfile with what is there: docker, podman or
# buildah. The Makefile says what its variables mean.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
	printf 'image: %s\n' "$@" >&2
	exit 1
}

read -ra builder <<<"${BUILDER:-}"
if ((${#builder[@]} == 0)); then
	why=()
	for tool in docker podman buildah; do
		command -v "$tool" >/dev/null || continue
		# docker may be a client only, and podman a machine that is off.
		if said=$("$tool" info 2>&1 >/dev/null); then
			builder=("$tool")
			break
		fi
		why+=("$tool is here, but '$tool info' says: $(tail -n 1 <<<"$said")")
	done
	((${#builder[@]})) || fail ${why[@]+"${why[@]}"} \
		"there is nothing that builds images. Install docker (https://docs.docker.com/engine/install), or with apt-get or dnf one of podman and buildah, and run this again." \
		"For a cluster on this machine no builder is needed: 'go run -C hack ./image -o ../image.tar -name $IMAGE $PROGRAM' makes an archive that 'ctr -n k8s.io images import' takes."
fi
tool=${builder[0]##*/}
command -v "${builder[0]}" >/dev/null || fail "BUILDER=${builder[*]}: there is no ${builder[0]} here."

base=${BASE:-$(sed -n 's/^ARG BASE=//p' Dockerfile)}
case $tool in
docker | podman) look=(image inspect) ;;
buildah) look=(inspect --type image) ;;
*) fail "BUILDER=${builder[*]}: it has to be docker, podman or buildah, with flags where they are needed." ;;
esac
if ! "${builder[@]}" "${look[@]}" "$base" >/dev/null 2>&1; then
	"${builder[@]}" pull "$base" ||
		fail "$tool could not pull the base image $base; the reason is above. Give one that this machine can pull, from a mirror for instance: make image BASE=mirror.example.com/library/${base##*/}"
fi

args=(--target "$PROGRAM" --tag "$IMAGE" --build-arg "BASE=$base" --build-arg "VERSION=$VERSION" --build-arg "REVISION=$REVISION")
if [[ -n ${GOPROXY:-} ]]; then args+=(--build-arg "GOPROXY=$GOPROXY"); fi
if [[ $tool == docker ]]; then
	if [[ -n ${PLATFORM:-} ]]; then args+=(--platform "$PLATFORM"); fi
else
	# buildah 1.28, that of Debian 12, knows no BUILDPLATFORM, and TARGETARCH only with --platform.
	format='{{.host.os}}/{{.host.arch}}'
	[[ $tool == podman ]] && format='{{.Host.OS}}/{{.Host.Arch}}'
	native=$("${builder[@]}" info --format "$format")
	args+=(--platform "${PLATFORM:-$native}" --build-arg "BUILDPLATFORM=$native")
fi
read -ra flags <<<"${BUILDFLAGS:-}"

echo "image: building $IMAGE with $tool; the first time, compiling takes some minutes."
# Where docker has BuildKit but does not take it by itself.
DOCKER_BUILDKIT=1 "${builder[@]}" build "${args[@]}" ${flags[@]+"${flags[@]}"} . ||
	fail "$tool could not build the image; the reason is above. Where it is a Go module that could not be downloaded, give a proxy that is reachable: make image GOPROXY=https://goproxy.cn"
echo "image: built $IMAGE."
