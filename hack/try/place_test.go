package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const bootID = "0d9bb2f6-98f4-4b19-8bb3-3d0c1c4ac2f5"

func node(name, providerID, runtime, boot string, labels map[string]string) corev1.Node {
	return corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       corev1.NodeSpec{ProviderID: providerID},
		Status:     corev1.NodeStatus{NodeInfo: corev1.NodeSystemInfo{ContainerRuntimeVersion: runtime, BootID: boot}},
	}
}

func TestTheNodesSayWhichClusterItIs(t *testing.T) {
	t.Parallel()
	kind := func(cluster, name string) corev1.Node {
		return node(name, "kind://docker/"+cluster+"/"+name, "containerd://2.1.3", "of the machine or of a virtual one", nil)
	}
	cases := map[string]struct {
		reason string
		nodes  []corev1.Node
		want   []string // nil where no way is known
	}{
		"Kind": {
			reason: "kind writes its cluster's name into each node.",
			nodes:  []corev1.Node{kind("dev", "dev-control-plane"), kind("dev", "dev-worker")},
			want:   []string{"kind", "load", "image-archive", "--name", "dev"},
		},
		"KindOfPodman": {
			reason: "So it does with Podman.",
			nodes:  []corev1.Node{node("kind-control-plane", "kind://podman/kind/kind-control-plane", "containerd://2.1.3", "", nil)},
			want:   []string{"kind", "load", "image-archive", "--name", "kind"},
		},
		"K3d": {
			reason: "k3d names its nodes by the cluster, which may have a dash.",
			nodes: []corev1.Node{
				node("k3d-my-dev-server-0", "k3s://k3d-my-dev-server-0", "containerd://2.0.5-k3s1", "", nil),
				node("k3d-my-dev-agent-10", "k3s://k3d-my-dev-agent-10", "containerd://2.0.5-k3s1", "", nil),
			},
			want: []string{"k3d", "image", "import", "--cluster", "my-dev"},
		},
		"Minikube": {
			reason: "minikube puts its profile on each node, whatever runtime that has.",
			nodes:  []corev1.Node{node("minikube", "", "docker://28.4.0", "", map[string]string{"minikube.k8s.io/name": "shop"})},
			want:   []string{"minikube", "image", "load", "--profile", "shop"},
		},
		"DockerDesktop": {
			reason: "Its node has the images of docker.",
			nodes:  []corev1.Node{node("docker-desktop", "", "docker://28.4.0", "", nil)},
			want:   []string{"docker", "load", "--input"},
		},
		"DockerHere": {
			reason: "So has a node on the docker of this machine.",
			nodes:  []corev1.Node{node("box", "", "docker://28.4.0", bootID, nil)},
			want:   []string{"docker", "load", "--input"},
		},
		"K3s": {
			reason: "k3s has a containerd of its own.",
			nodes:  []corev1.Node{node("box", "k3s://box", "containerd://2.0.5-k3s1", bootID, nil)},
			want:   []string{"k3s", "ctr", "images", "import"},
		},
		"Containerd": {
			reason: "The kernel of the node is that of this machine.",
			nodes:  []corev1.Node{node("box", "", "containerd://1.6.20", bootID, nil)},
			want:   []string{"ctr", "--namespace", "k8s.io", "images", "import"},
		},
		"K3sElsewhere":        {reason: "Another machine has another kernel.", nodes: []corev1.Node{node("box", "k3s://box", "containerd://2.0.5-k3s1", "x", nil)}},
		"ContainerdElsewhere": {reason: "Most real clusters are like that.", nodes: []corev1.Node{node("ip-10-0-0-7", "aws:///eu-1a/i-07", "containerd://2.1.3", "x", nil)}},
		"DockerElsewhere":     {reason: "The same with docker.", nodes: []corev1.Node{node("box", "", "docker://28.4.0", "x", nil)}},
		"NamedAsK3d":          {reason: "A name does not make k3s.", nodes: []corev1.Node{node("k3d-dev-server-0", "", "containerd://2.1.3", "x", nil)}},
		"OtherRuntime":        {reason: "CRI-O takes no archive.", nodes: []corev1.Node{node("box", "", "cri-o://1.34.0", bootID, nil)}},
		"NotKind":             {reason: "What is not of kind's form is not kind's.", nodes: []corev1.Node{node("box", "kind://docker", "containerd://2.1.3", "x", nil)}},
		"PartlyElsewhere": {
			reason: "A pod may come to the node that has no image.",
			nodes:  []corev1.Node{node("box", "", "containerd://2.1.3", bootID, nil), node("other", "", "containerd://2.1.3", "x", nil)},
		},
		"TwoKinds": {reason: "Nodes of two clusters are none that we know.", nodes: []corev1.Node{kind("a", "a-control-plane"), kind("b", "b-worker")}},
		"NoNodes":  {reason: "Nothing shows whose it is."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, known := placeOf(tc.nodes, bootID)
			if diff := cmp.Diff(tc.want, got.load); diff != "" || known != (tc.want != nil) {
				t.Errorf("%s (known: %t, -want +got):\n%s", tc.reason, known, diff)
			}
		})
	}
}

// Systems other than Linux have no such number, and neither may a node.
func TestNoKernelIsNotTheSameKernel(t *testing.T) {
	t.Parallel()
	if p, known := placeOf([]corev1.Node{node("box", "", "containerd://2.1.3", "", nil)}, ""); known {
		t.Errorf("got %s, want none", p.name)
	}
}
