package controllers

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
)

// A WeChatToken with spec.sourceRef, a taker, has no account of its own. While its source
// allows its namespace it is one more member of the source's account, with the AppSecret
// of the source: a new token reaches all of them in the same moment, the records on their
// Secrets have one key, and a restart costs no call. What the account is asked, the source
// says; a taker forces no refresh. Without permission it is as without an AppSecret: its
// Secret keeps the token until that expires.

// indexTakers finds takers by their source, and by their source and their own namespace,
// so that a tenant who names a source that does not allow it costs nobody anything.
const indexTakers = "takers"

func takerKeys(obj client.Object) []string {
	wt := obj.(*v1alpha1.WeChatToken) //nolint:forcetypeassert // the index is on this kind
	if !wt.Spec.HasSource() {
		return nil
	}
	source := wt.Spec.SourceRef.Namespace + "/" + wt.Spec.SourceRef.Name
	return []string{source, source + " " + wt.Namespace}
}

// sourceOf is the WeChatToken whose token wt takes; nil if there is none that allows it. One
// that is itself a taker is none.
func (r *WeChatTokenReconciler) sourceOf(ctx context.Context, wt *v1alpha1.WeChatToken) (*v1alpha1.WeChatToken, error) {
	ref := wt.Spec.SourceRef
	if len(r.Namespaces) > 0 && !slices.Contains(r.Namespaces, ref.Namespace) {
		return nil, nil //nolint:nilnil // as said above
	}
	var source v1alpha1.WeChatToken
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}, &source)
	if err != nil || !source.DeletionTimestamp.IsZero() || source.Spec.HasSource() || !source.Spec.Allows(wt.Namespace) {
		return nil, client.IgnoreNotFound(err)
	}
	return &source, nil
}

// follow gives a taker what the spec of its source says of the account. wt is a copy of
// what the cache has.
func follow(wt, source *v1alpha1.WeChatToken) {
	from := source.Spec
	wt.Spec.AppID, wt.Spec.AppSecretRef, wt.Spec.Mode = from.AppID, from.AppSecretRef, from.Mode
	wt.Spec.RefreshBefore, wt.Spec.CheckInterval, wt.Spec.ClassicCallsPerDay = from.RefreshBefore, from.CheckInterval, from.ClassicCallsPerDay
	wt.Spec.Suspend = wt.Spec.Suspend || from.Suspend
}

// bothWant are the places in record.TicketTypes of the tickets that a taker and its source
// ask for.
func bothWant(wt, source *v1alpha1.WeChatToken) []int {
	there := record.Wanted(source)
	return slices.DeleteFunc(record.Wanted(wt), func(place int) bool { return !slices.Contains(there, place) })
}

// takersOf are the WeChatTokens that take the token of wt.
func (r *WeChatTokenReconciler) takersOf(ctx context.Context, wt *v1alpha1.WeChatToken) (all []types.NamespacedName, err error) {
	source := wt.Namespace + "/" + wt.Name
	keys := make([]string, 0, len(wt.Spec.AllowedNamespaces))
	for _, namespace := range wt.Spec.AllowedNamespaces {
		keys = append(keys, source+" "+string(namespace))
	}
	if slices.Contains(wt.Spec.AllowedNamespaces, v1alpha1.AllNamespaces) {
		keys = []string{source}
	}
	for _, key := range keys {
		var some v1alpha1.WeChatTokenList
		if err := r.Client.List(ctx, &some, client.MatchingFields{indexTakers: key}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, err
		}
		for i := range some.Items {
			all = append(all, client.ObjectKeyFromObject(&some.Items[i]))
		}
	}
	slices.SortFunc(all, func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
	return all, nil
}

// related are the WeChatTokens for which a change of obj is news: its takers; and its
// source, whose status names it.
func (r *WeChatTokenReconciler) related(ctx context.Context, obj client.Object) (requests []reconcile.Request) {
	wt := obj.(*v1alpha1.WeChatToken) //nolint:forcetypeassert // it watches this kind
	all, err := r.takersOf(ctx, wt)
	if wt.Spec.HasSource() {
		var source *v1alpha1.WeChatToken
		if source, err = r.sourceOf(ctx, wt); source != nil {
			all = append(all, client.ObjectKeyFromObject(source))
		}
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "look for the source and the takers of a WeChatToken", "namespace", wt.Namespace, "name", wt.Name)
	}
	for _, key := range all {
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests
}

// mostTakers bounds what the status lists.
const mostTakers = 32

// describeTakers is status.takers.
func describeTakers(all []types.NamespacedName) v1alpha1.Takers {
	t := v1alpha1.Takers{Count: int32(len(all))} //nolint:gosec // of what fits into memory
	for _, key := range all[:min(len(all), mostTakers)] {
		t.Names = append(t.Names, key.String())
	}
	return t
}
