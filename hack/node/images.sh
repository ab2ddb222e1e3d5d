#!/usr/bin/env bash
# Makes the images that the node and the end-to-end tests need, as archives in
# bin/images. Nothing is pulled: all but busybox is compiled here, and that comes
# from a package of Debian.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$PWD/bin/images
mkdir -p "$out"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

say() { printf 'images: %s\n' "$*"; }
fail() {
	say "$@" >&2
	exit 1
}

say "making those of the operator, the token server and the fake WeChat; the first time, compiling takes some minutes."
go run -C hack ./image -o "$out/operator.tar" -name wechattoken.io/operator:e2e -version e2e manager
go run -C hack ./image -o "$out/operator-next.tar" -name wechattoken.io/operator:e2e-next -version e2e-next manager
go run -C hack ./image -o "$out/token-server.tar" -name wechattoken.io/token-server:e2e -version e2e token-server
go run -C hack ./image -o "$out/fake-wechat.tar" -name wechattoken.io/fake-wechat:e2e fake-wechat

for program in node/pause e2e/consumer; do
	name=${program#*/}
	mkdir -p "$tmp/$name"
	CGO_ENABLED=0 go build -C hack -trimpath -ldflags='-s -w' -o "$tmp/$name/$name" "./$program"
done
go run -C hack ./image -o "$out/pause.tar" -name wechattoken.io/pause:node -root "$tmp/pause" /pause
go run -C hack ./image -o "$out/consumer.tar" -name wechattoken.io/consumer:e2e -root "$tmp/consumer" /consumer

# The samples run a shell. Under the name of the image that they ask for stands
# Debian's busybox, which is not installed here: it is taken out of its package.
if [[ ! -s $out/busybox.tar ]]; then
	mkdir -p "$tmp/deb" "$tmp/busybox/bin"
	(cd "$tmp/deb" && { apt-get -qq download busybox-static || { apt-get -qq update && apt-get -qq download busybox-static; }; } >/dev/null 2>&1) ||
		fail "apt-get could not download Debian's package busybox-static, which stands for the image busybox of the samples."
	dpkg-deb --extract "$tmp"/deb/*.deb "$tmp/deb"
	mv "$(find "$tmp/deb" -name busybox -type f -perm -u+x)" "$tmp/busybox/bin/"
	for applet in $("$tmp/busybox/bin/busybox" --list); do
		[[ $applet == busybox ]] || ln -s busybox "$tmp/busybox/bin/$applet"
	done
	go run -C hack ./image -o "$out/busybox.tar" -name public.ecr.aws/docker/library/busybox:1.37 -root "$tmp/busybox"
fi
say "they are in $out. Another cluster takes them with, for instance, 'kind load image-archive FILE'."
