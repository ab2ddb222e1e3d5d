#!/bin/sh
# Compiles programs as they are in the image: hack/image/compile.sh OUT PACKAGE...
# The Dockerfile and the Go program beside this script both call it, so that the
# same source gives the same bytes, in whatever folder and whether or not git is
# there. The environment says for which platform, as always with Go, and with
# VERSION and REVISION what the programs tell of themselves.
set -eu
out=$1
shift
export CGO_ENABLED=0 GOFLAGS=
package=wechattoken.io/operator/internal/build
exec go build -trimpath -buildvcs=false -ldflags="-s -w -X '$package.version=${VERSION:-}' -X '$package.revision=${REVISION:-}'" -o "$out" "$@"
