package config_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// shards are the installs of config/shards, by the value of their label.
var shards = []string{"a", "b"}

// Shards together are what one install is: what is the cluster's is there once,
// and each shard has all the rest, in its own namespace. So it is for those that
// look after consumers, as the comment in config/shards/a says.
func TestShardsLackNothing(t *testing.T) {
	t.Parallel()
	clusterWide := []string{"CustomResourceDefinition", "ClusterRole", "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
	for base, dir := range map[string]string{"default": "shards", "consumers": shardsWithConsumers(t)} {
		t.Run(base, func(t *testing.T) {
			t.Parallel()
			want, got := map[string]any{}, map[string]any{}
			id := func(o unstructured.Unstructured) string {
				return o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
			}
			for _, o := range objects(t, base) {
				if slices.Contains(clusterWide, o.GetKind()) {
					want[id(o)] = o.Object
					continue
				}
				for _, s := range shards {
					one := ofShard(t, *o.DeepCopy(), s, base == "consumers")
					want[id(one)] = one.Object
				}
			}
			for _, o := range objects(t, dir) {
				got[id(o)] = o.Object
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-made of config/%s +there):\n%s", dir, base, diff)
			}
			// Each alone is the same as its part of all.
			apart := map[string]any{}
			for _, part := range append([]string{"shared"}, shards...) {
				for _, o := range objects(t, filepath.Join(dir, part)) {
					apart[id(o)] = o.Object
				}
			}
			if diff := cmp.Diff(got, apart); diff != "" {
				t.Errorf("%s (-in one piece +in parts):\n%s", dir, diff)
			}
		})
	}
}

// ofShard is what an object of an install is in a shard.
func ofShard(t *testing.T, o unstructured.Unstructured, shard string, consumers bool) unstructured.Unstructured {
	t.Helper()
	namespace := name + "-" + shard
	set := func(value any, fields ...string) {
		if err := unstructured.SetNestedField(o.Object, value, fields...); err != nil {
			t.Fatal(err)
		}
	}
	if o.GetNamespace() != "" {
		o.SetNamespace(namespace)
	}
	switch o.GetKind() {
	case "Namespace", "ClusterRoleBinding":
		o.SetName(o.GetName() + "-" + shard)
	case "Deployment":
		containers, _, err := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		if err != nil {
			t.Fatal(err)
		}
		args := []any{"--selector=wechattoken.io/shard=" + shard}
		if consumers {
			args = append(args, "--consumers")
		}
		containers[0].(map[string]any)["args"] = args
		set(containers, "spec", "template", "spec", "containers")
	}
	if _, bound := o.Object["subjects"]; bound {
		// The policies know the operator by this name.
		set([]any{map[string]any{"kind": rbacv1.ServiceAccountKind, "name": name, "namespace": namespace}}, "subjects")
	}
	return o
}

// shardsWithConsumers is a copy of config/shards of which each install looks
// after consumers.
func shardsWithConsumers(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shards")
	if err := os.CopyFS(dir, os.DirFS("shards")); err != nil {
		t.Fatal(err)
	}
	for _, part := range append([]string{"shared"}, shards...) {
		file := filepath.Join(dir, part, "kustomization.yaml")
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		changed := strings.ReplaceAll(string(text), "  - ../../default", "  - "+relative(t, filepath.Dir(file), "consumers"))
		changed = strings.ReplaceAll(changed, "[--selector=wechattoken.io/shard="+part+"]", "[--selector=wechattoken.io/shard="+part+", --consumers]")
		write(t, file, changed)
	}
	return dir
}

// What the two folders have in common is written in both.
func TestOneShardIsLikeTheOther(t *testing.T) {
	t.Parallel()
	texts := map[string]string{}
	for _, s := range shards {
		text, err := os.ReadFile(filepath.Join("shards", s, "kustomization.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		texts[s] = strings.NewReplacer("shard="+s, "shard=c", "-"+s+"\n", "-c\n").Replace(string(text))
	}
	if diff := cmp.Diff(texts["a"], texts["b"]); diff != "" {
		t.Errorf("%v, made the same (-a +b):\n%s", slices.Sorted(maps.Keys(texts)), diff)
	}
}
