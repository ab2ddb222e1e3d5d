//go:build integration

package config_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"wechattoken.io/operator/internal/testcluster"
)

// The API server takes the samples without a field that it does not know, those of the
// Gateway API and of cert-manager by their own CRDs.
func TestTheSamplesOfTheTokenServerAreValid(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	for module, file := range map[string]string{
		"sigs.k8s.io/gateway-api":              "config/crd/standard",
		"github.com/cert-manager/cert-manager": "deploy/crds/cert-manager.io_certificates.yaml",
	} {
		folder := strings.TrimSpace(succeed(t, exec.Command("go", "list", "-m", "-f", "{{.Dir}}", module)))
		cluster.kubectl(t, "apply", "--server-side", "-f", filepath.Join(folder, file))
	}
	cluster.kubectl(t, "wait", "--for=condition=Established", "--timeout="+testcluster.Patience.String(),
		"crd/gateways.gateway.networking.k8s.io", "crd/tlsroutes.gateway.networking.k8s.io", "crd/certificates.cert-manager.io")
	for _, file := range []string{"access", "certificate", "gateway", "ingress"} {
		cluster.kubectl(t, "apply", "--server-side", "--dry-run=server", "--validate=strict", "-n", ns, "-f", filepath.Join(serverFolder, file+".yaml"))
	}
}
