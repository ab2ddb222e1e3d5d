#!/usr/bin/env bash
# Builds the images from the Dockerfile as `make image` does, pulling nothing;
# compares them with what the Go program beside this script assembles; and runs
# them as a restricted pod would. Installs buildah where it is missing. All it
# makes is in a folder of its own, which goes with it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

fail() {
	printf 'image-test: %s\n' "$@" >&2
	exit 1
}
((EUID == 0)) || fail "building without a registry, and looking into the image, needs root: run this as root, in a container or a virtual machine for instance."
hack/apt.sh buildah=buildah unshare=util-linux

# Whatever its store, as root buildah remembers blobs in /var/lib/containers: here
# that is a folder in memory, which ends with this script, as do all mounts.
if [[ ${1:-} != inside ]]; then
	unshare --mount true ||
		fail "it may not mount anything here, which it has to: in a container, run that with --privileged."
	mkdir -p /var/lib/containers
	unshare --mount hack/image/test.sh inside || status=$?
	rmdir --ignore-fail-on-non-empty /var/lib/containers
	exit "${status:-0}"
fi
mount -t tmpfs tmpfs /var/lib/containers

tmp=$(mktemp -d)
cleanup() {
	# Not through a mount, into this machine's modules.
	if grep -qF " $tmp/" /proc/self/mountinfo; then
		fail "something is still mounted below $tmp; unmount that and remove the folder."
	fi
	rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# A store of its own, with the driver that works everywhere, and builds that need
# no runtime. buildah keeps cache mounts in TMPDIR.
mkdir "$tmp/tmp"
cat >"$tmp/storage.conf" <<-EOF
	[storage]
	driver = "vfs"
	graphroot = "$tmp/store"
	runroot = "$tmp/run"
EOF
printf '[network]\nnetwork_config_dir = "%s"\n' "$tmp/networks" >"$tmp/containers.conf"
export CONTAINERS_STORAGE_CONF=$tmp/storage.conf CONTAINERS_CONF=$tmp/containers.conf BUILDAH_ISOLATION=chroot TMPDIR=$tmp/tmp
unset STORAGE_DRIVER STORAGE_OPTS
buildah info >/dev/null || fail "buildah does not work on this machine; the reason is above."

# The base image's name, and behind it this machine's Go, certificates, shell and install.
# Nothing else can have the base image's digest.
base=$(sed -n 's/^ARG BASE=\(.*\)@.*/\1/p' Dockerfile)
echo "image-test: making a stand-in for $base from $(go version)"
root=$tmp/base
mkdir -p "$root"/{bin,etc/ssl/certs,go,proc,root,sys,tmp,usr/local/go/{lib/time,pkg}}
goroot=$(go env GOROOT)
cp -rL "$goroot"/{VERSION,go.env,bin,src} "$root/usr/local/go"
cp -rL "$goroot"/pkg/{include,tool} "$root/usr/local/go/pkg"
cp -L "$goroot/lib/time/zoneinfo.zip" "$root/usr/local/go/lib/time"
cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs" ||
	fail "this machine has no certificate authorities: install the package ca-certificates."
for program in /bin/sh /usr/bin/install; do
	cp -L "$program" "$root/bin"
	for library in $(ldd "$program" | grep -o '/[^ ]*'); do cp -L --parents "$library" "$root"; done
done
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$root/etc/passwd"
cat >"$tmp/Dockerfile" <<-'EOF'
	FROM scratch
	COPY . /
	ENV PATH=/go/bin:/usr/local/go/bin:/bin GOPATH=/go GOTOOLCHAIN=local
	WORKDIR /go
EOF
buildah build -q -f "$tmp/Dockerfile" -t "$base" "$root" >/dev/null
rm -r "$root"

# The build gets its modules from this machine, and go.sum says that they are right.
go mod download
modules=$(go env GOMODCACHE)/cache/download

for program in manager token-server fake-wechat all; do
	name=localhost/$program:test
	labels=(VERSION=v1.2.3 REVISION=0123456789)
	make --no-print-directory image BUILDER=buildah PROGRAM=$program IMAGE=$name BASE="$base" "${labels[@]}" \
		GOPROXY=file:///modules BUILDFLAGS="--volume $modules:/modules:ro"
	buildah push -q $name "docker-archive:$tmp/$program.tar:$name"
	go test -C hack -tags builder -count 1 ./image -run TestBuilderMakesTheSame -args -built "$tmp/$program.tar" $program
	# The assembled one is an image to others, too.
	go run -C hack ./image -o "$tmp/assembled.tar" -name localhost/assembled/$program:test $program
	buildah pull -q "docker-archive:$tmp/assembled.tar" >/dev/null
	buildah inspect --type image localhost/assembled/$program:test >/dev/null
done

# as_pod PROGRAM ARGS...: runs what the image holds as its user, who may write
# nowhere, in a network with nobody in it.
as_pod() {
	local program=$1 container status=0
	shift
	container=$(buildah from localhost/"$program":test)
	# shellcheck disable=SC2016 # the shell within expands it
	root=$(buildah mount "$container") user=$(buildah inspect --format '{{.OCIv1.Config.User}}' "$container") \
		timeout 60 unshare --mount --net --pid --fork bash -euc '
			ip link set lo up 2>/dev/null || true
			mount --bind "$root" "$root"
			mount -o remount,bind,ro "$root"
			exec env -i PATH="$PATH" ZONEINFO=/zoneinfo.zip chroot --userspec="$user" --groups= "$root" "$@"
		' bash "/$program" "$@" >"$tmp/said" 2>&1 </dev/null || status=$?
	buildah rm "$container" >/dev/null
	return $status
}
said() { # TEXT: what was run last must have said this
	grep -qF -- "$1" "$tmp/said" || fail "it should have said '$1', and said:" "$(cat "$tmp/said")"
}

as_pod manager --help || fail "manager --help failed:" "$(cat "$tmp/said")"
said 'In a cluster it needs no flags.'
as_pod fake-wechat --help || fail "fake-wechat --help failed:" "$(cat "$tmp/said")"
said 'fake-wechat is the WeChat API in one process'
as_pod token-server --help || fail "token-server --help failed:" "$(cat "$tmp/said")"
said 'token-server hands the tokens of WeChatTokens to servers outside the cluster.'
status=0
as_pod manager || status=$?
((status == 1)) || fail "without a cluster manager ended with $status instead of 1:" "$(cat "$tmp/said")"
said 'manager: find a cluster: set KUBECONFIG or --kubeconfig'
echo "image-test: all programs run as the image's user, with a root that is read-only."
