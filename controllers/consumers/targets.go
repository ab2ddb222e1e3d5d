package consumers

import (
	"cmp"
	"context"
	"maps"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/uses"
)

// consumers reads the workloads that use the Secret of wt or that it wants restarted,
// sorted by kind and name. missing are those that it names and that are not there.
// onSecret are the annotations of the Secret.
func (r *Reconciler) consumers(ctx context.Context, wt *v1alpha1.WeChatToken, onSecret map[string]string) (found []*workload, missing []string, err error) {
	byUID := map[types.UID]*workload{}
	add := func(obj runtime.Object) error { //nolint:unparam // meta.EachListItem wants the error
		w := workloadOf(obj.(client.Object)) //nolint:forcetypeassert // all kinds are
		w.restarter, w.method = restarterOf(wt, w, onSecret)
		byUID[w.uid] = w
		return nil
	}
	list := func(kind v1alpha1.WorkloadKind, those client.ListOption) error {
		list := workloadKinds[kind].list.DeepCopyObject().(client.ObjectList) //nolint:forcetypeassert // a copy
		if err := r.Client.List(ctx, list, client.InNamespace(wt.Namespace), those, client.UnsafeDisableDeepCopy); err != nil {
			return err
		}
		return meta.EachListItem(list, add)
	}
	for kind := range workloadKinds {
		if err := list(kind, client.MatchingFields{indexUses: wt.TokenSecretName()}); err != nil {
			return nil, nil, err
		}
	}
	for _, target := range wt.Spec.Restart.Workloads {
		switch {
		case !watched(target):
		case target.Name != "":
			obj := workloadKinds[target.Kind].object.DeepCopyObject().(client.Object) //nolint:forcetypeassert // a copy
			if err = r.Client.Get(ctx, types.NamespacedName{Namespace: wt.Namespace, Name: target.Name}, obj); err == nil {
				err = add(obj)
			} else if apierrors.IsNotFound(err) {
				missing, err = append(missing, (&workload{kind: target.Kind, name: target.Name}).String()), nil
			}
		case len(target.Selector.MatchLabels) > 0:
			err = list(target.Kind, client.MatchingLabels(plainLabels(target)))
		}
		if err != nil {
			return nil, nil, err
		}
	}
	found = slices.SortedFunc(maps.Values(byUID), func(a, b *workload) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name)) })
	slices.Sort(missing)
	return found, slices.Compact(missing), nil
}

func plainLabels(target v1alpha1.RestartTarget) map[string]string {
	plain := map[string]string{}
	for k, v := range target.Selector.MatchLabels {
		plain[k] = string(v)
	}
	return plain
}

// restarterOf is who restarts w for a new token, and how; empty for nobody. What the spec
// names is ours. What it only implies is left to Reloader if that has it already: two
// restarts would be one too many.
func restarterOf(wt *v1alpha1.WeChatToken, w *workload, onSecret map[string]string) (v1alpha1.Restarter, v1alpha1.RestartMethod) {
	secret := wt.TokenSecretName()
	reloaded := uses.Reloaded(secret, w.annotations, w.inTemplate, onSecret, len(w.uses[secret]) > 0)
	for _, target := range wt.Spec.Restart.Workloads {
		if selects(target, w, secret) && (target.Name != "" || !reloaded) {
			return v1alpha1.RestarterOperator, cmp.Or(target.Method, v1alpha1.RestartByRollout)
		}
	}
	if reloaded {
		return v1alpha1.RestarterReloader, ""
	}
	return "", ""
}

func selects(target v1alpha1.RestartTarget, w *workload, secret string) bool {
	switch {
	case !watched(target) || target.Kind != w.kind:
		return false
	case target.Name != "":
		return target.Name == w.name
	case len(target.Selector.MatchLabels) > 0:
		return labels.SelectorFromSet(plainLabels(target)).Matches(labels.Set(w.labels))
	default:
		return uses.Stale(w.uses[secret])
	}
}
