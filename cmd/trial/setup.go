package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	certutil "k8s.io/client-go/util/cert"
	"sigs.k8s.io/yaml"
)

const (
	weChat = "fake-wechat" // the Secret with the certificate, and the ConfigMap that says where WeChat is
	app    = "shop-app"    // the Secret with the AppSecret, as the WeChatToken names it
)

const (
	patience = 2 * time.Minute
	again    = time.Second
)

var (
	secrets    = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	tokens     = schema.GroupVersionResource{Group: "wechattoken.io", Version: "v1alpha1", Resource: "wechattokens"}
)

// setup makes what is not there yet, and changes nothing.
type setup struct {
	client             dynamic.Interface
	namespace, address string // where it works, and that of the Service of the fake WeChat
	token              []byte // the WeChatToken as YAML
	out                io.Writer
}

// run tries until all is there: one `kubectl apply` may bring the CRD and the pod that
// needs it, and the API server serves a CRD a moment after it has it.
func (s setup) run(ctx context.Context) error {
	if net.ParseIP(s.address) == nil {
		return fmt.Errorf("the Service %s has the address %q; is it in the namespace %q?", weChat, s.address, s.namespace)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := s.try(ctx)
		if err == nil {
			_, err := fmt.Fprintln(s.out, "The certificate, the AppSecret and the WeChatToken are there.")
			return err
		}
		fmt.Fprintln(s.out, err)
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("that was the last try"), err)
		case <-time.After(again):
		}
	}
}

func (s setup) try(ctx context.Context) error {
	certificate, err := s.certificate(ctx)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	appSecret := make([]byte, 16)
	_, _ = rand.Read(appSecret) // it never fails
	if err := s.create(ctx, secrets, object("Secret", app, map[string]any{"stringData": map[string]any{"appsecret": hex.EncodeToString(appSecret)}})); err != nil {
		return fmt.Errorf("AppSecret: %w", err)
	}
	if err := s.create(ctx, configMaps, object("ConfigMap", weChat, map[string]any{"data": map[string]any{"url": s.url(), "ca.crt": certificate}})); err != nil {
		return fmt.Errorf("ConfigMap: %w", err)
	}
	var token map[string]any
	if err := yaml.Unmarshal(s.token, &token); err != nil {
		return fmt.Errorf("WeChatToken: %w", err)
	}
	if err := s.create(ctx, tokens, token); err != nil {
		return fmt.Errorf("WeChatToken: %w", err)
	}
	return nil
}

func (s setup) url() string {
	host := s.address
	if net.ParseIP(host).To4() == nil {
		host = "[" + host + "]"
	}
	return (&url.URL{Scheme: "https", Host: host}).String()
}

// certificate is that of the fake WeChat, and of who signs it, as PEM. The operator
// speaks to pods over TLS only.
func (s setup) certificate(ctx context.Context) (string, error) {
	certificate, key, err := certutil.GenerateSelfSignedCertKey(s.address, nil, nil)
	if err != nil {
		return "", err
	}
	err = s.create(ctx, secrets, object("Secret", weChat, map[string]any{"type": "kubernetes.io/tls", "stringData": map[string]any{
		"tls.crt": string(certificate), "tls.key": string(key),
	}}))
	if err != nil {
		return "", err
	}
	there, err := s.client.Resource(secrets).Namespace(s.namespace).Get(ctx, weChat, metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	encoded, _, err := unstructured.NestedString(there.Object, "data", "tls.crt")
	if err != nil {
		return "", err
	}
	text, err := base64.StdEncoding.DecodeString(encoded)
	return string(text), err
}

func object(kind, name string, content map[string]any) map[string]any {
	content["apiVersion"], content["kind"], content["metadata"] = "v1", kind, map[string]any{"name": name}
	return content
}

// create leaves an object as it is when it is there.
func (s setup) create(ctx context.Context, resource schema.GroupVersionResource, content map[string]any) error {
	_, err := s.client.Resource(resource).Namespace(s.namespace).Create(ctx, &unstructured.Unstructured{Object: content}, metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}
