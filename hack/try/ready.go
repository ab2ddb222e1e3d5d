package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"wechattoken.io/operator/api/v1alpha1"
)

const patience = 3 * time.Minute

// awaitReady waits for the WeChatToken, and says what changes meanwhile.
func (t *trial) awaitReady(ctx context.Context) error {
	said := ""
	for start := time.Now(); ; {
		ready, now := t.state(ctx)
		if now != said {
			t.sayf("%s", now)
			said = now
		}
		if ready {
			return nil
		}
		if time.Since(start) > patience {
			return fmt.Errorf("this has not changed for too long. Look at: kubectl --context=%s --namespace=%s describe pods; 'make try-down CONTEXT=%[1]s' removes all of it", t.context, namespace)
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// state is how far the trial is. The CRD may not be served yet, so an error of that is none.
func (t *trial) state(ctx context.Context) (ready bool, text string) {
	var pods corev1.PodList
	if _, err := t.get(ctx, &pods, "--namespace="+namespace, "pods", "--selector=app!=setup"); err != nil {
		return false, err.Error()
	}
	text = podsText(pods.Items)
	var shop v1alpha1.WeChatToken
	there, err := t.get(ctx, &shop, "--namespace="+namespace, "wechattokens", "shop")
	switch c := meta.FindStatusCondition(shop.Status.Conditions, v1alpha1.ConditionReady); {
	case err != nil || !there:
		return false, text
	case c == nil:
		return false, text + "; WeChatToken shop is there"
	default:
		return c.Status == "True", text + "; WeChatToken shop: " + c.Reason
	}
}

// podsText counts pods, and names what one waits for.
func podsText(pods []corev1.Pod) string {
	started, waits := 0, ""
	for i := range pods {
		p := &pods[i]
		if p.Status.Phase == corev1.PodRunning {
			started++
		}
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && !strings.HasSuffix(w.Reason, "Creating") {
				waits = fmt.Sprintf("; %s: %s", p.Name, w.Reason)
			}
		}
	}
	return fmt.Sprintf("%d of %d pods run%s", started, len(pods), waits)
}
