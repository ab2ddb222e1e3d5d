//go:build linux

package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"k8s.io/client-go/util/cert"
)

// certificateLife is longer than any node is kept.
const certificateLife = 365 * 24 * time.Hour

// authority signs the certificates of one node.
type authority struct {
	key  crypto.Signer
	cert *x509.Certificate
}

// identity is who a certificate speaks for.
type identity struct {
	file   string
	name   string
	groups []string
	names  cert.AltNames // of a server
}

// writePKI writes the authority, the certificates, the kubeconfigs and the key
// that signs the tokens of ServiceAccounts.
func (n node) writePKI() error {
	key, err := newKey()
	if err != nil {
		return err
	}
	root, err := cert.NewSelfSignedCACert(cert.Config{CommonName: "wechattoken-node"}, key)
	if err != nil {
		return err
	}
	ca := authority{key, root}
	if err := writePEM(n.path("ca.crt"), "CERTIFICATE", root.Raw); err != nil {
		return err
	}
	for _, id := range []identity{
		{file: "kube-apiserver", name: "kube-apiserver", names: cert.AltNames{
			DNSNames: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"},
			IPs:      []net.IP{net.ParseIP(nodeIP), net.ParseIP(serviceIP), net.ParseIP("127.0.0.1")},
		}},
		{file: "kube-apiserver-kubelet-client", name: "kube-apiserver", groups: []string{"system:masters"}},
	} {
		if err := n.issue(ca, id); err != nil {
			return err
		}
	}
	for _, id := range []identity{
		{file: "admin", name: "admin", groups: []string{"system:masters"}},
		{file: "kube-controller-manager", name: "system:kube-controller-manager"},
		{file: "kube-scheduler", name: "system:kube-scheduler"},
		{file: "kube-proxy", name: "system:kube-proxy"},
		{file: "kubelet", name: "system:node:" + nodeName, groups: []string{"system:nodes"}},
	} {
		if err := n.issue(ca, id); err != nil {
			return err
		}
		if err := n.writeKubeconfig(id.file); err != nil {
			return err
		}
	}
	signer, err := newKey()
	if err != nil {
		return err
	}
	return writeKey(n.path("service-accounts.key"), signer)
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// issue writes a certificate and its key.
func (n node) issue(ca authority, id identity) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 64))
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: id.name, Organization: id.groups},
		NotBefore:    time.Now().Add(-time.Minute),
		NotAfter:     time.Now().Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames:     id.names.DNSNames,
		IPAddresses:  id.names.IPs,
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		return err
	}
	if err := writePEM(n.path(id.file+".crt"), "CERTIFICATE", signed); err != nil {
		return err
	}
	return writeKey(n.path(id.file+".key"), key)
}

func writeKey(file string, key *ecdsa.PrivateKey) error {
	bytes, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return writePEM(file, "EC PRIVATE KEY", bytes)
}

func writePEM(file, kind string, bytes []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes}), 0o600)
}

// writeKubeconfig writes that of the certificate in a file. All of it is in
// there, so that it can be handed on.
func (n node) writeKubeconfig(who string) error {
	c := clientcmdapi.NewConfig()
	server, user := clientcmdapi.NewCluster(), clientcmdapi.NewAuthInfo()
	server.Server = "https://" + nodeIP + ":6443"
	server.CertificateAuthority = n.path("ca.crt")
	user.ClientCertificate, user.ClientKey = n.path(who+".crt"), n.path(who+".key")
	c.Clusters["node"], c.AuthInfos[who] = server, user
	c.Contexts["node"] = &clientcmdapi.Context{Cluster: "node", AuthInfo: who}
	c.CurrentContext = "node"
	if err := clientcmdapi.FlattenConfig(c); err != nil {
		return err
	}
	return clientcmd.WriteToFile(*c, n.kubeconfig(who))
}
