package config_test

import (
	"bytes"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

// objects are what kubectl applies of a kustomization. kubectl has the same library.
func objects(t *testing.T, dir string) []unstructured.Unstructured {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	text, err := built.AsYaml()
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, bytes.NewReader(text))
}

// render is what `helm template` prints of a release that is called like the operator
// and has a namespace of that name, with values: pairs of a path and JSON.
func render(pairs ...string) (io.Reader, error) {
	chart, err := loader.Load("chart")
	if err != nil {
		return nil, err
	}
	set := map[string]any{}
	for pair := range slices.Chunk(pairs, 2) {
		if err := strvals.ParseJSON(pair[0]+"="+pair[1], set); err != nil {
			return nil, err
		}
	}
	values, err := util.ToRenderValues(chart, set, common.ReleaseOptions{Name: name, Namespace: name, Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	files, err := engine.Render(chart, values)
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(files, func(file, _ string) bool { return path.Ext(file) != ".yaml" })
	return strings.NewReader(strings.Join(slices.Collect(maps.Values(files)), "\n---\n")), nil
}

// rendered are the objects that [render] renders.
func rendered(t *testing.T, pairs ...string) []unstructured.Unstructured {
	t.Helper()
	text, err := render(pairs...)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, text)
}
