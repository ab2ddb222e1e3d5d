package main

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// place is a cluster that can be given an image without a registry.
type place struct {
	name string
	load []string // the command, whose last argument is the archive
}

// k3d calls its nodes so, and the first group is its cluster.
var k3d = regexp.MustCompile(`^k3d-(.+)-(?:server|agent)-\d+$`)

// placeOf finds out from the nodes which cluster this is. bootID is that of the running
// kernel: a node that has it runs on this machine. It reports false for every other cluster,
// and where the nodes are of different ones.
func placeOf(nodes []corev1.Node, bootID string) (place, bool) {
	var found place
	for i := range nodes {
		p, ok := placeOfNode(&nodes[i], bootID)
		if !ok || i > 0 && p.name != found.name {
			return place{}, false
		}
		found = p
	}
	return found, len(nodes) > 0
}

// placeOfNode knows what each tool writes into the nodes that it makes. The name of a context
// says nothing: everybody may choose it.
func placeOfNode(n *corev1.Node, bootID string) (place, bool) {
	if cluster, ok := kindCluster(n.Spec.ProviderID); ok {
		return place{"kind cluster " + cluster, []string{"kind", "load", "image-archive", "--name", cluster}}, true
	}
	if m := k3d.FindStringSubmatch(n.Name); m != nil && isK3s(n) {
		return place{"k3d cluster " + m[1], []string{"k3d", "image", "import", "--cluster", m[1]}}, true
	}
	if profile := n.Labels["minikube.k8s.io/name"]; profile != "" {
		return place{"minikube cluster " + profile, []string{"minikube", "image", "load", "--profile", profile}}, true
	}
	runtime, _, _ := strings.Cut(n.Status.NodeInfo.ContainerRuntimeVersion, "://")
	here := bootID != "" && n.Status.NodeInfo.BootID == bootID
	switch {
	case runtime == "docker" && (here || n.Name == "docker-desktop"):
		return place{"cluster on the Docker of this machine", []string{"docker", "load", "--input"}}, true
	case here && isK3s(n):
		return place{"k3s of this machine", []string{"k3s", "ctr", "images", "import"}}, true
	case here && runtime == "containerd":
		return place{"cluster on the containerd of this machine", []string{"ctr", "--namespace", "k8s.io", "images", "import"}}, true
	default:
		return place{}, false
	}
}

// kindCluster takes the name out of kind://docker/NAME/NODE.
func kindCluster(providerID string) (string, bool) {
	rest, ok := strings.CutPrefix(providerID, "kind://")
	parts := strings.Split(rest, "/")
	if !ok || len(parts) != 3 || parts[1] == "" {
		return "", false
	}
	return parts[1], true
}

func isK3s(n *corev1.Node) bool { return strings.HasPrefix(n.Spec.ProviderID, "k3s://") }

// describe is what a person needs to see which cluster this is.
func describe(nodes []corev1.Node) string {
	if len(nodes) == 0 {
		return "no nodes"
	}
	n := nodes[0]
	text := fmt.Sprintf("node %s with %s", n.Name, n.Status.NodeInfo.ContainerRuntimeVersion)
	if len(nodes) > 1 {
		text += fmt.Sprintf(", and %d more", len(nodes)-1)
	}
	return text
}
