#!/usr/bin/env bash
# Puts Kubernetes into bin/controlplane, in the versions of the go.mod beside this
# file. A second run does nothing.
#
#   build.sh         etcd, kube-apiserver and kubectl: the published ones if
#                    setup-envtest can get them, else built from the Go module
#                    proxy. KUBEBUILDER_ASSETS, where set, wins. KUBERNETES=1.35
#                    takes the versions of 1.35/go.mod instead, whatever else is
#                    set, into bin/controlplane-1.35.
#   build.sh node    what a node needs besides: kubelet and others
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bin=$(cd "$here/../.." && pwd)/bin
out=$bin/controlplane mod=$here
if [[ -n ${KUBERNETES:-} ]]; then
	out+=-$KUBERNETES mod+=/$KUBERNETES
	unset KUBEBUILDER_ASSETS
fi
kubernetes_cmd=k8s.io/kubernetes/cmd
case ${1:-} in
node)
	binaries=(kube-controller-manager kube-proxy kube-scheduler kubelet)
	targets=("${binaries[@]/#/$kubernetes_cmd/}")
	stampfile=$out/.stamp-node
	first_time="5 minutes" # the packages of kube-apiserver are compiled already
	unset KUBEBUILDER_ASSETS
	;;
*)
	binaries=(etcd kube-apiserver kubectl)
	targets=(go.etcd.io/etcd/server/v3 "$kubernetes_cmd/kube-apiserver" "$kubernetes_cmd/kubectl")
	stampfile=$out/.stamp
	first_time="7 minutes"
	published=yes
	;;
esac

say() { printf 'controlplane: %s\n' "$*"; }
fail() {
	printf 'controlplane: %s\n' "$@" >&2
	exit 1
}

complete() { # DIR: does it hold every binary?
	local b
	for b in "${binaries[@]}"; do [[ -x $1/$b ]] || return 1; done
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
	complete "$KUBEBUILDER_ASSETS" ||
		fail "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS does not hold ${binaries[*]}. Unset it, and they are built from source; or point it at a folder that has them."
	say "nothing to build: KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS has ${binaries[*]}."
	exit
fi

[[ -f $mod/go.mod ]] ||
	fail "there is no $mod/go.mod. KUBERNETES is one of$(cd "$here" && printf ' %s' [0-9]*), or empty for the newest."

cd "$mod"
need=$(awk '$1 == "go" {print $2; exit}' go.mod)
command -v go >/dev/null ||
	fail "there is no Go here. Install Go $need or newer (https://go.dev/dl), put it into PATH, and run this again."

export CGO_ENABLED=0 GOWORK=off
if ! why=$(go list -m 2>&1); then
	fail "$why" "this Go cannot read $mod/go.mod. It has to be $need or newer (https://go.dev/dl), or be allowed to fetch that itself (GOTOOLCHAIN=auto)."
fi
version() { awk -v module="$1" '$1 == module && $2 ~ /^v/ {print $2; exit}' go.mod; }
kubernetes=$(version k8s.io/kubernetes)
etcd=$(version go.etcd.io/etcd/server/v3)

# What the binaries were made of. It is written last, so an interrupted build
# has none.
stamp=$(go env GOVERSION GOOS GOARCH && cksum go.mod go.sum && cksum <"$here/build.sh")
fresh() { complete "$out" && [[ $(cat "$stampfile" 2>/dev/null) == "$stamp" ]]; }
done_already() {
	say "up to date: ${binaries[*]} in $out."
	exit
}
if fresh; then done_already; fi

# The lock only saves work: every build has a folder of its own.
mkdir -p "$out"
if command -v flock >/dev/null; then
	exec 9>"$bin/.controlplane.lock"
	if ! flock -n 9; then
		say "another build is at it; waiting for it to end."
		flock 9
	fi
	if fresh; then done_already; fi
	rm -rf "$bin"/.controlplane.?????? # of builds that were killed
fi

new=$(mktemp -d "$bin/.controlplane.XXXXXX")
log=$new/log

install() { # the new binaries, and what they were made of
	local b
	rm -f "$stampfile"
	for b in "${binaries[@]}"; do mv -f "$new/$b" "$out/$b"; done
	printf '%s\n' "$stamp" >"$new/stamp"
	mv -f "$new/stamp" "$stampfile"
	say "done in $SECONDS s."
}
export GOTMPDIR=$new # so nothing is left behind elsewhere
child=
cleanup() {
	if [[ -n $child ]] && kill -- "-$child" 2>/dev/null; then wait "$child" 2>/dev/null || true; fi
	rm -rf "$new"
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# start COMMAND: as the child. It leads a process group, which ends as one.
start() {
	set -m
	"$@" </dev/null 9>&- &
	child=$!
	set +m
}

# follow TEXT: wait for the child and tell how it goes, as one line that
# changes on a terminal, else as a line every 15 s. TEXT is a command.
follow() {
	local status=0 told=$SECONDS
	while kill -0 "$child" 2>/dev/null; do
		sleep 1
		if [[ -t 1 ]]; then
			printf '\rcontrolplane: %s, %d s\033[K' "$("$1")" "$SECONDS"
		elif ((SECONDS - told >= 15)); then
			told=$SECONDS
			say "$("$1"), $SECONDS s"
		fi
	done
	wait "$child" || status=$?
	child=
	if [[ -t 1 ]]; then printf '\r\033[K'; fi
	return "$status"
}

explain() { # why the child failed, and what to do
	# Not the names of packages and modules that went well.
	grep -vE '^[[:alnum:]./_-]+$|^go: downloading ' "$log" | tail -n 20 >&2 || true
	if grep -q 'no space left on device' "$log"; then
		fail "the disk is full. The build needs about 4 GB in GOMODCACHE=$(go env GOMODCACHE), GOCACHE=$(go env GOCACHE) and $bin: make room, and run this again; it goes on where it stopped."
	elif grep -qE 'dial tcp|proxyconnect|no such host|i/o timeout|TLS handshake|connection re|GOPROXY|module lookup disabled|: [45][0-9][0-9] [A-Z]|EOF$' "$log"; then
		fail "Go could not download a module through GOPROXY=$(go env GOPROXY). Check the network, or set GOPROXY and HTTPS_PROXY to what your network wants, and run this again; it goes on where it stopped."
	fi
	fail "the build failed; the reason is above. Run this again after it is gone; it goes on where it stopped."
}

# The newest patch of the same minor version counts. An index that cannot be read
# within seconds is one that cannot be reached.
if [[ ${published:-} ]]; then
	envtest=(go tool -modfile="$here/../tools/go.mod" setup-envtest)
	minor=${kubernetes#v} minor=${minor%.*}
	say "looking for published programs of Kubernetes $minor with setup-envtest."
	"${envtest[@]}" version >"$log" 2>&1 || true # compiles it
	fetching() { printf 'fetching Kubernetes %s' "$minor"; }
	fetch() { "${envtest[@]}" use "$minor.x" --bin-dir "$new" -p path >"$new/path" 2>"$log"; }
	if timeout 10 "${envtest[@]}" list "$minor.x" --bin-dir "$new" >"$log" 2>&1 && grep -q available "$log" &&
		start fetch && follow fetching && path=$(cat "$new/path") && complete "$path"; then
		for b in "${binaries[@]}"; do mv "$path/$b" "$new/$b"; done
		install
		exit
	fi
	say "there are none that this machine can get: $(tail -n 1 "$log")"
fi

say "building ${binaries[*]} into $out, of Kubernetes $kubernetes and etcd $etcd."
say "the first time takes about $first_time on 2 cores and 4 GB of disk, less on more cores; the next, seconds."

# Stands in for "every module that is missing": some of go.mod's are only needed
# by packages that are not built.
modules=$(grep -c '^	[^ ]* v[^ ]*\( // indirect\)\?$' go.mod)
downloading() {
	printf 'modules downloaded: %d of at most %d' "$(grep -c '^go: downloading ' "$log")" "$modules"
}
# Stale is what Go's build cache does not have; main packages always are.
start go list -trimpath -deps -f '{{if and .Stale (ne .Name "main") (ne .ImportPath "unsafe")}}{{.ImportPath}}{{end}}' \
	"${targets[@]}" >"$new/packages" 2>"$log"
follow downloading || explain

packages=$(wc -l <"$new/packages")
compiling() {
	local n
	n=$(wc -l <"$log")
	if ((n < packages)); then
		printf 'packages compiled: %d of %d' "$n" "$packages"
	else
		printf 'linking'
	fi
}
IFS=. read -r major minor _ <<<"${kubernetes#v}"
flags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
	flags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=$major -X $package.gitMinor=$minor"
done
start go build -v -trimpath -buildvcs=false -ldflags="$flags" -o "$new/" "${targets[@]}" >"$log" 2>&1
follow compiling || explain

if [[ -f $new/server ]]; then mv "$new/server" "$new/etcd"; fi # the module's last element names the binary
install
