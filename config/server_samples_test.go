package config_test

import (
	"path/filepath"
	"slices"
	"testing"

	certmanagerv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// The samples name the Service and the Secret of config/token-server, and the same host.
func TestTheSamplesLeadToTheTokenServer(t *testing.T) {
	t.Parallel()
	all := objects(t, "token-server")
	service := ofKind[corev1.Service](t, "Service", all)[0]
	secret := deploymentOf(t, server, all).Spec.Template.Spec.Volumes[0].Secret.SecretName
	port := only(t, service.Spec.Ports)

	certificate := only(t, ofKind[certmanagerv1.Certificate](t, "Certificate", objectsIn(t, filepath.Join(serverFolder, "certificate.yaml"))))
	if certificate.Spec.SecretName != secret {
		t.Errorf("the certificate comes into the Secret %s, and the server has %s", certificate.Spec.SecretName, secret)
	}
	host, inside := certificate.Spec.DNSNames[0], service.Name+"."+service.Namespace+".svc"
	if !slices.Contains(certificate.Spec.DNSNames, inside) {
		t.Errorf("the certificate has the names %q, and not %s", certificate.Spec.DNSNames, inside)
	}

	ingress := only(t, ofKind[networkingv1.Ingress](t, "Ingress", objectsIn(t, filepath.Join(serverFolder, "ingress.yaml"))))
	rule, tls := only(t, ingress.Spec.Rules), only(t, ingress.Spec.TLS)
	if backend := only(t, rule.HTTP.Paths).Backend.Service; backend.Name != service.Name || backend.Port.Name != port.Name {
		t.Errorf("the Ingress leads to %+v", backend)
	}
	if rule.Host != host || only(t, tls.Hosts) != host || tls.SecretName != secret || ingress.Annotations["nginx.ingress.kubernetes.io/proxy-ssl-name"] != host {
		t.Errorf("the Ingress has another host than %s, or another Secret than %s: %+v", host, secret, ingress)
	}

	gateways := objectsIn(t, filepath.Join(serverFolder, "gateway.yaml"))
	gateway, route := only(t, ofKind[gatewayv1.Gateway](t, "Gateway", gateways)), only(t, ofKind[gatewayv1.TLSRoute](t, "TLSRoute", gateways))
	if backend := only(t, only(t, route.Spec.Rules).BackendRefs); string(backend.Name) != service.Name || *backend.Port != port.Port {
		t.Errorf("the TLSRoute leads to %+v", backend)
	}
	if listener := only(t, gateway.Spec.Listeners); string(*listener.Hostname) != host || string(only(t, route.Spec.Hostnames)) != host {
		t.Errorf("the Gateway has another host than %s", host)
	}
	if string(only(t, route.Spec.ParentRefs).Name) != gateway.Name {
		t.Error("the TLSRoute is of another Gateway")
	}
}
