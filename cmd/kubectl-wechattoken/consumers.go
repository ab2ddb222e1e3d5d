package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/uses"
)

// consumers are the workloads that use the Secret of a WeChatToken.
type consumers struct {
	list    []v1alpha1.Consumer
	unknown string // why they are not known; empty if they are
}

// told are the consumers in the status, and whether the operator looks after
// them: it does with --consumers.
func told(wt *v1alpha1.WeChatToken) (consumers, bool) {
	c := meta.FindStatusCondition(wt.Status.Conditions, v1alpha1.ConditionConsumersCurrent)
	return consumers{list: wt.Status.Consumers}, c != nil && c.Reason != v1alpha1.ReasonConsumersUnwatched
}

// user is a workload, or a pod without one, with the Secrets that it uses.
type user struct {
	apiVersion, kind, name string

	uses       map[string][]v1alpha1.SecretUse
	own        map[string]string // annotations that Reloader reads; none of what is found through its pods
	inTemplate map[string]string // and those on the pod template
}

func userOf(apiVersion, kind string, m *metav1.ObjectMeta, t *corev1.PodTemplateSpec) user {
	return user{
		apiVersion: apiVersion, kind: kind, name: m.Name, uses: uses.In(&t.Spec),
		own: uses.ReloaderAnnotations(m.Annotations), inTemplate: uses.ReloaderAnnotations(t.Annotations),
	}
}

// using returns the users of the Secret called name, which has these annotations.
// spec.restart does not count: where the plugin looks for users itself, no
// operator restarts them.
func using(all []user, name string, annotations map[string]string) []v1alpha1.Consumer {
	var list []v1alpha1.Consumer
	for _, u := range all {
		how := u.uses[name]
		if len(how) == 0 {
			continue
		}
		c := v1alpha1.Consumer{APIVersion: u.apiVersion, Kind: u.kind, Name: u.name, Uses: how}
		if uses.Reloaded(name, u.own, u.inTemplate, annotations, true) {
			c.RestartedBy = v1alpha1.RestarterReloader
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b v1alpha1.Consumer) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// watchers finds the consumers of many WeChatTokens, and reads each namespace
// once.
type watchers struct {
	*cluster

	byNamespace map[string]fetched[[]user]
}

// fetched is something that was read, or why not.
type fetched[T any] struct {
	value T
	err   error
}

func fetch[T any](value T, err error) fetched[T] { return fetched[T]{value: value, err: err} }

// of are the consumers of wt: as the status tells, or where the operator does
// not look after them, as they are found.
func (w *watchers) of(ctx context.Context, wt *v1alpha1.WeChatToken) consumers {
	if c, watched := told(wt); watched {
		return c
	}
	if w.byNamespace == nil {
		w.byNamespace = map[string]fetched[[]user]{}
	}
	found, ok := w.byNamespace[wt.Namespace]
	if !ok {
		found = fetch(w.users(ctx, wt.Namespace))
		w.byNamespace[wt.Namespace] = found
	}
	if found.err != nil {
		why := fmt.Sprintf("the workloads of namespace %s cannot be listed: %v", wt.Namespace, found.err)
		if apierrors.IsForbidden(found.err) {
			why = fmt.Sprintf("you may not list the workloads and pods of namespace %s, and the operator does not look after them (its flag --consumers)", wt.Namespace)
		}
		return consumers{unknown: why}
	}
	return consumers{list: using(found.value, wt.TokenSecretName(), w.annotations(ctx, wt, found.value))}
}

// annotations returns those of the Secret of wt. It reads the Secret only if
// Reloader may restart one of its users, for others they change nothing. Anybody
// who may not read the Secret gets those of the spec.
func (w *watchers) annotations(ctx context.Context, wt *v1alpha1.WeChatToken, all []user) map[string]string {
	name := wt.TokenSecretName()
	var stored map[string]string
	if slices.ContainsFunc(all, func(u user) bool { return len(u.uses[name]) > 0 && len(u.own)+len(u.inTemplate) > 0 }) {
		if m, err := w.secretMeta(ctx, wt.Namespace, name); err == nil {
			stored = m.Annotations
		}
	}
	return uses.SecretAnnotations(wt, stored)
}

// users reads the workloads of a namespace, and what else has pods there.
func (c *cluster) users(ctx context.Context, namespace string) ([]user, error) {
	var (
		all         []user
		deployments appsv1.DeploymentList
		sets        appsv1.StatefulSetList
		daemons     appsv1.DaemonSetList
		cronJobs    batchv1.CronJobList
		pods        corev1.PodList
	)
	for _, list := range []client.ObjectList{&deployments, &sets, &daemons, &cronJobs, &pods} {
		if err := c.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
	}
	seen := map[string]bool{} // by kind and name
	add := func(u user) {
		if key := u.kind + "/" + u.name; !seen[key] {
			seen[key], all = true, append(all, u)
		}
	}
	const apps, batch = "apps/v1", "batch/v1"
	for i := range deployments.Items {
		add(userOf(apps, "Deployment", &deployments.Items[i].ObjectMeta, &deployments.Items[i].Spec.Template))
	}
	for i := range sets.Items {
		add(userOf(apps, "StatefulSet", &sets.Items[i].ObjectMeta, &sets.Items[i].Spec.Template))
	}
	for i := range daemons.Items {
		add(userOf(apps, "DaemonSet", &daemons.Items[i].ObjectMeta, &daemons.Items[i].Spec.Template))
	}
	for i := range cronJobs.Items {
		add(userOf(batch, "CronJob", &cronJobs.Items[i].ObjectMeta, &cronJobs.Items[i].Spec.JobTemplate.Spec.Template))
	}
	owners, err := c.owners(ctx, pods.Items)
	for _, u := range owners {
		add(u)
	}
	return all, err
}

// owners are what controls those pods that use Secrets and have not ended.
func (c *cluster) owners(ctx context.Context, pods []corev1.Pod) (all []user, err error) {
	asked := map[types.UID]bool{} // of what controls a pod itself
	for i := range pods {
		pod := &pods[i]
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed || len(uses.In(&pod.Spec)) == 0 {
			continue
		}
		direct := cmp.Or(metav1.GetControllerOf(pod), &metav1.OwnerReference{UID: pod.UID})
		if asked[direct.UID] {
			continue
		}
		asked[direct.UID] = true
		owner, err := uses.OwnerOf(ctx, c, pod)
		if err != nil {
			return nil, err
		}
		all = append(all, user{apiVersion: owner.APIVersion, kind: owner.Kind, name: owner.Name, uses: uses.In(&pod.Spec), inTemplate: uses.ReloaderAnnotations(pod.Annotations)})
	}
	return all, nil
}
