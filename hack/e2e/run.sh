#!/usr/bin/env bash
# Runs the end-to-end tests: on a node made of this machine, which is removed in
# the end, or on the cluster of E2E_KUBECONFIG. Its arguments are for go test.
#
# Another cluster needs the images (hack/node/images.sh makes archives of them),
# the address 10.96.0.80 free for a Service, the ports 30080 and 30081 of its nodes free
# and reachable from here, and E2E_RESTART_KUBELET: a command that restarts a kubelet.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# What a node may leave behind, of which nothing must stay.
traces() {
	{
		ip -o link show | cut -d: -f2
		cut -d' ' -f2 /proc/mounts
		find /sys/fs/cgroup -maxdepth 3 -type d
		find /etc /opt /run /var/lib /var/log -maxdepth 2
		nft list ruleset
	} 2>/dev/null | grep -E 'wechattoken-node|wxtnode|k8s\.io|kube|cni|containerd|shop|pods' | sort
}

tests() {
	# The trial is for a cluster without the operator, which the others leave there.
	(($#)) || go test -C hack -tags e2e -count 1 -timeout 10m -v ./try -run TestATrial
	go test -C hack -tags e2e -count 1 -timeout 30m -v ./e2e "$@"
	(($#)) || go test -C docs -tags e2e -count 1 -timeout 15m -v -run TestBlocksOnANode .
}

if [[ -n ${E2E_KUBECONFIG:-} ]]; then
	tests "$@"
	exit
fi
hack/node/packages.sh
bin/node down 2>/dev/null || true # of a run that was killed
before=$(traces)
trap 'if [[ -x bin/node ]]; then bin/node down; fi' EXIT
trap 'exit 130' INT TERM HUP
hack/node/up.sh
export E2E_KUBECONFIG=/var/lib/wechattoken-node/admin.kubeconfig
export E2E_RESTART_KUBELET='bin/node restart kubelet'
export CONTAINERD_ADDRESS=/var/lib/wechattoken-node/containerd.sock # for ctr
tests "$@"
bin/node down
left=$(comm -13 <(echo "$before") <(traces))
if [[ -n $left ]]; then
	printf 'The node is down, and has left behind:\n%s\n' "$left" >&2
	exit 1
fi
