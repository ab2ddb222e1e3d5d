package main

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"wechattoken.io/operator/api/v1alpha1"
)

// clusterChecks are made once, in this order.
var clusterChecks = []check[clusterFacts]{
	{"crd", crdKnown},
	{"operator", operatorRuns},
	{"leader", leaderLeads},
	{"operator-permissions", operatorMay},
	{"your-permissions", youMay},
	{"clock", clockRight},
	{"dial", weChatReached},
}

func crdKnown(f *clusterFacts, _ time.Time) []finding {
	if err := f.schema.err; err != nil {
		return []finding{unknownf("the schema of %s: %s", kindOf.Kind, sorry(err))}
	}
	if !f.schema.value.served() {
		return []finding{fails(notInstalled)}
	}
	if missing := missingFields(f.schema.value.kindSchema()); len(missing) > 0 {
		remedy := again
		if len(f.installs.value) > 0 {
			remedy = f.installs.value[0].remedy(again)
		}
		return []finding{fails("the CRD is older than this plugin, and lacks %s. If the operator is newer than the CRD, too: %s", some(missing), remedy)}
	}
	return []finding{passes("%s with all fields that this plugin knows", kindOf.GroupVersion())}
}

// missingFields are those that the types have and the schema has not.
func missingFields(s *schema) []string {
	var missing []string
	var walk func(path string, t reflect.Type, s *schema)
	walk = func(path string, t reflect.Type, s *schema) {
		for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
			if t.Kind() == reflect.Slice && s != nil {
				s = s.Items
			}
			t = t.Elem()
		}
		if s == nil {
			missing = append(missing, path)
			return
		}
		if t.Kind() != reflect.Struct || !strings.HasSuffix(t.PkgPath(), "/"+v1alpha1.GroupVersion.Version) || t.PkgPath() == reflect.TypeFor[metav1.Time]().PkgPath() {
			return
		}
		for field := range t.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name != "" {
				walk(strings.TrimPrefix(path+"."+name, "."), field.Type, s.Properties[name])
			}
		}
	}
	walk("spec", reflect.TypeFor[v1alpha1.WeChatTokenSpec](), s.Properties["spec"])
	walk("status", reflect.TypeFor[v1alpha1.WeChatTokenStatus](), s.Properties["status"])
	return missing
}

// some names a few and counts the rest.
func some(all []string) string {
	const most = 4
	if len(all) <= most {
		return strings.Join(all, ", ")
	}
	return strings.Join(all[:most], ", ") + " and more"
}

func operatorRuns(f *clusterFacts, _ time.Time) []finding {
	if err := f.installs.err; err != nil {
		return []finding{unknownf("Deployments cannot be listed: %s. --operator-namespace says where the operator is", sorry(err))}
	}
	if len(f.installs.value) == 0 {
		return []finding{fails("there is no Deployment with the label app.kubernetes.io/name=%s: install the operator, or say where it is with --operator-namespace", operatorName)}
	}
	var all []finding
	for i := range f.installs.value {
		d := &f.installs.value[i].deployment
		image := f.installs.value[i].images()
		want := int32(1)
		if d.Spec.Replicas != nil {
			want = *d.Spec.Replicas
		}
		switch ready := d.Status.AvailableReplicas; {
		case want == 0:
			replicas := 2
			if f.installs.value[i].flags.alone { // without leader election, two would both call WeChat
				replicas = 1
			}
			all = append(all, fails("Deployment %s has 0 replicas: kubectl -n %s scale deployment/%s --replicas=%d", &f.installs.value[i], d.Namespace, d.Name, replicas))
		case ready == 0:
			all = append(all, fails("Deployment %s has no available pod of %d, image %s: kubectl -n %s describe pods -l app.kubernetes.io/name=%s", &f.installs.value[i], want, image, d.Namespace, operatorName))
		case ready < want:
			all = append(all, warns("Deployment %s has %d of %d pods available, image %s: kubectl -n %s describe pods -l app.kubernetes.io/name=%s", &f.installs.value[i], ready, want, image, d.Namespace, operatorName))
		default:
			all = append(all, passes("Deployment %s has %d of %d pods available, image %s", &f.installs.value[i], ready, want, image))
		}
	}
	return all
}

// renewSlack is how late a lease may be renewed, beyond its duration.
const renewSlack = 2 * time.Second

func leaderLeads(f *clusterFacts, now time.Time) []finding {
	var all []finding
	for i := range f.installs.value {
		in := &f.installs.value[i]
		logs := "kubectl -n " + in.deployment.Namespace + " logs deployment/" + in.deployment.Name
		lease := in.lease.value
		switch {
		case in.flags.alone:
			all = append(all, passes("%s works without leader election", in))
		case apierrors.IsNotFound(in.lease.err):
			all = append(all, fails("%s has no lease %s in its namespace, so it has never worked: %s", in, operatorName, logs))
		case in.lease.err != nil:
			all = append(all, unknownf("the lease of %s: %s", in, sorry(in.lease.err)))
		case lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" || lease.Spec.RenewTime == nil || lease.Spec.LeaseDurationSeconds == nil:
			all = append(all, fails("nobody leads %s: its pods do not run, or cannot write the lease: %s", in, logs))
		default:
			holder, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
			age := now.Sub(renewed(in)).Truncate(time.Second)
			if age > time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second+renewSlack {
				all = append(all, fails("%s led %s, and has not renewed its lease for %s: nobody works now: %s", holder, in, age, logs))
			} else {
				all = append(all, passes("%s leads %s", holder, in))
			}
		}
	}
	return all
}

// renewed is when the lease of an install was renewed last, by the API server's
// clock if it tells.
func renewed(in *install) time.Time {
	if at, ok := written(in); ok {
		return at
	}
	return in.lease.value.Spec.RenewTime.Time
}

// written is when the API server took the last write of the lease: it notes that
// with the owners of the fields.
func written(in *install) (time.Time, bool) {
	var last time.Time
	for _, m := range in.lease.value.ManagedFields {
		if m.Time != nil && m.Time.After(last) {
			last = m.Time.Time
		}
	}
	return last, !last.IsZero()
}

func operatorMay(f *clusterFacts, _ time.Time) []finding {
	var all []finding
	for i := range f.installs.value {
		in := &f.installs.value[i]
		not := denied(in.permissions.value)
		switch {
		case in.permissions.err != nil && apierrors.IsForbidden(in.permissions.err):
			all = append(all, unknownf("you may not ask what the operator may do (create subjectaccessreviews.authorization.k8s.io)"))
		case in.permissions.err != nil:
			all = append(all, unknownf("what the operator may do: %s", sorry(in.permissions.err)))
		case len(not) > 0:
			all = append(all, fails("ServiceAccount %s of %s may not %s: %s", in.deployment.Spec.Template.Spec.ServiceAccountName, in, some(not), in.remedy(cmp.Or(in.bindAgain(), again))))
		default:
			all = append(all, passes("%s may do what it needs", in))
		}
	}
	return all
}

func youMay(f *clusterFacts, _ time.Time) []finding {
	if err := f.yourPermissions.err; err != nil {
		return []finding{unknownf("your permissions: %s", sorry(err))}
	}
	if not := denied(f.yourPermissions.value); len(not) > 0 {
		slices.Sort(not)
		return []finding{warns("you may not %s, which refresh and revoke need: ask for a RoleBinding to wechattoken-refresher", some(not))}
	}
	return []finding{passes("you may read and refresh WeChatTokens")}
}

// Of clocks that lie apart, tokens are replaced too late at some point.
const (
	skewNoted = 5 * time.Second
	skewWrong = time.Minute
)

func clockRight(f *clusterFacts, _ time.Time) []finding {
	var all []finding
	switch {
	case f.skew.err != nil:
		all = append(all, unknownf("this machine's clock: %v", f.skew.err))
	default:
		all = append(all, skewed("this machine", f.skew.value, "set it by NTP; the times here follow the API server"))
	}
	for i := range f.installs.value {
		in := &f.installs.value[i]
		if in.lease.err != nil || in.lease.value == nil || in.lease.value.Spec.RenewTime == nil {
			continue
		}
		at, known := written(in)
		if !known {
			continue
		}
		// What was written has whole seconds, cut off.
		skew := in.lease.value.Spec.RenewTime.Sub(at)
		if skew > 0 {
			skew = max(0, skew-time.Second)
		}
		all = append(all, skewed("the node of the leader of "+in.String(), skew, "set it by NTP: a token is valid by that clock"))
	}
	return all
}

func skewed(whose string, skew time.Duration, remedy string) finding {
	way := "ahead of"
	if skew < 0 {
		way = "behind"
	}
	apart := skew.Abs().Truncate(time.Second)
	switch {
	case skew.Abs() >= skewWrong:
		return fails("the clock of %s is %s %s the API server's: %s", whose, apart, way, remedy)
	case skew.Abs() >= skewNoted:
		return warns("the clock of %s is %s %s the API server's: %s", whose, apart, way, remedy)
	default:
		return passes("the clock of %s agrees with the API server's", whose)
	}
}

func weChatReached(f *clusterFacts, _ time.Time) []finding {
	switch {
	case f.dialled == nil:
		return nil
	case f.dialled.err != nil:
		return []finding{fails("%s cannot be reached from this machine: %v. The way of the operator's pods may be another one", f.dialled.value, f.dialled.err)}
	default:
		return []finding{passes("%s answers this machine", f.dialled.value)}
	}
}
