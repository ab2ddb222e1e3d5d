//go:build linux

package main

import "path/filepath"

// service is a program of the node.
type service struct {
	name string
	args []string // the program first
}

// services are the programs in the order of their start. Each is started again
// when it ends.
func (n node) services() []service {
	bin := func(name string, args ...string) service {
		return service{name: name, args: append([]string{filepath.Join(n.programs, name)}, args...)}
	}
	containerd := service{name: "containerd", args: []string{"containerd", "--config", n.path("containerd.toml")}}
	return []service{
		containerd,
		bin("etcd",
			"--data-dir="+n.path("etcd"),
			"--unsafe-no-fsync", // a node that is thrown away
			"--listen-client-urls=http://127.0.0.1:2379", "--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380"),
		bin("kube-apiserver",
			"--etcd-servers=http://127.0.0.1:2379",
			"--advertise-address="+nodeIP,
			"--secure-port=6443",
			"--service-cluster-ip-range="+serviceCIDR,
			"--authorization-mode=Node,RBAC",
			"--client-ca-file="+n.path("ca.crt"),
			"--tls-cert-file="+n.path("kube-apiserver.crt"), "--tls-private-key-file="+n.path("kube-apiserver.key"),
			"--kubelet-client-certificate="+n.path("kube-apiserver-kubelet-client.crt"), "--kubelet-client-key="+n.path("kube-apiserver-kubelet-client.key"),
			"--kubelet-preferred-address-types=InternalIP",
			"--service-account-issuer=https://kubernetes.default.svc",
			"--service-account-signing-key-file="+n.path("service-accounts.key"), "--service-account-key-file="+n.path("service-accounts.key"),
			"--shutdown-watch-termination-grace-period=1s",
			"--enable-admission-plugins=NodeRestriction"),
		bin("kube-controller-manager",
			"--kubeconfig="+n.kubeconfig("kube-controller-manager"),
			"--authentication-kubeconfig="+n.kubeconfig("kube-controller-manager"), "--authorization-kubeconfig="+n.kubeconfig("kube-controller-manager"),
			"--bind-address=127.0.0.1",
			"--root-ca-file="+n.path("ca.crt"),
			"--service-account-private-key-file="+n.path("service-accounts.key"),
			"--use-service-account-credentials",
			"--leader-elect=false"),
		bin("kube-scheduler",
			"--kubeconfig="+n.kubeconfig("kube-scheduler"),
			"--authentication-kubeconfig="+n.kubeconfig("kube-scheduler"), "--authorization-kubeconfig="+n.kubeconfig("kube-scheduler"),
			"--bind-address=127.0.0.1",
			"--leader-elect=false"),
		bin("kubelet",
			"--config="+n.path("kubelet.yaml"),
			"--kubeconfig="+n.kubeconfig("kubelet"),
			"--hostname-override="+nodeName,
			"--node-ip="+nodeIP,
			"--cert-dir="+n.path("kubelet-pki"),
			"--root-dir="+n.path("kubelet")),
		bin("kube-proxy", "--config="+n.path("kube-proxy.yaml")),
	}
}
