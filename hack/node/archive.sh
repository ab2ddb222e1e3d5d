#!/usr/bin/env bash
# Makes the image of a folder, as `docker save` writes it:
# hack/node/archive.sh OUT.tar NAME:TAG ROOT [ENTRYPOINT]
set -euo pipefail
out=$(realpath "$1") name=$2 root=$3 entrypoint=${4:-}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
tar --create --file="$tmp/layer.tar" --directory="$root" --owner=0 --group=0 --mtime=@0 --sort=name .
layer=$(sha256sum <"$tmp/layer.tar" | cut -d' ' -f1)
printf '{"architecture":"%s","os":"linux","config":{"User":"65532:65532","Env":["PATH=/bin"]%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
	"$(go env GOARCH)" "${entrypoint:+,\"Entrypoint\":[\"$entrypoint\"]}" "$layer" >"$tmp/config.json"
printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar"]}]' "$name" >"$tmp/manifest.json"
tar --create --file="$out" --directory="$tmp" layer.tar config.json manifest.json
