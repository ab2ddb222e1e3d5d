#!/usr/bin/env bash
# Installs what a node needs besides what is built here.
exec "$(dirname "${BASH_SOURCE[0]}")/../apt.sh" containerd=containerd ctr=containerd runc=runc \
	ip=iproute2 nft=nftables nsenter=util-linux /usr/lib/cni/ptp=containernetworking-plugins
