package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func TestMain(m *testing.M) {
	if err := os.Chdir(".."); err != nil { // as `go run -C hack ./image`
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func of(program string) description {
	return description{name: "localhost/" + program + ":test", program: program, version: "v1.2.3", revision: "0123456789"}
}

var assembleManager = sync.OnceValues(func() ([]byte, error) { return assemble(context.Background(), of("manager")) })

// managerImage is the image of the manager, as others read it.
func managerImage(t *testing.T) *image {
	t.Helper()
	archive, err := assembleManager()
	if err != nil {
		t.Fatal(err)
	}
	i, err := read(bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func TestImageHoldsOnlyWhatItShould(t *testing.T) {
	i := managerImage(t)
	got := map[string]string{}
	for name, e := range i.Files {
		got[name] = fmt.Sprintf("%s %s %d:%d", e.Type, e.Mode, e.UID, e.GID)
	}
	want := map[string]string{
		"/etc":                               "5 0755 0:0", // a folder: archive/tar.TypeDir
		"/etc/ssl":                           "5 0755 0:0",
		"/etc/ssl/certs":                     "5 0755 0:0",
		"/etc/ssl/certs/ca-certificates.crt": "0 0644 0:0", // a file
		"/manager":                           "0 0755 0:0",
		"/zoneinfo.zip":                      "0 0644 0:0",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types, modes and owners (-want +got):\n%s", diff)
	}
	wantConfig := config{
		User:       "65532:65532",
		Env:        []string{"PATH=" + builderPath, "ZONEINFO=/zoneinfo.zip"},
		Entrypoint: []string{"/manager"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "wechat-token-operator",
			"org.opencontainers.image.description": "Every pod that needs a WeChat access_token always has a valid one",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     "v1.2.3",
			"org.opencontainers.image.revision":    "0123456789",
		},
	}
	if diff := cmp.Diff(wantConfig, i.Config); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestImageIsSmall(t *testing.T) {
	i := managerImage(t)
	t.Log(i.size)
	if i.size.plain >= limit {
		t.Errorf("it has %d bytes, and must have less than %d", i.size.plain, limit)
	}
}

func TestSameSourceGivesTheSameBytes(t *testing.T) {
	var archives [2][]byte
	for n := range archives {
		var err error
		if archives[n], err = assemble(t.Context(), of("fake-wechat")); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("two archives of the same source differ")
	}
}

// The Deployment says as what the image runs, and on which ports it can be met.
func TestDeploymentFitsTheImage(t *testing.T) {
	b, err := os.ReadFile("config/manager/deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d appsv1.Deployment
	if err := yaml.UnmarshalStrict(b, &d); err != nil {
		t.Fatal(err)
	}
	i := managerImage(t)
	pod, container := d.Spec.Template.Spec, d.Spec.Template.Spec.Containers[0]
	if got, want := fmt.Sprintf("%d:%d", *pod.SecurityContext.RunAsUser, *pod.SecurityContext.RunAsGroup), i.Config.User; got != want {
		t.Errorf("the pod runs as %s, the image as %s", got, want)
	}
	if s := container.SecurityContext; !*pod.SecurityContext.RunAsNonRoot || !*s.ReadOnlyRootFilesystem || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) {
		t.Errorf("the container may do more than the image needs: %+v", s)
	}
	if container.Command != nil || container.Args != nil {
		t.Errorf("the Deployment runs %v %v, and not what the image does", container.Command, container.Args)
	}
	// The ports are the defaults of the manager's flags.
	options, err := os.ReadFile("cmd/manager/options.go")
	if err != nil {
		t.Fatal(err)
	}
	var listens, ports []string
	for _, m := range regexp.MustCompile(`bind-address", ":(\d+)"`).FindAllSubmatch(options, -1) {
		listens = append(listens, string(m[1]))
	}
	for _, p := range container.Ports {
		ports = append(ports, fmt.Sprint(p.ContainerPort))
	}
	if diff := cmp.Diff(listens, ports); diff != "" {
		t.Errorf("ports (-the manager listens on +the Deployment names):\n%s", diff)
	}
}

func TestOtherProgramsHaveNoImage(t *testing.T) {
	if _, err := assemble(t.Context(), of("demo")); err == nil || !strings.Contains(err.Error(), "manager and fake-wechat") {
		t.Errorf("got %v, want an error that names the programs", err)
	}
}

func TestDifferencesAreFound(t *testing.T) {
	// made is a small image, after a change.
	made := func(t *testing.T, change func(*[]file, *configFile)) []byte {
		t.Helper()
		files := []file{{"etc/", 0o755, nil}, {"manager", 0o755, []byte("program")}}
		c := configFile{OS: "linux", Architecture: "amd64", Config: config{User: "1:1", Labels: map[string]string{"a": "b"}}}
		change(&files, &c)
		layer, err := pack(files)
		if err != nil {
			t.Fatal(err)
		}
		archive, err := save("localhost/manager:test", layer, c)
		if err != nil {
			t.Fatal(err)
		}
		return archive
	}
	same := func(*[]file, *configFile) {}
	big := func(f *[]file, _ *configFile) { *f = append(*f, file{"big", 0o644, make([]byte, limit)}) }
	cases := map[string]struct {
		reason           string
		assembled, built func(*[]file, *configFile)
		err              string // a part of it
	}{
		"Nothing":  {"The same is the same.", same, same, ""},
		"Builder":  {"Who built it does not matter.", same, func(_ *[]file, c *configFile) { c.Config.Labels["io.buildah.version"] = "1" }, ""},
		"Mode":     {"The mode counts.", same, func(f *[]file, _ *configFile) { (*f)[1].mode = 0o4755 }, "4755"},
		"Bytes":    {"Every byte counts.", same, func(f *[]file, _ *configFile) { (*f)[1].data = []byte("Program") }, "/manager"},
		"More":     {"Nothing is added.", same, func(f *[]file, _ *configFile) { *f = append(*f, file{"bin/sh", 0o755, nil}) }, "/bin/sh"},
		"User":     {"The user counts.", same, func(_ *[]file, c *configFile) { c.Config.User = "" }, "User"},
		"Label":    {"Other labels count.", same, func(_ *[]file, c *configFile) { c.Config.Labels["a"] = "c" }, "Labels"},
		"Volume":   {"So does what is never set here.", same, func(_ *[]file, c *configFile) { c.Config.Volumes = map[string]struct{}{"/data": {}} }, "Volumes"},
		"Platform": {"The platform counts.", same, func(_ *[]file, c *configFile) { c.Architecture = "arm64" }, "arm64"},
		"Whiteout": {"No layer takes something away.", same, func(f *[]file, _ *configFile) { *f = append(*f, file{".wh.manager", 0o644, nil}) }, ".wh.manager"},
		"TooBig":   {"There is a limit, even where both are the same.", big, big, "too big"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			assembled, err := read(bytes.NewReader(made(t, tc.assembled)))
			if err != nil {
				t.Fatal(err)
			}
			err = compare(io.Discard, of("manager"), bytes.NewReader(made(t, tc.built)), assembled)
			if tc.err == "" && err != nil {
				t.Errorf("%s\n%v", tc.reason, err)
			}
			if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("%s\ngot %v, want an error with %q", tc.reason, err, tc.err)
			}
		})
	}
}

// An archive whose layer is not the one that the configuration names was damaged.
func TestDamageIsFound(t *testing.T) {
	archive, err := save("localhost/manager:test", []byte("no layer"), configFile{})
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Replace(archive, []byte("no layer"), []byte("no loyer"), 1)
	if _, err := read(bytes.NewReader(damaged)); err == nil || !strings.Contains(err.Error(), "the configuration says") {
		t.Errorf("got %v, want an error", err)
	}
}
