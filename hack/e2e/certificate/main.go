// Command certificate makes a certificate for the address of the fake WeChat, and
// prints the objects that bring it there, and to the operator who signs it: `go run
// ./hack/e2e/certificate | kubectl apply -f -`. The operator speaks to pods over TLS
// alone. Its arguments are further addresses.
package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"
)

// As fake-wechat.yaml and operator/flags.yaml have them.
const (
	address           = "10.96.0.80"
	weChatNamespace   = "fake-wechat"
	operatorNamespace = "wechat-token-operator"
)

func main() {
	var further []net.IP
	for _, arg := range os.Args[1:] {
		further = append(further, net.ParseIP(arg))
	}
	certificates, key, err := certutil.GenerateSelfSignedCertKey(address, further, nil)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(objects(certificates, key))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "certificate:", err)
		os.Exit(1)
	}
}

func objects(certificates, key []byte) map[string]any {
	namespace := metav1.TypeMeta{APIVersion: "v1", Kind: "Namespace"}
	return map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{
		&corev1.Namespace{TypeMeta: namespace, ObjectMeta: metav1.ObjectMeta{Name: weChatNamespace}},
		&corev1.Namespace{TypeMeta: namespace, ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}},
		&corev1.Secret{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
			ObjectMeta: metav1.ObjectMeta{Namespace: weChatNamespace, Name: "fake-wechat"},
			Type:       corev1.SecretTypeTLS,
			Data:       map[string][]byte{corev1.TLSCertKey: certificates, corev1.TLSPrivateKeyKey: key},
		},
		&corev1.ConfigMap{
			TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
			ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "fake-wechat-ca"},
			Data:       map[string]string{"ca.crt": string(certificates)},
		},
	}}
}
