package consumers

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/refusal"
	"wechattoken.io/operator/internal/uses"
)

// Consumers of other kinds than the watched ones, such as a Rollout of Argo, a CloneSet
// of OpenKruise, a Job or a pod that nothing controls, are found through their pods, and
// CronJobs through their templates. Nothing watches those: a scan of the namespace reads
// them after each new token, for all WeChatTokens that get one within a minute.

const (
	// scanLasts is how long the result of a scan serves the WeChatTokens of its namespace.
	scanLasts = time.Minute

	// scanAgain is the pause before the next scan after the first one of a process, and
	// while the last one failed or found pods that keep an old token: nothing else tells
	// when that has changed.
	scanAgain = 10 * time.Minute

	// mostOwners is for how many controllers of pods a scan asks who controls those.
	mostOwners = 256
)

// notEnded selects the pods that run, or will.
var notEnded = fields.AndSelectors(
	fields.OneTermNotEqualSelector("status.phase", string(corev1.PodSucceeded)),
	fields.OneTermNotEqualSelector("status.phase", string(corev1.PodFailed)),
)

// other is a consumer that a scan has found.
type other struct {
	v1alpha1.Consumer

	inTemplate map[string]string // annotations of Reloader on its pods
}

// scan is what the pods and the CronJobs of a namespace use.
type scan struct {
	waiting map[types.NamespacedName]bool // WeChatTokens to queue at its end
	ended   bool
	found   map[string][]other // by the name of the Secret
	err     error
}

// scans are those under way or still of use, by namespace.
type scans struct {
	mu          sync.Mutex
	byNamespace map[string]*scan
}

// scanFor returns the scan of the namespace of a WeChatToken once it has ended. Until then it
// returns nil, and queues the WeChatToken when it has.
func (r *Reconciler) scanFor(key types.NamespacedName) *scan {
	r.scans.mu.Lock()
	defer r.scans.mu.Unlock()
	s := r.scans.byNamespace[key.Namespace]
	if s == nil {
		s = &scan{waiting: map[types.NamespacedName]bool{}}
		r.scans.byNamespace[key.Namespace] = s
		go r.run(key.Namespace, s)
	}
	if s.ended {
		return s
	}
	s.waiting[key] = true
	return nil
}

// run scans a namespace, and wakes who waits for the result.
func (r *Reconciler) run(namespace string, s *scan) {
	found, err := r.scan(r.running, namespace)
	r.scans.mu.Lock()
	defer r.scans.mu.Unlock()
	s.ended, s.found, s.err = true, found, err
	for key := range s.waiting {
		r.wake(key)
	}
	s.waiting = nil
	time.AfterFunc(scanLasts, func() {
		r.scans.mu.Lock()
		defer r.scans.mu.Unlock()
		delete(r.scans.byNamespace, namespace)
	})
}

// scan reads the CronJobs of a namespace, and the pods of owners that are not watched.
func (r *Reconciler) scan(ctx context.Context, namespace string) (map[string][]other, error) {
	select { // a list of pods takes memory
	case r.lists <- struct{}{}:
		defer func() { <-r.lists }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var tokens v1alpha1.WeChatTokenList
	if err := r.Client.List(ctx, &tokens, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	f := finder{wanted: map[string]bool{}, found: map[string]map[string]*other{}}
	for i := range tokens.Items {
		f.wanted[tokens.Items[i].TokenSecretName()] = true
	}
	err := r.each(ctx, &batchv1.CronJobList{}, func(obj client.Object) bool {
		template := &obj.(*batchv1.CronJob).Spec.JobTemplate.Spec.Template //nolint:forcetypeassert // of such a list
		f.add("batch/v1", "CronJob", obj.GetName(), f.uses(&template.Spec), template.Annotations)
		return true
	}, client.InNamespace(namespace))
	if err != nil {
		return nil, err
	}
	pods, err := r.unwatchedPods(ctx, namespace, &f)
	if err != nil {
		return nil, err
	}
	for _, pod := range pods {
		owner, err := uses.OwnerOf(ctx, r.Pods, pod)
		if err != nil {
			return nil, err
		}
		if !isWatched(owner.APIVersion, owner.Kind) {
			f.add(owner.APIVersion, owner.Kind, owner.Name, f.uses(&pod.Spec), pod.Annotations)
		}
	}
	return f.sorted(), nil
}

// unwatchedPods lists pods that use a Secret that is wanted and are of no watched
// workload: one of each that controls some, and little of it.
func (r *Reconciler) unwatchedPods(ctx context.Context, namespace string, f *finder) (pods []*corev1.Pod, err error) {
	seen := map[types.UID]bool{}
	err = r.each(ctx, &corev1.PodList{}, func(obj client.Object) bool {
		pod := obj.(*corev1.Pod) //nolint:forcetypeassert // of such a list
		owner := cmp.Or(metav1.GetControllerOf(pod), &metav1.OwnerReference{UID: pod.UID})
		if !seen[owner.UID] && len(f.uses(&pod.Spec)) > 0 && !r.watches(ctx, pod, owner) {
			seen[owner.UID] = true
			pods = append(pods, &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: pod.Name, UID: pod.UID, OwnerReferences: pod.OwnerReferences, Annotations: uses.ReloaderAnnotations(pod.Annotations)},
				Spec:       uses.Only(pod.Spec),
			})
		}
		return len(pods) < mostOwners
	}, client.InNamespace(namespace), client.MatchingFieldsSelector{Selector: notEnded})
	return pods, err
}

// watches reports whether the pod is one of a watched workload.
func (r *Reconciler) watches(ctx context.Context, pod *corev1.Pod, owner *metav1.OwnerReference) bool {
	if isWatched(owner.APIVersion, owner.Kind) {
		return true
	}
	hash := pod.Labels[appsv1.DefaultDeploymentUniqueLabelKey]
	if owner.Kind != "ReplicaSet" || hash == "" || len(owner.Name) <= len(hash) {
		return false
	}
	var d appsv1.Deployment
	name := types.NamespacedName{Namespace: pod.Namespace, Name: owner.Name[:len(owner.Name)-len(hash)-1]}
	return r.Client.Get(ctx, name, &d) == nil && (&workload{kind: v1alpha1.KindDeployment, name: d.Name}).ownsPod(pod)
}

// finder gathers the consumers of those Secrets that WeChatTokens want.
type finder struct {
	wanted map[string]bool
	found  map[string]map[string]*other // by Secret, and by kind and name
}

// uses are those of the Secrets that are wanted.
func (f *finder) uses(pod *corev1.PodSpec) map[string][]v1alpha1.SecretUse {
	all := uses.In(pod)
	maps.DeleteFunc(all, func(secret string, _ []v1alpha1.SecretUse) bool { return !f.wanted[secret] })
	return all
}

// add notes a consumer, or further uses of it, which its pods of an earlier template have.
func (f *finder) add(apiVersion, kind, name string, bySecret map[string][]v1alpha1.SecretUse, inTemplate map[string]string) {
	for secret, how := range bySecret {
		if f.found[secret] == nil {
			f.found[secret] = map[string]*other{}
		}
		o := f.found[secret][kind+"/"+name]
		if o == nil && len(f.found[secret]) < maxConsumers {
			o = &other{Consumer: v1alpha1.Consumer{APIVersion: apiVersion, Kind: kind, Name: name}, inTemplate: inTemplate}
			f.found[secret][kind+"/"+name] = o
		}
		if o != nil {
			o.Uses = append(o.Uses, how...)
		}
	}
}

// sorted are the consumers by kind and name, each use of one once.
func (f *finder) sorted() map[string][]other {
	all := map[string][]other{}
	for secret, found := range f.found {
		for _, key := range slices.Sorted(maps.Keys(found)) {
			o := found[key]
			slices.Sort(o.Uses)
			o.Uses = slices.Compact(o.Uses)
			all[secret] = append(all[secret], *o)
		}
	}
	return all
}

// look makes others those of the last scan, and starts one when that is due. Until the
// first one of this process ends they are those in the status.
func (m *memory) look(r *Reconciler, wt *v1alpha1.WeChatToken, onSecret map[string]string, stored *record.Record, now time.Time) {
	contents, due := stored.Contents(), !m.scanAgain.IsZero() && !now.Before(m.scanAgain)
	if m.scanned && !m.scanning && !due && (contents == "" || m.scannedFor == contents) {
		return
	}
	s := r.scanFor(client.ObjectKeyFromObject(wt))
	if m.scanning = s == nil; !m.scanning {
		m.take(s, wt, onSecret, stored, now)
		m.scanned, m.scannedFor = true, contents
		return
	}
	m.scanAgain = time.Time{} // the scan wakes us
	if !m.scanned {
		m.others = slices.DeleteFunc(slices.Clone(wt.Status.Consumers), func(c v1alpha1.Consumer) bool { return isWatched(c.APIVersion, c.Kind) })
		for i := range m.others {
			if m.others[i].RestartedBy == v1alpha1.RestarterOperator {
				m.others[i].RestartedBy = "" // the spec may say something else now
			}
		}
	}
}

// take takes over what a scan has found, and says when the next one is due. The first one
// is repeated: the pods of a WeChatToken that is new come after it.
func (m *memory) take(s *scan, wt *v1alpha1.WeChatToken, onSecret map[string]string, stored *record.Record, now time.Time) {
	secret := wt.TokenSecretName()
	m.scanAgain, m.scanRefusal = time.Time{}, ""
	if !m.scanned || s.err != nil {
		m.scanAgain = now.Add(scanAgain)
	}
	if refusal.Is(s.err) {
		m.scanRefusal = refusal.Text(s.err, stored.Secrets()...)
	}
	if s.err != nil {
		return
	}
	m.others = nil
	for _, o := range s.found[secret] {
		if uses.Reloaded(secret, nil, o.inTemplate, onSecret, true) {
			o.RestartedBy = v1alpha1.RestarterReloader
		}
		m.others = append(m.others, o.Consumer)
	}
	if slices.ContainsFunc(withRestarts(wt, m.others), uses.KeepsOldToken) {
		m.scanAgain = now.Add(scanAgain)
	}
}

// withRestarts says of the consumers that no watch finds which ones the operator restarts, and
// adds those that spec.restart names though they do not use the Secret.
func withRestarts(wt *v1alpha1.WeChatToken, others []v1alpha1.Consumer) []v1alpha1.Consumer {
	all := slices.Clone(others)
	for _, target := range wt.Spec.Restart.Workloads {
		if watched(target) {
			continue
		}
		named := v1alpha1.Consumer{APIVersion: target.APIVersion, Kind: string(target.Kind), Name: target.Name, RestartedBy: v1alpha1.RestarterOperator}
		same := func(o v1alpha1.Consumer) bool { return idOf(o) == idOf(named) }
		if target.Name != "" && !slices.ContainsFunc(all, same) {
			all = append(all, named)
		}
		for i, o := range all {
			ofKind := o.APIVersion == named.APIVersion && o.Kind == named.Kind && target.Name == ""
			if same(o) || ofKind && uses.KeepsOldToken(o) {
				all[i].RestartedBy = v1alpha1.RestarterOperator
			}
		}
	}
	return all
}
