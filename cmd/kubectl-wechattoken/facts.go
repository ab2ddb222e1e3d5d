package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/wechat/wire"
)

// clusterFacts are what the doctor knows of the cluster.
type clusterFacts struct {
	schema          fetched[schemas]
	installs        fetched[[]install]
	yourPermissions fetched[[]permission]
	skew            fetched[time.Duration] // this machine's clock minus the API server's
	dialled         *fetched[string]       // nil without --dial; the value is the host
}

// install is an operator in the cluster.
type install struct {
	deployment  appsv1.Deployment
	flags       flags
	lease       fetched[*coordinationv1.Lease]
	permissions fetched[[]permission] // of its ServiceAccount
}

func (i *install) String() string { return i.deployment.Namespace + "/" + i.deployment.Name }

// images are those that it runs.
func (i *install) images() string {
	var images []string
	for _, c := range i.deployment.Spec.Template.Spec.Containers {
		images = append(images, c.Image)
	}
	return strings.Join(images, ", ")
}

// tokenFacts are what the doctor knows of one WeChatToken.
type tokenFacts struct {
	*clusterFacts

	wt        *v1alpha1.WeChatToken
	appSecret fetched[appSecret]
	secret    fetched[*metav1.PartialObjectMetadata] // of the Secret that holds the token
	consumers consumers
}

// appSecret is the form of an AppSecret; the AppSecret itself is not kept.
type appSecret struct {
	there  bool   // under its key
	odd    string // why it is none; empty if it is one
	spaces bool   // or other characters that cannot be seen, in it or around it, but for the Enter that ends it
}

func formOf(value []byte) appSecret {
	secret, odd := wire.ReadAppSecret(value)
	return appSecret{there: secret != "" || odd != "", odd: odd, spaces: len(secret) != len(strings.TrimSuffix(string(value), "\n"))}
}

// gatherer finds the facts.
type gatherer struct {
	*cluster

	operatorNS string
	dial       bool
	watchers   watchers
}

func (g *gatherer) clusterFacts(ctx context.Context, schema fetched[schemas], tokens []v1alpha1.WeChatToken) *clusterFacts {
	f := &clusterFacts{schema: schema, installs: fetch(g.installs(ctx)), yourPermissions: fetch(g.yourPermissions(ctx, tokens))}
	for i := range f.installs.value {
		g.inspect(ctx, &f.installs.value[i])
	}
	if skew, known := g.clock.get(); known {
		f.skew.value = skew
	} else {
		f.skew.err = errors.New("the API server sends no Date")
	}
	if g.dial {
		dialled := fetch(dialWeChat(ctx, weChatOf(f.installs.value)))
		f.dialled = &dialled
	}
	return f
}

func (g *gatherer) tokenFacts(ctx context.Context, wt *v1alpha1.WeChatToken, of *clusterFacts) *tokenFacts {
	g.watchers.cluster = g.cluster
	f := &tokenFacts{clusterFacts: of, wt: wt, consumers: g.watchers.of(ctx, wt)}
	f.secret = fetch(g.secretMeta(ctx, wt.Namespace, wt.TokenSecretName()))
	if wt.Spec.HasSource() {
		return f
	}
	var s corev1.Secret
	f.appSecret.err = g.Get(ctx, client.ObjectKey{Namespace: wt.Namespace, Name: wt.Spec.AppSecretRef.Name}, &s)
	if f.appSecret.err == nil {
		f.appSecret.value = formOf(s.Data[wt.Spec.AppSecretRef.KeyOrDefault()])
	}
	return f
}

// schemas are those of the group that the API server publishes.
type schemas map[string]*schema

// schema is what matters here of an OpenAPI schema.
type schema struct {
	Properties map[string]*schema `json:"properties"`
	Items      *schema            `json:"items"`
}

// kindSchema is that of WeChatToken; nil if the cluster does not know it.
func (s schemas) kindSchema() *schema { return s["io.wechattoken.v1alpha1.WeChatToken"] }

func (s schemas) served() bool { return s.kindSchema() != nil }

// schema reads what everybody may read: the API server's OpenAPI.
func (g *gatherer) schema(ctx context.Context) fetched[schemas] {
	var document struct {
		Components struct {
			Schemas schemas `json:"schemas"`
		} `json:"components"`
	}
	err := g.read(ctx, "/openapi/v3/apis/"+v1alpha1.GroupVersion.String(), &document)
	return fetch(document.Components.Schemas, client.IgnoreNotFound(err))
}

// read reads what the API server has under a path.
func (g *gatherer) read(ctx context.Context, path string, into any) error {
	config := rest.CopyConfig(g.config)
	config.GroupVersion, config.NegotiatedSerializer = &v1alpha1.GroupVersion, scheme.Codecs.WithoutConversion()
	c, err := rest.RESTClientFor(config)
	if err != nil {
		return err
	}
	raw, err := c.Get().AbsPath(path).DoRaw(ctx)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// installs looks for the operator: by its label everywhere, or where it is said
// to be.
func (g *gatherer) installs(ctx context.Context) ([]install, error) {
	var list appsv1.DeploymentList
	err := g.List(ctx, &list, client.InNamespace(g.operatorNS), client.MatchingLabels{"app.kubernetes.io/name": operatorName})
	if apierrors.IsForbidden(err) && g.operatorNS == "" {
		err = g.List(ctx, &list, client.InNamespace(operatorName), client.MatchingLabels{"app.kubernetes.io/name": operatorName})
	}
	if err != nil {
		return nil, err
	}
	var all []install
	for _, d := range list.Items {
		all = append(all, install{deployment: d, flags: flagsOf(&d)})
	}
	return all, nil
}

// inspect finds out more of an install.
func (g *gatherer) inspect(ctx context.Context, i *install) {
	var lease coordinationv1.Lease
	i.lease = fetch(&lease, g.Get(ctx, client.ObjectKey{Namespace: i.deployment.Namespace, Name: operatorName}, &lease))
	account := i.deployment.Spec.Template.Spec.ServiceAccountName
	for _, r := range i.needs() {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			ResourceAttributes: &r.attributes,
			User:               fmt.Sprintf("system:serviceaccount:%s:%s", i.deployment.Namespace, account),
			Groups:             []string{"system:serviceaccounts", "system:serviceaccounts:" + i.deployment.Namespace, "system:authenticated"},
		}}
		if i.permissions.err = g.Create(ctx, review); i.permissions.err != nil {
			return
		}
		r.allowed = review.Status.Allowed
		i.permissions.value = append(i.permissions.value, r)
	}
}

// yourPermissions are those of who runs the plugin.
func (g *gatherer) yourPermissions(ctx context.Context, tokens []v1alpha1.WeChatToken) ([]permission, error) {
	namespaces := map[string]bool{g.namespace: true}
	for i := range tokens {
		namespaces[tokens[i].Namespace] = true
	}
	var all []permission
	for namespace := range namespaces {
		for _, verb := range []string{"get", "list", "patch"} {
			all = append(all, permission{attributes: authorizationv1.ResourceAttributes{Verb: verb, Group: v1alpha1.GroupVersion.Group, Resource: "wechattokens", Namespace: namespace}})
		}
	}
	return g.mayYou(ctx, all)
}

// mayYou finds out which of the permissions the person has who runs the plugin.
func (g *gatherer) mayYou(ctx context.Context, all []permission) ([]permission, error) {
	for i := range all {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &all[i].attributes}}
		if err := g.Create(ctx, review); err != nil {
			return nil, err
		}
		all[i].allowed = review.Status.Allowed
	}
	return all, nil
}

// weChatOf is where the operator finds WeChat.
func weChatOf(installs []install) string {
	for _, i := range installs {
		if i.flags.weChat != "" {
			return i.flags.weChat
		}
	}
	return "https://api.weixin.qq.com"
}

// dialTime bounds a connection to WeChat.
const dialTime = 10 * time.Second

// dialWeChat connects to WeChat, through the proxy of the environment if there is
// one, and asks for its root page: that is no API, counts nowhere, and needs no
// token. It returns the host.
func dialWeChat(ctx context.Context, base string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		return base, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/"}).String(), nil)
	if err != nil {
		return u.Host, err
	}
	transport := &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		DialContext:       (&net.Dialer{}).DialContext,
		TLSClientConfig:   &tls.Config{MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return u.Host, err
	}
	return u.Host, resp.Body.Close()
}
