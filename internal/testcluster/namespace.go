package testcluster

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A Namespace is of one test.
type Namespace struct {
	*Cluster
	// Client is an administrator's, and knows this namespace only. A field that the
	// API server does not know is an error.
	client.Client
	// All is the same for the whole cluster.
	All  client.Client
	T    testing.TB
	Name string
}

// NewNamespace makes a namespace on the shared cluster. It stays there, for nothing
// deletes what is in it.
func NewNamespace(tb testing.TB) *Namespace {
	tb.Helper()
	return Shared(tb).NewNamespace(tb)
}

// NewNamespace makes a namespace on this cluster.
func (c *Cluster) NewNamespace(tb testing.TB) *Namespace {
	tb.Helper()
	all, err := client.New(c.Config, client.Options{Scheme: Scheme(), FieldValidation: metav1.FieldValidationStrict})
	if err != nil {
		tb.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	if err := all.Create(tb.Context(), ns); err != nil {
		tb.Fatal(err)
	}
	return &Namespace{Cluster: c, Client: client.NewNamespacedClient(all, ns.Name), All: all, T: tb, Name: ns.Name}
}

// ServiceAccountToken is a credential of a ServiceAccount, which is made if it is not
// there, for some audiences, or for the API server if there are none.
func (n *Namespace) ServiceAccountToken(name string, audiences ...string) string {
	n.T.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if err := n.Create(n.T.Context(), account); err != nil && !apierrors.IsAlreadyExists(err) {
		n.T.Fatal(err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}
	if err := n.SubResource("token").Create(n.T.Context(), account, request); err != nil {
		n.T.Fatal(err)
	}
	return request.Status.Token
}
