//go:build pages

package docs_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/testcluster"
)

// standIns do on an API server without controllers and nodes what the commands of the
// pages wait for. A Deployment gets its revisions, and is rolled out at once; that of
// the operator is a process on this machine, with the flags and the ServiceAccount of its
// pod, and its log as that of the pod. Jobs are complete, and deleted namespaces go with
// all that is in them. There is no garbage collector.
type standIns struct {
	t         *testing.T
	config    *rest.Config
	client    client.Client
	kube      *kubernetes.Clientset
	metadata  metadata.Interface
	discovery *discovery.DiscoveryClient
	manager   string // the program
	weChat    string // its URL
	kubelet   *kubelet
	running   map[types.UID]*testcluster.Program
}

// startStandIns lets them work until the test ends.
func startStandIns(t *testing.T, c *testcluster.Cluster, manager, weChat string) *standIns {
	t.Helper()
	config := rest.CopyConfig(c.Config)
	config.WarningHandler = rest.NoWarnings{}
	s := &standIns{t: t, config: config, manager: manager, weChat: weChat, running: map[types.UID]*testcluster.Program{}}
	var errs [4]error
	s.client, errs[0] = client.New(config, client.Options{Scheme: testcluster.Scheme()})
	s.kube, errs[1] = kubernetes.NewForConfig(config)
	s.metadata, errs[2] = metadata.NewForConfig(config)
	s.discovery, errs[3] = discovery.NewDiscoveryClientForConfig(config)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	s.kubelet = startKubelet(t, s.client)
	ctx, stop := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			if err := errors.Join(s.deployments(ctx), s.jobs(ctx), s.namespaces(ctx)); err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				t.Logf("a stand-in tries again: %v", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	t.Cleanup(func() { stop(); done.Wait() })
	return s
}

func (s *standIns) deployments(ctx context.Context) error {
	var all appsv1.DeploymentList
	if err := s.client.List(ctx, &all); err != nil {
		return err
	}
	var errs []error
	there := map[types.UID]bool{}
	for _, d := range all.Items {
		there[d.UID] = true
		if d.Status.ObservedGeneration < d.Generation {
			errs = append(errs, s.rollOut(ctx, &d))
		}
	}
	for uid := range s.running {
		if !there[uid] {
			s.end(uid)
		}
	}
	return errors.Join(errs...)
}

// rollOut makes the ReplicaSet of a template, or gives that which is there the highest
// revision, replaces the pod, and says that all are available.
func (s *standIns) rollOut(ctx context.Context, d *appsv1.Deployment) error {
	text, err := d.Spec.Template.Marshal()
	if err != nil {
		return err
	}
	hash := fnv.New32a()
	hash.Write(append(text, d.UID...)) // for those of a Deployment that is gone are still there
	const byHash, revisionOf = appsv1.DefaultDeploymentUniqueLabelKey, "deployment.kubernetes.io/revision"
	set := &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: d.Namespace, Name: fmt.Sprintf("%s-%x", d.Name, hash.Sum32())}}
	var sets appsv1.ReplicaSetList
	if err := s.client.List(ctx, &sets, client.InNamespace(d.Namespace), client.MatchingLabels(d.Spec.Template.Labels)); err != nil {
		return err
	}
	highest, mine := 0, -1
	for _, other := range sets.Items {
		if !metav1.IsControlledBy(&other, d) {
			continue
		}
		revision, _ := strconv.Atoi(other.Annotations[revisionOf]) // written below
		highest = max(highest, revision)
		if other.Name == set.Name {
			set, mine = &other, revision
		}
	}
	if mine < 0 || mine < highest {
		highest++
	}
	template := d.Spec.Template.DeepCopy()
	template.Labels = maps.Clone(template.Labels)
	template.Labels[byHash] = fmt.Sprintf("%x", hash.Sum32())
	owned := []metav1.OwnerReference{*metav1.NewControllerRef(d, appsv1.SchemeGroupVersion.WithKind("Deployment"))}
	write := s.client.Update
	if mine < 0 {
		write = func(ctx context.Context, o client.Object, _ ...client.UpdateOption) error {
			return s.client.Create(ctx, o)
		}
		set.Labels, set.OwnerReferences = template.Labels, owned
		set.Spec = appsv1.ReplicaSetSpec{Replicas: new(int32), Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: *template}
	}
	metav1.SetMetaDataAnnotation(&set.ObjectMeta, revisionOf, strconv.Itoa(highest))
	if err := write(ctx, set); err != nil {
		return err
	}
	if err := s.replacePod(ctx, d, set, template); err != nil {
		return err
	}
	before := d.DeepCopy()
	metav1.SetMetaDataAnnotation(&d.ObjectMeta, revisionOf, strconv.Itoa(highest))
	if err := s.client.Patch(ctx, d, client.MergeFrom(before)); err != nil {
		return err
	}
	n := *d.Spec.Replicas
	d.Status = appsv1.DeploymentStatus{ObservedGeneration: before.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
	return s.client.Status().Update(ctx, d)
}

// replacePod ends the pods of a Deployment, and makes one of its template.
func (s *standIns) replacePod(ctx context.Context, d *appsv1.Deployment, set *appsv1.ReplicaSet, template *corev1.PodTemplateSpec) error {
	pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: template.Spec}
	pod.Namespace, pod.Name = d.Namespace, set.Name+"-"+strconv.FormatInt(d.Generation, 36)
	pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("ReplicaSet"))}
	pod.Spec.NodeName = nodeName
	old := []client.DeleteAllOfOption{client.InNamespace(d.Namespace), client.MatchingLabels(d.Spec.Selector.MatchLabels), client.GracePeriodSeconds(0)}
	if err := s.client.DeleteAllOf(ctx, &corev1.Pod{}, old...); err != nil {
		return err
	}
	if err := s.runOperator(ctx, d, pod); err != nil {
		return err
	}
	if err := s.client.Create(ctx, pod); err != nil {
		return err
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	return s.client.Status().Update(ctx, pod)
}

// runOperator runs the operator, if this is its pod, instead of the one before.
func (s *standIns) runOperator(ctx context.Context, d *appsv1.Deployment, pod *corev1.Pod) error {
	if pod.Spec.Containers[0].Name != "manager" {
		return nil
	}
	s.end(d.UID)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Spec.ServiceAccountName}}
	credential := &authenticationv1.TokenRequest{}
	if err := s.client.SubResource("token").Create(ctx, account, credential); err != nil {
		return err
	}
	config := rest.AnonymousClientConfig(s.config)
	config.BearerToken = credential.Status.Token
	cluster := &testcluster.Cluster{Config: config, Kubeconfig: testcluster.WriteKubeconfig(s.t, config)}
	flags := append([]string{"--leader-elect", "--leader-election-namespace=" + pod.Namespace}, pod.Spec.Containers[0].Args...)
	s.running[d.UID] = cluster.StartManager(s.t, s.manager, s.weChat, flags...)
	s.kubelet.logs.Store(pod.Namespace+"/"+pod.Name, s.running[d.UID].Output)
	return nil
}

// end ends an operator as a node does, so that it gives its lease back.
func (s *standIns) end(uid types.UID) {
	if p := s.running[uid]; p != nil {
		p.Signal(syscall.SIGTERM)
		select {
		case <-p.Ended():
		case <-time.After(2 * time.Second): // its credential may be gone, and with it the way to the lease
			p.Kill()
		}
		delete(s.running, uid)
	}
}

func (s *standIns) jobs(ctx context.Context) error {
	var all batchv1.JobList
	if err := s.client.List(ctx, &all); err != nil {
		return err
	}
	var errs []error
	for _, job := range all.Items {
		if job.Status.CompletionTime != nil {
			continue
		}
		now := metav1.Now()
		job.Status = batchv1.JobStatus{StartTime: &now, CompletionTime: &now, Succeeded: 1, Conditions: []batchv1.JobCondition{
			{Type: batchv1.JobSuccessCriteriaMet, Status: corev1.ConditionTrue, LastTransitionTime: now},
			{Type: batchv1.JobComplete, Status: corev1.ConditionTrue, LastTransitionTime: now},
		}}
		errs = append(errs, s.client.Status().Update(ctx, &job))
	}
	return errors.Join(errs...)
}

func (s *standIns) namespaces(ctx context.Context) error {
	var all corev1.NamespaceList
	if err := s.client.List(ctx, &all); err != nil {
		return err
	}
	var errs []error
	for _, ns := range all.Items {
		if ns.DeletionTimestamp == nil {
			continue
		}
		for _, resource := range s.resources(true, "deletecollection") {
			errs = append(errs, s.metadata.Resource(resource).Namespace(ns.Name).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{}))
		}
		ns.Spec.Finalizers = nil
		_, err := s.kube.CoreV1().Namespaces().Finalize(ctx, &ns, metav1.UpdateOptions{})
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// resources are those that know a verb, in namespaces or not.
func (s *standIns) resources(namespaced bool, verb string) (all []schema.GroupVersionResource) {
	lists, err := s.discovery.ServerPreferredResources()
	if err != nil {
		s.t.Logf("discovery: %v", err) // of what is just going
	}
	for _, list := range lists {
		version, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			s.t.Error(err)
			continue
		}
		for _, r := range list.APIResources {
			for _, v := range r.Verbs {
				if v == verb && r.Namespaced == namespaced && r.Name != "events" {
					all = append(all, version.WithResource(r.Name))
				}
			}
		}
	}
	return all
}

// clusterObjects are all objects that are in no namespace, but for those that only the
// API server makes.
func (s *standIns) clusterObjects(ctx context.Context) (map[string]func() error, error) {
	all := map[string]func() error{}
	for _, resource := range s.resources(false, "delete") {
		list, err := s.metadata.Resource(resource).List(ctx, metav1.ListOptions{})
		if err != nil {
			return nil, err
		}
		for _, o := range list.Items {
			all[resource.String()+" "+o.Name] = func() error {
				return client.IgnoreNotFound(s.metadata.Resource(resource).Delete(ctx, o.Name, metav1.DeleteOptions{}))
			}
		}
	}
	return all, nil
}
