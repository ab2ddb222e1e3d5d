package controllers

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
)

const (
	testAppID     = "wx0123456789abcdef"
	testAppSecret = "5ec2e7000ca4a2005ec2e7000ca4a200"
	wrongSecret   = "bad5ec2e70ca4a20bad5ec2e70ca4a20"
	testWindow    = 5 * time.Minute
)

// weChatToken is a WeChatToken "shop" that reads the Secret "shop-app".
func weChatToken(mods ...func(*v1alpha1.WeChatToken)) *v1alpha1.WeChatToken {
	wt := &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: v1alpha1.WeChatTokenSpec{
			AppID:        testAppID,
			AppSecretRef: v1alpha1.AppSecretReference{Name: "shop-app"},
			Mode:         v1alpha1.ModeStable,
		},
	}
	for _, mod := range mods {
		mod(wt)
	}
	return wt
}

func classic(wt *v1alpha1.WeChatToken) { wt.Spec.Mode = v1alpha1.ModeClassic }

func suspendedSpec(wt *v1alpha1.WeChatToken) { wt.Spec.Suspend = true }

func named(name string) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Name = name }
}

func writing(secret string) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Spec.Secret = &v1alpha1.TokenSecret{Name: secret} }
}

func requesting(value string) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) {
		metav1.SetMetaDataAnnotation(&wt.ObjectMeta, v1alpha1.AnnotationRefreshRequestedAt, value)
	}
}

// appSecret is the Secret "shop-app".
func appSecret(value string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "shop-app"},
		Data:       map[string][]byte{"appsecret": []byte(value)},
	}
}

func setAppSecret(value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.Data = map[string][]byte{"appsecret": []byte(value)} }
}

func wanting(types ...v1alpha1.TicketType) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Spec.Tickets = types }
}

func bothTickets(wt *v1alpha1.WeChatToken) {
	wanting(v1alpha1.TicketJSAPI, v1alpha1.TicketWxCard)(wt)
}

// restarting makes a WeChatToken restart workloads.
func restarting(targets ...v1alpha1.RestartTarget) func(*v1alpha1.WeChatToken) {
	return func(wt *v1alpha1.WeChatToken) { wt.Spec.Restart.Workloads = targets }
}

func touchingPods(wt *v1alpha1.WeChatToken) { wt.Spec.Propagation = v1alpha1.PropagationTouch }
