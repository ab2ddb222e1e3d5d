//go:build release

package main

// What a release has to be, looked at from outside: `make release-test` makes one,
// and runs these tests with its folder as $DIST and its version as $VERSION.

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"debug/macho"
	"debug/pe"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"wechattoken.io/operator/internal/testcluster"
)

var version, repository = os.Getenv("VERSION"), os.Getenv("IMAGE_REPOSITORY")

// dist reads a file of the release.
func dist(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(os.Getenv("DIST"), name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// platforms are those of each archive of a program, and the package it is of.
var platforms = map[string]struct {
	pkg       string
	platforms []string
}{
	"wechat-token-operator": {"cmd/manager", []string{"linux/amd64", "linux/arm64"}},
	"wechat-token-server":   {"cmd/token-server", []string{"linux/amd64", "linux/arm64"}},
	"fake-wechat":           {"cmd/fake-wechat", []string{"linux/amd64", "linux/arm64"}},
	"kubectl-wechattoken":   {"cmd/kubectl-wechattoken", []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}},
}

// archive is the name of a program's archive, and of the program in it.
func archive(name, platform string) (file, program string) {
	file, program = name+"_"+strings.ReplaceAll(platform, "/", "_")+".tar.gz", path.Base(platforms[name].pkg)
	if strings.HasPrefix(platform, "windows/") {
		program += ".exe"
	}
	return file, program
}

// unpacked is a file of an archive.
type unpacked struct {
	mode os.FileMode
	at   time.Time
	data []byte
}

// unpack reads a tar.gz.
func unpack(data []byte) (map[string]unpacked, error) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return untar(z)
}

func untar(r io.Reader) (map[string]unpacked, error) {
	files := map[string]unpacked{}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(t)
		if err != nil {
			return nil, err
		}
		files[h.Name] = unpacked{h.FileInfo().Mode(), h.ModTime, data}
	}
}

func program(t *testing.T, name, platform string) []byte {
	t.Helper()
	file, program := archive(name, platform)
	files, err := unpack(dist(t, file))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return files[program].data
}

func TestReleaseHoldsWhatItShould(t *testing.T) {
	want := []string{
		"SHA256SUMS", "install.yaml", "token-server.yaml", "wechattoken.yaml",
		"fake-wechat_image.tar", "wechat-token-operator_image.tar", "wechat-token-server_image.tar",
		"fake-wechat_image.cdx.json", "wechat-token-operator_image.cdx.json", "wechat-token-server_image.cdx.json", "wechat-token-operator.cdx.json",
		"wechat-token-operator-" + strings.TrimPrefix(version, "v") + ".tgz",
	}
	for name, p := range platforms {
		for _, platform := range p.platforms {
			file, _ := archive(name, platform)
			want = append(want, file)
		}
	}
	slices.Sort(want)
	entries, err := os.ReadDir(os.Getenv("DIST"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}

	// sha256sum -c, and nothing is left out.
	sums := map[string]string{}
	for line := range strings.Lines(string(dist(t, "SHA256SUMS"))) {
		sum, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		if !ok {
			t.Fatalf("SHA256SUMS has the line %q", line)
		}
		sums[name] = sum
	}
	for _, name := range got {
		if name == "SHA256SUMS" {
			continue
		}
		if is := fmt.Sprintf("%x", sha256.Sum256(dist(t, name))); sums[name] != is {
			t.Errorf("%s is %s, and SHA256SUMS says %q", name, is, sums[name])
		}
		delete(sums, name)
	}
	if len(sums) > 0 {
		t.Errorf("SHA256SUMS tells of what is not there: %v", slices.Collect(maps.Keys(sums)))
	}
}

// Each archive holds its program, for its platform, as all can run it, and the
// licence.
func TestProgramsAreOfTheirPlatform(t *testing.T) {
	licence, err := os.ReadFile(filepath.Join("..", "..", "LICENSE"))
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range platforms {
		for _, platform := range p.platforms {
			t.Run(name+" "+platform, func(t *testing.T) {
				file, program := archive(name, platform)
				files, err := unpack(dist(t, file))
				if err != nil {
					t.Fatal(err)
				}
				if len(files) != 2 || !bytes.Equal(files["LICENSE"].data, licence) {
					t.Errorf("it holds %v, want %s and LICENSE", slices.Sorted(maps.Keys(files)), program)
				}
				if got, want := files[program].mode, os.FileMode(0o755); got != want {
					t.Errorf("the mode is %s, want %s", got, want)
				}
				if at := files[program].at; !at.Equal(files["LICENSE"].at) || time.Since(at) < 0 {
					t.Errorf("the program is of %s, and not of the commit's time", at)
				}
				data := files[program].data
				if got := platformOf(data); got != platform {
					t.Errorf("%s is for %s", program, got)
				}
				info, err := buildinfo.Read(bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				if want := "wechattoken.io/operator/" + p.pkg; info.Path != want {
					t.Errorf("the program is %s, want %s", info.Path, want)
				}
				if folder := filepath.Dir(os.Getenv("DIST")); bytes.Contains(data, []byte(folder)) {
					t.Errorf("the program tells that it was built in %s", folder)
				}
			})
		}
	}
}

// platformOf reads from a program's own header what runs it.
func platformOf(program []byte) string {
	r := bytes.NewReader(program)
	if f, err := elf.NewFile(r); err == nil {
		return "linux/" + map[elf.Machine]string{elf.EM_X86_64: "amd64", elf.EM_AARCH64: "arm64"}[f.Machine]
	}
	if f, err := macho.NewFile(r); err == nil {
		return "darwin/" + map[macho.Cpu]string{macho.CpuAmd64: "amd64", macho.CpuArm64: "arm64"}[f.Cpu]
	}
	if f, err := pe.NewFile(r); err == nil {
		return "windows/" + map[uint16]string{pe.IMAGE_FILE_MACHINE_AMD64: "amd64", pe.IMAGE_FILE_MACHINE_ARM64: "arm64"}[f.Machine]
	}
	return "nothing that is known"
}

func TestManagerTellsTheVersion(t *testing.T) {
	file := filepath.Join(t.TempDir(), "manager")
	if err := os.WriteFile(file, program(t, "wechat-token-operator", "linux/"+runtime.GOARCH), 0o755); err != nil {
		t.Fatal(err)
	}
	said, err := exec.Command(file, "--version").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	head, err := exec.Command("git", "rev-parse", "HEAD").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{version, strings.TrimSpace(string(head))} {
		if !strings.Contains(string(said), want) {
			t.Errorf("manager --version says %q, and nothing of %s", said, want)
		}
	}
}

// layout reads an image: its files by their names, each as its digest says.
func layout(t *testing.T, archive string) map[string]unpacked {
	t.Helper()
	files, err := untar(bytes.NewReader(dist(t, archive)))
	if err != nil {
		t.Fatalf("%s: %v", archive, err)
	}
	for name, f := range files {
		if sum, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && sum != "" && sum != fmt.Sprintf("%x", sha256.Sum256(f.data)) {
			t.Errorf("%s: %s is damaged", archive, name)
		}
	}
	return files
}

func decode[T any](t *testing.T, data []byte) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v: %s", err, data)
	}
	return v
}

// Under the name that install.yaml asks for is an image for each platform, with
// the program of the archive.
func TestImagesHoldTheProgramsOfTheArchives(t *testing.T) {
	type reference struct {
		Digest      string
		Platform    struct{ OS, Architecture string }
		Annotations map[string]string
	}
	type index struct{ Manifests []reference }
	for name, image := range map[string]string{
		"wechat-token-operator": repository + ":" + version,
		"wechat-token-server":   path.Dir(repository) + "/wechat-token-server:" + version,
		"fake-wechat":           path.Dir(repository) + "/fake-wechat:" + version,
	} {
		t.Run(name, func(t *testing.T) {
			files := layout(t, name+"_image.tar")
			blob := func(digest string) []byte {
				return files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")].data
			}
			entry := decode[index](t, files["index.json"].data)
			if len(entry.Manifests) != 1 || entry.Manifests[0].Annotations["io.containerd.image.name"] != image {
				t.Fatalf("the archive holds %+v, want one image with the name %s", entry.Manifests, image)
			}
			var got []string
			for _, m := range decode[index](t, blob(entry.Manifests[0].Digest)).Manifests {
				platform := m.Platform.OS + "/" + m.Platform.Architecture
				got = append(got, platform)
				manifest := decode[struct {
					Config reference
					Layers []reference
				}](t, blob(m.Digest))
				config := decode[struct {
					OS, Architecture string
					Created          time.Time
					Config           struct {
						User       string
						Entrypoint []string
						Labels     map[string]string
					}
					RootFS struct {
						DiffIDs []string `json:"diff_ids"`
					}
				}](t, blob(manifest.Config.Digest))
				if is := config.OS + "/" + config.Architecture; is != platform {
					t.Errorf("the image for %s is for %s", platform, is)
				}
				if config.Created.Year() < 2026 {
					t.Errorf("the image is of %s, and not of the commit's time", config.Created)
				}
				if got := config.Config.Labels["org.opencontainers.image.version"]; got != version {
					t.Errorf("the image says it is version %q", got)
				}
				_, program := archive(name, platform)
				if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/" + program}) {
					t.Errorf("the image runs %v as %s", config.Config.Entrypoint, config.Config.User)
				}
				z, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0].Digest)))
				if err != nil {
					t.Fatal(err)
				}
				layer, err := io.ReadAll(z)
				if err != nil {
					t.Fatal(err)
				}
				if is := fmt.Sprintf("sha256:%x", sha256.Sum256(layer)); len(manifest.Layers) != 1 || !slices.Equal(config.RootFS.DiffIDs, []string{is}) {
					t.Errorf("the configuration names the layers %v, and there is %s", config.RootFS.DiffIDs, is)
				}
				content, err := untar(bytes.NewReader(layer))
				if err != nil {
					t.Fatal(err)
				}
				file, _ := archive(name, platform)
				inArchive, err := unpack(dist(t, file))
				if err != nil {
					t.Fatal(err)
				}
				if data := content[program].data; len(data) == 0 || !bytes.Equal(data, inArchive[program].data) {
					t.Errorf("for %s, the image and %s hold two different %s", platform, file, program)
				}
			}
			if want := platforms[name].platforms; !slices.Equal(got, want) {
				t.Errorf("there are images for %v, want %v", got, want)
			}
		})
	}
}

// Each list of what is in programs names every module that Go takes for them, in the
// version of go.mod and with a licence, and no other; and that of an image its programs
// alone.
func TestSBOMsAreWhole(t *testing.T) {
	for file, names := range map[string][]string{
		"wechat-token-operator.cdx.json":       slices.Collect(maps.Keys(platforms)),
		"wechat-token-operator_image.cdx.json": {"wechat-token-operator"},
		"wechat-token-server_image.cdx.json":   {"wechat-token-server"},
		"fake-wechat_image.cdx.json":           {"fake-wechat"},
	} {
		t.Run(file, func(t *testing.T) { testSBOM(t, dist(t, file), names) })
	}
}

func testSBOM(t *testing.T, data []byte, names []string) {
	t.Helper()
	type component struct {
		Ref                 string `json:"bom-ref"`
		Type, Name, Version string
		PURL                string
		Hashes              []struct{ Alg, Content string }
		Licenses            []struct{ License struct{ ID string } }
	}
	sbom := decode[struct {
		BOMFormat, SerialNumber string
		Metadata                struct {
			Timestamp time.Time
			Component component
		}
		Components   []component
		Dependencies []struct {
			Ref       string
			DependsOn []string
		}
	}](t, data)
	if sbom.BOMFormat != "CycloneDX" || !strings.HasPrefix(sbom.SerialNumber, "urn:uuid:") || sbom.Metadata.Timestamp.IsZero() {
		t.Errorf("this is no CycloneDX document: %+v", sbom)
	}
	byRef := map[string]component{}
	for _, c := range sbom.Components {
		if _, twice := byRef[c.Ref]; twice || !strings.HasPrefix(c.Ref, c.PURL) || !strings.HasPrefix(c.PURL, "pkg:golang/") {
			t.Errorf("%q is no reference to %s, or there twice", c.Ref, c.PURL)
		}
		if len(c.Licenses) == 0 || c.Licenses[0].License.ID == "" {
			t.Errorf("%s has no licence", c.Ref)
		}
		byRef[c.Ref] = c
	}
	programs, modules := map[string]string{}, map[string][]string{} // by checksum, and by program
	used := map[string]bool{}
	for _, d := range sbom.Dependencies {
		for _, ref := range d.DependsOn {
			to, ok := byRef[ref]
			switch {
			case !ok:
				t.Errorf("%s needs %s, which is not there", d.Ref, ref)
			case d.Ref == sbom.Metadata.Component.Ref:
				programs[to.Hashes[0].Content] = ref
			default:
				modules[d.Ref] = append(modules[d.Ref], to.Name+" "+to.Version)
				if to.PURL != "pkg:golang/"+to.Name+"@"+to.Version {
					t.Errorf("%s has the package URL %s", to.Name, to.PURL)
				}
			}
			used[ref] = true
		}
	}
	for ref := range byRef {
		if !used[ref] {
			t.Errorf("nothing has %s", ref)
		}
	}
	for _, name := range names {
		p := platforms[name]
		for _, platform := range p.platforms {
			list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{with .Replace}}{{.Path}} {{.Version}}{{else}}{{.Path}} {{.Version}}{{end}}{{end}}{{end}}", "./"+p.pkg)
			list.Dir = filepath.Join("..", "..")
			os, arch, _ := strings.Cut(platform, "/")
			list.Env = append(list.Environ(), "CGO_ENABLED=0", "GOOS="+os, "GOARCH="+arch)
			said, err := list.Output()
			if err != nil {
				t.Fatal(err)
			}
			want := strings.FieldsFunc(string(said), func(r rune) bool { return r == '\n' }) // the fake has no modules of others
			want = append(want, "std "+runtime.Version())
			slices.Sort(want)
			want = slices.Compact(want)
			sum := fmt.Sprintf("%x", sha256.Sum256(program(t, name, platform)))
			id := programs[sum]
			delete(programs, sum)
			got := slices.Sorted(slices.Values(modules[id]))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s for %s, modules (-go list +SBOM):\n%s", name, platform, diff)
			}
		}
	}
	if len(programs) > 0 {
		t.Errorf("it has programs that are not there: %v", programs)
	}
}

// A cluster takes the manifests as they are, and would run the images of the release.
func TestManifestsApply(t *testing.T) {
	plane, err := testcluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	}()
	if out, err := plane.Kubectl("delete", "crd", "wechattokens.wechattoken.io").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out) // the cluster of a user has none yet
	}
	for _, m := range []struct{ file, deployment, image string }{
		{"install.yaml", "wechat-token-operator", repository},
		{"token-server.yaml", "wechat-token-server", path.Dir(repository) + "/wechat-token-server"},
	} {
		if out, err := plane.Kubectl("apply", "-f", filepath.Join(os.Getenv("DIST"), m.file)).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		image, err := plane.Kubectl("get", "deployment", "--namespace=wechat-token-operator", m.deployment, "-o", "jsonpath={.spec.template.spec.containers[*].image}").CombinedOutput()
		if want := m.image + ":" + version; err != nil || string(image) != want {
			t.Errorf("the Deployment %s runs %s (%v), want %s", m.deployment, image, err, want)
		}
	}
}

// Helm takes its version from the chart, and the chart its image from the version.
func TestChartIsOfTheRelease(t *testing.T) {
	number := strings.TrimPrefix(version, "v")
	file := "wechat-token-operator-" + number + ".tgz"
	files, err := unpack(dist(t, file))
	if err != nil {
		t.Fatal(err)
	}
	var chart struct {
		Version, AppVersion, Home, Icon string
		Sources                         []string
		Annotations                     map[string]string
	}
	if err := yaml.Unmarshal(files["wechat-token-operator/Chart.yaml"].data, &chart); err != nil {
		t.Fatal(err)
	}
	if chart.Version != number || chart.AppVersion != version {
		t.Errorf("the chart says %+v, want %s", chart, version)
	}
	home := strings.TrimSuffix(os.Getenv("RELEASE_URL"), "/releases/download/"+version)
	if chart.Home != home || len(chart.Sources) != 1 || chart.Sources[0] != home {
		t.Errorf("the chart is at home at %q, and comes from %q, want %s", chart.Home, chart.Sources, home)
	}
	icon, ok := strings.CutPrefix(chart.Icon, home+"/raw/"+version+"/")
	if _, err := os.Stat(filepath.Join("..", "..", icon)); !ok || err != nil {
		t.Errorf("the chart has the icon %q, which is not in the repository: %v", chart.Icon, err)
	}
	var changes []change
	if err := yaml.UnmarshalStrict([]byte(chart.Annotations["artifacthub.io/changes"]), &changes); err != nil || len(changes) == 0 {
		t.Errorf("a catalogue finds the changes %v: %v", changes, err)
	}
	for _, image := range []string{repository, path.Dir(repository) + "/wechat-token-server"} {
		if !strings.Contains(chart.Annotations["artifacthub.io/images"], "image: "+image+":"+version+"\n") {
			t.Errorf("a catalogue does not find the image %s of the chart: %s", image, chart.Annotations["artifacthub.io/images"])
		}
		if !bytes.Contains(files["wechat-token-operator/README.md"].data, []byte("image.repository` | `\""+image+"\"")) {
			t.Errorf("the chart's README.md does not have the image %s", image)
		}
	}
	var values struct {
		Image       struct{ Repository, Tag string }
		TokenServer struct {
			Image struct{ Repository, Tag string }
		} `json:"tokenServer"`
		PrometheusRule struct {
			RunbookBaseURL string `json:"runbookBaseURL"`
		} `json:"prometheusRule"`
	}
	if err := yaml.Unmarshal(files["wechat-token-operator/values.yaml"].data, &values); err != nil {
		t.Fatal(err)
	}
	if values.Image.Repository != repository || values.Image.Tag != "" {
		t.Errorf("the chart takes the image %+v, want that of %s with the version as its tag", values.Image, repository)
	}
	if got, want := values.TokenServer.Image.Repository, path.Dir(repository)+"/wechat-token-server"; got != want {
		t.Errorf("the chart takes the token server's image from %s, want %s", got, want)
	}
	if got, want := values.PrometheusRule.RunbookBaseURL, home+"/blob/"+version; got != want {
		t.Errorf("the runbooks of the alerts are at %s, want %s", got, want)
	}
}

// krew finds each archive by name and checksum, and in it the program.
func TestKrewManifestFits(t *testing.T) {
	var manifest struct {
		Spec struct {
			Version   string
			Platforms []struct {
				Selector         struct{ MatchLabels struct{ OS, Arch string } }
				URI, SHA256, Bin string
			}
		}
	}
	if err := yaml.Unmarshal(dist(t, "wechattoken.yaml"), &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Spec.Version != version {
		t.Errorf("it is of %s, want %s", manifest.Spec.Version, version)
	}
	var got []string
	for _, p := range manifest.Spec.Platforms {
		platform := p.Selector.MatchLabels.OS + "/" + p.Selector.MatchLabels.Arch
		got = append(got, platform)
		file, program := archive("kubectl-wechattoken", platform)
		if sum := fmt.Sprintf("%x", sha256.Sum256(dist(t, file))); p.URI != os.Getenv("RELEASE_URL")+"/"+file || p.SHA256 != sum || p.Bin != program {
			t.Errorf("%s has %+v, want %s with %s in it", platform, p, file, program)
		}
	}
	if want := platforms["kubectl-wechattoken"].platforms; !slices.Equal(got, want) {
		t.Errorf("it has the platforms %v, want %v", got, want)
	}
}

// What a maintainer signs, a user can verify with what docs/releasing.md says; and
// nothing that was changed, nor signed by anybody else.
func TestSignatureVerifies(t *testing.T) {
	dir := t.TempDir()
	key := func(name string) (private, public string) {
		private = filepath.Join(dir, name)
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-C", "", "-f", private).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		text, err := os.ReadFile(private + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		return private, strings.TrimSpace(string(text))
	}
	maintainer, public := key("maintainer")
	stranger, _ := key("stranger")
	signers := filepath.Join(dir, "allowed_signers")
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("allowed_signers", []byte("wechat-token-operator namespaces=\"file\" "+public+"\n"))
	sums := dist(t, "SHA256SUMS")
	write("SHA256SUMS", sums)
	sign := func(key string) ([]byte, error) {
		cmd := exec.Command("./sign.sh", dir)
		cmd.Env = append(os.Environ(), "SIGNING_KEY="+key, "ALLOWED_SIGNERS="+signers)
		return cmd.CombinedOutput()
	}
	verify := func() error {
		cmd := exec.Command("ssh-keygen", "-Y", "verify", "-n", "file", "-f", signers, "-I", "wechat-token-operator", "-s", filepath.Join(dir, "SHA256SUMS.sig"))
		signed, err := os.Open(filepath.Join(dir, "SHA256SUMS"))
		if err != nil {
			return err
		}
		defer signed.Close()
		cmd.Stdin = signed
		return cmd.Run()
	}

	if out, err := sign(stranger); err == nil || !strings.Contains(string(out), "nobody could verify this signature") {
		t.Errorf("a key that is not among the signers: %v: %s", err, out)
	}
	if err := verify(); err == nil {
		t.Error("there is a signature of a stranger")
	}
	if out, err := sign(maintainer); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := verify(); err != nil {
		t.Errorf("the signature does not verify: %v", err)
	}
	write("SHA256SUMS", bytes.Replace(sums, []byte("0"), []byte("1"), 1))
	if verify() == nil {
		t.Error("the signature verifies though the checksums were changed")
	}
}
