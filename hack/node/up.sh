#!/usr/bin/env bash
# Brings up the node with all images on it that the end-to-end tests need. What it
# needs itself it builds, or installs from Debian's packages.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

say() { printf 'node: %s\n' "$*"; }
fail() {
	say "$@" >&2
	exit 1
}
[[ $(uname -s) == Linux ]] || fail "a node needs Linux. With kind elsewhere: E2E_KUBECONFIG=... make e2e"
((EUID == 0)) || fail "only root can bring up a node: it makes namespaces, mounts and network links. In a virtual machine or a privileged container that is no risk to others."
say "it needs root, 4 GB of disk and 2 GB of memory, writes to /var/lib/wechattoken-node and bin, and makes no connection but to package servers. 'make node-down' removes it."

hack/node/packages.sh
hack/controlplane/build.sh
hack/controlplane/build.sh node
hack/node/images.sh
go build -C hack -o ../bin/node ./node
bin/node up
bin/node load bin/images/*.tar
