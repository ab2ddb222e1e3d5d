package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// script stands for every program: it writes down how it was called, and answers as
// kubectl would in a cluster in which all goes well.
const script = `#!/bin/sh
echo "$(basename "$0") $*" >>"$WORLD/calls"
case "$(basename "$0") $*" in
*"config current-context") echo current ;;
*" nodes") cat "$WORLD/nodes" ;;
*" customresourcedefinition wechattokens.wechattoken.io") cat "$WORLD/crd" ;;
*" namespace wechat-trial") cat "$WORLD/namespace" ;;
*"kustomize config/trial") echo "image: wechat-token-operator-trial:dev" ;;
*" apply --filename=-") cat >"$WORLD/applied" ;;
*" pods --selector="*) echo '{"items":[{"status":{"phase":"Running"}}]}' ;;
*" wechattokens shop") echo '{"status":{"conditions":[{"type":"Ready","status":"True","reason":"TokenValid"}]}}' ;;
*" --output=name") cat "$WORLD/others" ;;
*" deployment/consumer") printf 'one\ntwo\nthree\n' ;;
esac
`

// world is a folder with the stand-ins for all programs, which are the only ones in PATH
// besides those of the shell.
func world(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, file := range []string{"calls", "nodes", "crd", "namespace", "others", "applied"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(files[file]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{"kubectl", "kind", "k3d", "minikube", "docker", "go"} {
		if err := os.WriteFile(filepath.Join(dir, program), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	t.Setenv("WORLD", dir)
	return dir
}

func nodeList(t *testing.T, nodes ...corev1.Node) string {
	t.Helper()
	text, err := json.Marshal(corev1.NodeList{Items: nodes})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// calls are what was called but to look, without the name of a folder that is new each time.
func calls(t *testing.T, dir string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		words := strings.Fields(line)
		if strings.HasPrefix(line, "kubectl ") && (words[1] == "config" || words[2] == "get" || words[2] == "kustomize" || strings.Contains(line, " get ")) {
			continue
		}
		for i, word := range words {
			if strings.HasSuffix(word, "/image.tar") {
				words[i] = "image.tar"
			}
		}
		all = append(all, strings.Join(words, " "))
	}
	return all
}

const (
	build    = "go run -C hack ./image -o image.tar -name docker.io/library/wechat-token-operator-trial:dev all"
	ofATrial = `{"metadata":{"labels":{"app.kubernetes.io/part-of":"wechat-trial"}}}`
	ofOthers = `{"metadata":{"name":"any"}}`
)

// Only where the nodes say that the cluster is one of this machine, or the user says which
// it is, anything is done.
func TestUpLoadsTheImageAndApplies(t *testing.T) {
	remote := node("ip-10-0-0-7", "aws:///eu-1a/i-07", "containerd://2.1.3", "x", nil)
	kind := node("kind-control-plane", "kind://docker/kind/kind-control-plane", "containerd://2.1.3", "x", nil)
	apply := func(context string) []string {
		return []string{"kubectl --context=" + context + " apply --filename=-", "kubectl --context=" + context + " --namespace=wechat-trial logs --tail=3 deployment/consumer"}
	}
	cases := map[string]struct {
		reason         string
		node           corev1.Node
		context, image string
		files          map[string]string
		want           []string
		applied        string // the image
		err            string
	}{
		"Kind": {
			reason: "The archive goes into the cluster of kind.", node: kind,
			want: append([]string{build, "kind load image-archive --name kind image.tar"}, apply("current")...), applied: builtImage,
		},
		"K3d": {
			reason: "The archive goes into the cluster of k3d.", node: node("k3d-dev-server-0", "k3s://k3d-dev-server-0", "containerd://2.0.5-k3s1", "x", nil),
			want: append([]string{build, "k3d image import --cluster dev image.tar"}, apply("current")...), applied: builtImage,
		},
		"Minikube": {
			reason: "The archive goes into the profile of minikube.", node: node("minikube", "", "docker://28.4.0", "x", map[string]string{"minikube.k8s.io/name": "minikube"}),
			want: append([]string{build, "minikube image load --profile minikube image.tar"}, apply("current")...), applied: builtImage,
		},
		"DockerDesktop": {
			reason: "The archive goes into docker.", node: node("docker-desktop", "", "docker://28.4.0", "x", nil),
			want: append([]string{build, "docker load --input image.tar"}, apply("current")...), applied: builtImage,
		},
		"Again": {
			reason: "A trial may be applied over a trial.", node: kind, files: map[string]string{"crd": ofATrial, "namespace": ofATrial},
			want: append([]string{build, "kind load image-archive --name kind image.tar"}, apply("current")...), applied: builtImage,
		},
		"ImageOfTheUser": {
			reason: "Nothing is built where the nodes can pull one.", node: kind, image: "registry.example.com/all:v1",
			want: apply("current"), applied: "registry.example.com/all:v1",
		},
		"Named": {
			reason: "A cluster that was named is used.", node: remote, context: "staging", image: "registry.example.com/all:v1",
			want: apply("staging"), applied: "registry.example.com/all:v1",
		},
		"Remote":            {reason: "Nothing is done to a real cluster by mistake.", node: remote, image: "registry.example.com/all:v1", err: "run this again with CONTEXT=current"},
		"NamedWithoutImage": {reason: "Its nodes could not get it.", node: remote, context: "staging", err: "Push one"},
		"Installed":         {reason: "An install keeps its CRD.", node: kind, files: map[string]string{"crd": ofOthers}, err: "use another cluster"},
		"NamespaceOfOthers": {reason: "Its objects would be mixed with ours, and go with them.", node: kind, files: map[string]string{"namespace": ofOthers}, err: "use another cluster"},
		"InstalledAndNamed": {reason: "To name a cluster is not to give up its install.", node: remote, context: "staging", image: "x:v1", files: map[string]string{"crd": ofOthers}, err: "use another cluster"},
		"NothingShowsWhose": {reason: "A cluster without nodes may be anybody's.", node: corev1.Node{}, err: "CONTEXT=current"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"nodes": nodeList(t, tc.node)}
			maps.Copy(files, tc.files)
			dir := world(t, files)
			var out bytes.Buffer
			try := trial{context: tc.context, image: tc.image, kubectlCommand: []string{"kubectl"}, out: &out}
			err := try.do(t.Context(), []string{"up"})
			if got := errorText(err); (tc.err == "") != (err == nil) || !strings.Contains(got, tc.err) {
				t.Errorf("%s\ngot the error %q, want %q", tc.reason, got, tc.err)
			}
			if diff := cmp.Diff(tc.want, calls(t, dir)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
			applied, err := os.ReadFile(filepath.Join(dir, "applied"))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimPrefix(strings.TrimSpace(string(applied)), "image: "); got != tc.applied {
				t.Errorf("the image applied is %q, want %q", got, tc.applied)
			}
			if tc.err == "" && !strings.Contains(out.String(), "one\ntwo\nthree\n") {
				t.Errorf("it does not show what the consumer prints:\n%s", out.String())
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What others made stays, and what would go with the CRD.
func TestDownRemovesOnlyATrial(t *testing.T) {
	const (
		deleteNamespace = "kubectl --context=current delete namespace wechat-trial --timeout=3m"
		deleteCRD       = "kubectl --context=current delete customresourcedefinition wechattokens.wechattoken.io"
	)
	cases := map[string]struct {
		reason string
		files  map[string]string
		want   []string
		err    string
	}{
		"All":               {reason: "A trial goes as a whole.", files: map[string]string{"crd": ofATrial, "namespace": ofATrial}, want: []string{deleteNamespace, deleteCRD}},
		"Nothing":           {reason: "Twice is as good as once."},
		"Interrupted":       {reason: "What is left of it goes.", files: map[string]string{"crd": ofATrial}, want: []string{deleteCRD}},
		"OthersUseTheCRD":   {reason: "Their WeChatTokens would go with it.", files: map[string]string{"crd": ofATrial, "namespace": ofATrial, "others": "wechattoken.wechattoken.io/shop\n"}, want: []string{deleteNamespace}},
		"CRDOfOthers":       {reason: "An install keeps its CRD.", files: map[string]string{"crd": ofOthers, "namespace": ofATrial}, want: []string{deleteNamespace}},
		"NamespaceOfOthers": {reason: "A name is no proof.", files: map[string]string{"crd": ofATrial, "namespace": ofOthers}, err: "not of a trial"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{"nodes": nodeList(t, node("kind-control-plane", "kind://docker/kind/kind-control-plane", "containerd://2.1.3", "x", nil))}
			maps.Copy(files, tc.files)
			dir := world(t, files)
			try := trial{kubectlCommand: []string{"kubectl"}, out: &bytes.Buffer{}}
			err := try.do(t.Context(), []string{"down"})
			if got := errorText(err); (tc.err == "") != (err == nil) || !strings.Contains(got, tc.err) {
				t.Errorf("%s\ngot the error %q, want %q", tc.reason, got, tc.err)
			}
			if diff := cmp.Diff(tc.want, calls(t, dir)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// A real cluster is not emptied by mistake either.
func TestDownAsksForTheContext(t *testing.T) {
	dir := world(t, map[string]string{"nodes": nodeList(t, node("ip-10-0-0-7", "", "containerd://2.1.3", "x", nil)), "crd": ofATrial, "namespace": ofATrial})
	try := trial{kubectlCommand: []string{"kubectl"}, out: &bytes.Buffer{}}
	if err := try.do(t.Context(), []string{"down"}); !strings.Contains(errorText(err), "CONTEXT=current") {
		t.Errorf("got %v, want an error that asks for CONTEXT", err)
	}
	if got := calls(t, dir); len(got) > 0 {
		t.Errorf("it did %q", got)
	}
}
