//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/hack/e2e/report"
	"wechattoken.io/operator/hack/plot"
	"wechattoken.io/operator/internal/record"
)

var (
	accounts = flag.Int("accounts", 3, "WeChatTokens with one pod each, for each way of propagation")
	rounds   = flag.Int("rounds", 1, "forced refreshes of each of them")
	realTime = flag.Bool("real-time", false, "let WeChat's tokens live 2 hours, as they do, and not 90 s")
	out      = flag.String("out", "", "`file` to keep the picture in, for make generate; none when left out")
)

// A new token in the Secret is in the file at once when the pods are touched, and
// when the kubelet looks by itself otherwise.
func TestTouchBringsTheFileSooner(t *testing.T) {
	c := connect(t)
	c.install(t)
	delays := map[v1alpha1.Propagation][]time.Duration{}
	var mu sync.Mutex
	t.Run("Measure", func(t *testing.T) {
		for _, way := range []v1alpha1.Propagation{v1alpha1.PropagationWatch, v1alpha1.PropagationTouch} {
			t.Run(string(way), func(t *testing.T) {
				t.Parallel()
				found := c.measure(t, way)
				mu.Lock()
				defer mu.Unlock()
				delays[way] = found
			})
		}
	})
	touched, watched := delays[v1alpha1.PropagationTouch], delays[v1alpha1.PropagationWatch]
	for way, found := range delays {
		if len(found) == 0 {
			t.Fatalf("nothing was measured for %s", way)
		}
		slices.Sort(found)
		t.Logf("Secret to file with %-5s  n=%d  p50 %.2f s  p99 %.2f s  most %.2f s", way, len(found), at(found, 50), at(found, 99), at(found, 100))
	}
	if at(touched, 50) >= at(watched, 50) {
		t.Errorf("the file follows after %.2f s with Touch and after %.2f s without, want it sooner", at(touched, 50), at(watched, 50))
	}
	if *out != "" {
		if err := plot.Save(picture(touched, watched), *out); err != nil {
			t.Fatal(err)
		}
	}
}

// at is a percentile of sorted durations, in seconds: the nearest rank.
func at(sorted []time.Duration, percent int) float64 {
	return sorted[(len(sorted)*percent+99)/100-1].Seconds()
}

// measure forces refreshes and returns how long each new token took from the
// Secret to the file.
func (c *cluster) measure(t *testing.T, way v1alpha1.Propagation) []time.Duration {
	namespace := "propagation-" + map[v1alpha1.Propagation]string{v1alpha1.PropagationWatch: "watch", v1alpha1.PropagationTouch: "touch"}[way]
	c.create(t, namespace, appSecret())
	d := c.follow(t, namespace)
	names := make([]string, *accounts)
	for i := range names {
		names[i] = fmt.Sprintf("shop-%02d", i)
		token := sample[v1alpha1.WeChatToken](t, "stable.yaml")
		token.Name, token.Spec.Secret.Name, token.Spec.Propagation = names[i], names[i], way
		token.Spec.AppID = fmt.Sprintf("wx%s%015x", map[v1alpha1.Propagation]string{v1alpha1.PropagationWatch: "a", v1alpha1.PropagationTouch: "b"}[way], i)
		pod := c.calling(sample[appsv1.Deployment](t, "consumer-file.yaml"), "--token-file=/etc/wechat/access_token")
		pod.Name = names[i]
		labels := map[string]string{"app": names[i]}
		pod.Spec.Selector.MatchLabels, pod.Spec.Template.Labels = labels, labels
		pod.Spec.Template.Spec.Volumes[0].Secret.SecretName = names[i]
		c.create(t, namespace, token, pod)
	}
	for _, name := range names {
		c.isReady(t, namespace, name)
		c.available(t, namespace, name)
	}
	written := c.writes(t, namespace)
	for round := range *rounds {
		earlier := len(written())
		for _, name := range names {
			c.mustKubectl(t, "annotate", "--overwrite", "--namespace="+namespace, "wechattoken/"+name, fmt.Sprintf("wechattoken.io/refresh-requested-at=%d", round))
			if way == v1alpha1.PropagationTouch {
				time.Sleep(300 * time.Millisecond) // one after the other, as refreshes that are due come
			}
		}
		for _, name := range names {
			eventually(t, "the echo", func() error {
				wt, err := c.token(namespace, name)
				if got := wt.Status.LastHandledRefreshAt; err == nil && got != strconv.Itoa(round) {
					err = fmt.Errorf("it is %q", got)
				}
				return err
			})
		}
		// In compressed time a token may be replaced before the kubelet looks.
		for _, name := range names {
			eventually(t, "one of the new tokens in the file", func() error {
				for _, w := range written()[earlier:] {
					if w.secret == name && !d.saw(name, w.fingerprint).IsZero() {
						return nil
					}
				}
				return fmt.Errorf("%s has not seen one", name)
			})
		}
	}
	var delays []time.Duration
	for _, w := range written() {
		if seen := d.saw(w.secret, w.fingerprint); !seen.IsZero() {
			delays = append(delays, seen.Sub(w.at))
		}
	}
	if failed := len(d.of("", report.Failed)); failed > 0 {
		t.Errorf("%d lines of failures", failed)
	}
	return delays
}

// write is a token that came into a Secret.
type write struct {
	secret, fingerprint string
	at                  time.Time // when a watch told
}

// writes notes which tokens replace another in the Secrets of a namespace from
// now on.
func (c *cluster) writes(t *testing.T, namespace string) func() []write {
	t.Helper()
	var (
		mu   sync.Mutex
		all  []write
		held = map[string]string{}
	)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	list, err := c.clients.CoreV1().Secrets(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range list.Items {
		held[s.Name] = fingerprintIn(&s)
	}
	changes, err := c.clients.CoreV1().Secrets(namespace).Watch(ctx, metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for e := range changes.ResultChan() {
			s, ok := e.Object.(*corev1.Secret)
			if !ok || e.Type != watch.Modified {
				continue
			}
			if f := fingerprintIn(s); f != "" && f != held[s.Name] {
				mu.Lock()
				held[s.Name] = f
				all = append(all, write{s.Name, f, time.Now()})
				mu.Unlock()
			}
		}
	}()
	return func() []write {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(all)
	}
}

// fingerprintIn is that of the token in a Secret; empty if the operator did not
// write it.
func fingerprintIn(s *corev1.Secret) string {
	rec := record.Read(s, nil)
	if rec == nil {
		return ""
	}
	return rec.Token.Fingerprint()
}
