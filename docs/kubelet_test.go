//go:build pages

package docs_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const nodeName = "worker-1"

// kubelet stands in for that of a node: it has the logs of pods, and nothing else.
type kubelet struct {
	logs sync.Map // by namespace/name, fmt.Stringers
}

// startKubelet has a node where pods can be, until the test ends.
func startKubelet(t *testing.T, c client.Client) *kubelet {
	t.Helper()
	k := &kubelet{}
	server := httptest.NewTLSServer(k)
	t.Cleanup(server.Close)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName}}
	if err := c.Create(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = int32(server.Listener.Addr().(*net.TCPAddr).Port)
	if err := c.Status().Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	return k
}

// ServeHTTP answers /containerLogs/NAMESPACE/POD/CONTAINER.
func (k *kubelet) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.Split(r.URL.Path, "/")
	if len(path) != 5 || path[1] != "containerLogs" {
		http.NotFound(w, r)
		return
	}
	if log, ok := k.logs.Load(path[2] + "/" + path[3]); ok {
		fmt.Fprint(w, log)
	}
}
