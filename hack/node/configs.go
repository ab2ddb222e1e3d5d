//go:build linux

package main

import (
	"os"
	"strings"
)

// containerdConfig keeps containerd within the node's folder. OOM scores are not
// ours to lower in every container or virtual machine, and nothing is pulled.
const containerdConfig = `version = 2
root = "DIR/containerd"
state = "DIR/containerd-state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.internal.v1.opt"]

[grpc]
address = "DIR/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "PAUSE"
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "CNIPLUGINS"
conf_dir = "DIR/cni"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
`

// cniConfig links each pod to the node, which passes on what they send to each
// other: kube-proxy sees all of it, without the kernel's filter for bridges. There
// is no way out but to the node itself.
const cniConfig = `{
  "cniVersion": "0.4.0",
  "name": "pods",
  "plugins": [
    {
      "type": "ptp",
      "ipam": {
        "type": "host-local", "dataDir": "DIR/cni-addresses",
        "ranges": [[{"subnet": "` + podCIDR + `"}]], "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

// kubeletConfig asks for no cgroup of the kubelet's own: neither version nor
// layout of them is the same on all machines, and nothing is measured by them.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: ` + nodeIP + `
containerRuntimeEndpoint: unix://DIR/containerd.sock
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: DIR/ca.crt}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupsPerQOS: false
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
podLogsDir: DIR/pods
volumePluginDir: DIR/volume-plugins
resolvConf: ""
# A disk that is nearly full must not keep tests from running.
evictionHard: {memory.available: 100Mi}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
`

const kubeProxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: ` + podCIDR + `
hostnameOverride: ` + nodeName + `
clientConnection: {kubeconfig: DIR/kube-proxy.kubeconfig}
# Those are the machine's, and other namespaces may not set them.
conntrack: {maxPerCore: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`

// writeConfigs writes what the programs read.
func (n node) writeConfigs() error {
	fill := strings.NewReplacer("DIR", n.dir, "PAUSE", pauseImage, "CNIPLUGINS", cniPlugins)
	for file, text := range map[string]string{
		"containerd.toml":   containerdConfig,
		"cni/pods.conflist": cniConfig,
		"kubelet.yaml":      kubeletConfig,
		"kube-proxy.yaml":   kubeProxyConfig,
	} {
		if err := os.WriteFile(n.path(file), []byte(fill.Replace(text)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// cniPlugins is where Debian's containernetworking-plugins are.
const cniPlugins = "/usr/lib/cni"
