package consumers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/refusal"
)

// finding is what there is to report of a workload; the zero one is nothing.
type finding struct {
	reason string
	why    string
	wake   time.Time // when to look again; zero if an event will tell
}

// findings are those of all workloads of a WeChatToken.
type findings struct {
	workloads map[string][]string // by reason
	why       map[string]string   // of the first workload, by reason
	wake      time.Time
}

func (all *findings) add(workload string, f finding) {
	if f.reason == "" {
		return
	}
	if all.workloads == nil {
		all.workloads, all.why = map[string][]string{}, map[string]string{}
	}
	if all.workloads[f.reason] == nil {
		all.why[f.reason] = f.why
	}
	all.workloads[f.reason] = append(all.workloads[f.reason], workload)
	all.lookAt(f.wake)
}

// lookAt has the workloads looked at again at that time, if it is not zero.
func (all *findings) lookAt(at time.Time) {
	if !at.IsZero() && (all.wake.IsZero() || at.Before(all.wake)) {
		all.wake = at
	}
}

// maxConsumers bounds what the status lists.
const maxConsumers = 64

// messages per reason, the most severe first: a condition has one reason.
var messages = []struct{ reason, format string }{
	{v1alpha1.ReasonRestartRefused, "The operator tries every 30 s to restart %s, and the API server refuses it"},
	{v1alpha1.ReasonRestartUndone, "Somebody takes back the annotations by which the operator restarts %s, and with them the restart. The operator tries again with a growing pause. Have who does, as a GitOps tool, leave " + v1alpha1.AnnotationRestartTurn + " of the pod template and annotations that begin with " + v1alpha1.AnnotationRestartPrefix + " alone"},
	{v1alpha1.ReasonRestartLate, "The old token was invalid before all pods of %s had the new one. Make the restart faster: more maxSurge or maxUnavailable, a PodDisruptionBudget that lets more pods go, a quicker readiness probe, fewer pods. Or mount the Secret as a directory"},
	{v1alpha1.ReasonRestartTargetMissing, "spec.restart names %s, and there is no such workload in this namespace, or none with a scale: create it, or take it out of spec.restart"},
	{v1alpha1.ReasonRestartManual, "A rollout of %s does not replace all pods: its updateStrategy is OnDelete or has a partition. Restart it with method: Eviction, or choose RollingUpdate without a partition"},
	{v1alpha1.ReasonConsumersStale, "%s: the Secret is used there as env or through subPath, which never changes in a running container, and nobody restarts the pods. Mount the Secret as a directory, or use spec.restart, of other kinds than Deployment, StatefulSet and DaemonSet with method: Eviction"},
	{v1alpha1.ReasonRestartWaits, "The restart of %s waits"},
	{v1alpha1.ReasonRestarting, "%s: the pods are being replaced for the new token"},
}

// reportScan adds to the condition that there may be more consumers than the operator sees.
func (m *memory) reportScan(c *metav1.Condition) {
	if m.scanRefusal != "" {
		c.Message = refusal.Short(c.Message + ". There may be others than Deployments, StatefulSets and DaemonSets: the API server does not let the operator look at pods and CronJobs: " + m.scanRefusal)
	}
}

// condition is ConsumersCurrent for so many workloads.
func (all *findings) condition(count int) *metav1.Condition {
	c := &metav1.Condition{
		Type: v1alpha1.ConditionConsumersCurrent, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonConsumersUpToDate,
		Message: "New tokens reach the workloads that use the Secret",
	}
	if count == 0 {
		c.Message = "No workload uses the Secret"
	}
	for _, m := range messages {
		if all.workloads[m.reason] == nil {
			continue
		}
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, m.reason, fmt.Sprintf(m.format, some(all.workloads[m.reason]))
		if why := all.why[m.reason]; why != "" {
			c.Message += ": " + why
		}
		break
	}
	if count > maxConsumers {
		c.Message += fmt.Sprintf(". status.consumers lists the first %d of %d", maxConsumers, count)
	}
	c.Message = refusal.Short(c.Message)
	return c
}

// listOf is status.consumers. It has one of a kind and name: the watched one, if another
// group has a kind that is called the same.
func listOf(found []*workload, others []v1alpha1.Consumer, secret string) (list []v1alpha1.Consumer) {
	for _, w := range found {
		list = append(list, v1alpha1.Consumer{APIVersion: appsv1.SchemeGroupVersion.String(), Kind: string(w.kind), Name: w.name, Uses: w.uses[secret], RestartedBy: w.restarter})
	}
	list = append(list, others...)
	byName := func(a, b v1alpha1.Consumer) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
	}
	slices.SortStableFunc(list, byName)
	list = slices.CompactFunc(list, func(a, b v1alpha1.Consumer) bool { return byName(a, b) == 0 })
	return list[:min(len(list), maxConsumers)]
}

// some names a few workloads and counts the rest.
func some(workloads []string) string {
	const most = 5
	if len(workloads) <= most {
		return strings.Join(workloads, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(workloads[:most], ", "), len(workloads)-most)
}
