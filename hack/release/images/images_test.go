// Package images tests that the images of a release and its chart come into the registry
// and are signed, and that no other one passes for them: `make release-test` runs it with
// a release in $DIST of the version $VERSION. The registry is in this process.
package images

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/crane"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

var dist, version = os.Getenv("DIST"), os.Getenv("VERSION")

// release is a registry to push to, and a maintainer and a stranger with a key each.
type release struct {
	t        *testing.T
	dir      string
	registry string
	cosign   string
}

func newRelease(t *testing.T) *release {
	t.Helper()
	silent := log.New(io.Discard, "", 0)
	registry := registry.New(registry.Logger(silent))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, ok := r.BasicAuth(); !ok || password != "pass" {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		registry.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = silent
	server.StartTLS()
	t.Cleanup(server.Close)
	r := &release{t: t, dir: t.TempDir(), registry: server.Listener.Addr().String()}
	r.write("authorities", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})))
	t.Setenv("SSL_CERT_FILE", filepath.Join(r.dir, "authorities"))
	// As the workflow has it.
	t.Setenv("DOCKER_CONFIG", r.dir)
	t.Setenv("REGISTRY_AUTH_FILE", filepath.Join(r.dir, "config.json"))
	r.must("skopeo", "login", "--username=user", "--password=pass", r.registry)
	for name, kind := range map[string]string{"maintainer": "ecdsa", "stranger": "ecdsa", "ed25519": "ed25519"} {
		key := filepath.Join(r.dir, name)
		r.must("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", key)
		if kind == "ecdsa" {
			r.write(name+".pem", r.must("ssh-keygen", "-e", "-m", "PKCS8", "-f", key+".pub"))
		}
	}
	r.write("allowed_signers", "# who signs\nwechat-token-operator namespaces=\"file\" "+r.read("maintainer.pub")+
		"wechat-token-operator namespaces=\"file\" "+r.read("ed25519.pub"))
	return r
}

func (r *release) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

func (r *release) read(name string) string {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.dir, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(text)
}

// must runs what cannot fail here.
func (r *release) must(name string, args ...string) string {
	r.t.Helper()
	out, err := exec.CommandContext(r.t.Context(), name, args...).Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		r.t.Fatalf("%s %v: %v: %s", name, args, err, exit.Stderr)
	}
	return string(out)
}

// push pushes and signs the images in a folder, with a key, to a repository.
func (r *release) push(folder, key, repository string) (string, error) {
	cmd := exec.CommandContext(r.t.Context(), "../push.sh", folder)
	cmd.Env = append(os.Environ(), "IMAGE_REPOSITORY="+repository, "SIGNING_KEY="+key, "ALLOWED_SIGNERS="+filepath.Join(r.dir, "allowed_signers"))
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// kinds are what docs/releasing.md tells to verify.
var kinds = map[string][]string{
	"signature":  {"verify"},
	"provenance": {"verify-attestation", "--type=slsaprovenance1"},
	"SBOM":       {"verify-attestation", "--type=cyclonedx"},
}

// verify does what a user does, and returns what cosign writes, or says.
func (r *release) verify(kind, key, image string) (string, error) {
	cmd := exec.CommandContext(r.t.Context(), r.cosign, append(slices.Clone(kinds[kind]), "--key="+filepath.Join(r.dir, key), "--insecure-ignore-tlog=true", image)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stderr.String(), err
	}
	return stdout.String(), nil
}

// digest is that of the release's image in a repository.
func (r *release) digest(repository string) string {
	r.t.Helper()
	digest, err := crane.Digest(repository + ":" + version)
	check(r.t, err)
	return digest
}

// tag is where cosign keeps what belongs to a digest: sig or att.
func tag(digest, what string) string {
	return strings.Replace(digest, ":", "-", 1) + "." + what
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// statement is what cosign writes of an attestation.
func statement[T any](t *testing.T, out string) (predicate T, digest string) {
	t.Helper()
	var envelope struct{ Payload []byte }
	check(t, json.Unmarshal([]byte(out), &envelope))
	var s struct {
		Subject   []struct{ Digest map[string]string }
		Predicate T
	}
	check(t, json.Unmarshal(envelope.Payload, &s))
	if len(s.Subject) != 1 {
		t.Fatalf("it has the subjects %v, want one", s.Subject)
	}
	return s.Predicate, "sha256:" + s.Subject[0].Digest["sha256"]
}

// testSigned verifies an image as users do, and that it is told where it comes from,
// and what it holds if the SBOM is a file of the release.
func (r *release) testSigned(t *testing.T, image, file string) {
	out := map[string]string{}
	for kind := range kinds {
		if kind == "SBOM" && file == "" {
			continue
		}
		var err error
		if out[kind], err = r.verify(kind, "maintainer.pem", image); err != nil {
			t.Fatalf("the %s does not verify: %v: %s", kind, err, out[kind])
		}
	}
	digest, err := crane.Digest(image)
	check(t, err)
	provenance, subject := statement[struct {
		BuildDefinition struct {
			BuildType            string
			ExternalParameters   map[string]string
			ResolvedDependencies []struct{ Digest map[string]string }
		}
		RunDetails struct{ Builder struct{ ID string } }
	}](t, out["provenance"])
	build := provenance.BuildDefinition
	if subject != digest || build.BuildType == "" || provenance.RunDetails.Builder.ID == "" || build.ExternalParameters["version"] != version {
		t.Errorf("the provenance of %s is %s: %+v", digest, subject, provenance)
	}
	if head := strings.TrimSpace(r.must("git", "rev-parse", "HEAD")); build.ResolvedDependencies[0].Digest["gitCommit"] != head {
		t.Errorf("the provenance tells of %+v, want the commit %s", build.ResolvedDependencies, head)
	}
	if file == "" {
		return
	}
	type document struct{ SerialNumber string }
	sbom, subject := statement[document](t, out["SBOM"])
	var want document
	text, err := os.ReadFile(filepath.Join(dist, file+".cdx.json"))
	check(t, err)
	check(t, json.Unmarshal(text, &want))
	if subject != digest || sbom != want || want.SerialNumber == "" {
		t.Errorf("the SBOM of %s is %s: %+v, want %+v", digest, subject, sbom, want)
	}
}

// testChart pulls the chart as users do, and verifies it.
func (r *release) testChart(t *testing.T) {
	number, folder := strings.TrimPrefix(version, "v"), t.TempDir()
	r.must("go", "tool", "-modfile=../../helm/go.mod", "helm", "pull", "oci://"+r.registry+"/somebody/charts/wechat-token-operator", "--version="+number, "--destination="+folder)
	file := "wechat-token-operator-" + number + ".tgz"
	want, err := os.ReadFile(filepath.Join(dist, file))
	check(t, err)
	got, err := os.ReadFile(filepath.Join(folder, file))
	check(t, err)
	if !bytes.Equal(got, want) {
		t.Errorf("helm pulls %d bytes which are not the %d of %s", len(got), len(want), file)
	}
	chart := r.registry + "/somebody/charts/wechat-token-operator:" + number
	r.testSigned(t, chart, "")
	for _, kind := range []string{"signature", "provenance"} {
		if out, err := r.verify(kind, "stranger.pem", chart); err == nil || !strings.Contains(out, "no matching") {
			t.Errorf("the %s of the chart verifies with the key of a stranger, or fails for another reason: %v: %s", kind, err, out)
		}
	}
}

func TestImagesAreSignedAndNoOthers(t *testing.T) {
	r := newRelease(t)
	repository := r.registry + "/somebody/wechat-token-operator"
	if out, err := r.push(dist, filepath.Join(r.dir, "maintainer"), repository); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r.cosign = strings.TrimSpace(r.must("env", "CGO_ENABLED=0", "go", "tool", "-n", "cosign"))
	other := r.registry + "/somebody/fake-wechat"
	for image, file := range map[string]string{
		repository + ":" + version: "wechat-token-operator_image",
		other + ":" + version:      "fake-wechat_image",

		r.registry + "/somebody/wechat-token-server:" + version: "wechat-token-server_image",
	} {
		t.Run("signed "+file, func(t *testing.T) { r.testSigned(t, image, file) })
	}
	t.Run("chart", r.testChart)

	digest := r.digest(repository)
	signature, attestations := tag(digest, "sig"), tag(digest, "att")
	otherDigest := r.digest(other)
	all := []string{"signature", "provenance", "SBOM"}
	for name, attack := range map[string]struct {
		reason string
		key    string
		change func(t *testing.T, repository string)
		broken []string
	}{
		"nothing": {
			reason: "a copy verifies in any repository: what fails below fails for the attack",
		},
		"another key": {
			reason: "only the key that is asked for counts",
			key:    "stranger.pem",
			broken: all,
		},
		"no signature": {
			reason: "an image that nobody signed does not verify",
			change: func(t *testing.T, repository string) {
				for _, tag := range []string{signature, attestations} {
					check(t, crane.Delete(repository+":"+tag))
				}
			},
			broken: all,
		},
		"changed manifest": {
			reason: "a signature is of the bytes of a manifest, wherever it is put",
			change: func(t *testing.T, repository string) {
				image, err := name.ParseReference(repository + ":" + version)
				check(t, err)
				index, err := remote.Index(image, remote.WithAuthFromKeychain(authn.DefaultKeychain))
				check(t, err)
				changed := mutate.Annotations(index, map[string]string{"changed": "yes"}).(v1.ImageIndex)
				check(t, remote.WriteIndex(image, changed, remote.WithAuthFromKeychain(authn.DefaultKeychain)))
				digest := r.digest(repository)
				check(t, crane.Copy(repository+":"+signature, repository+":"+tag(digest, "sig")))
				check(t, crane.Copy(repository+":"+attestations, repository+":"+tag(digest, "att")))
			},
			broken: all,
		},
		"signature of another image": {
			reason: "the maintainer's signature of one image is none of another",
			change: func(t *testing.T, repository string) {
				check(t, crane.Copy(other+":"+tag(otherDigest, "sig"), repository+":"+signature))
			},
			broken: []string{"signature"},
		},
		"attestations of another image": {
			reason: "where one image comes from and what it holds says nothing of another",
			change: func(t *testing.T, repository string) {
				check(t, crane.Copy(other+":"+tag(otherDigest, "att"), repository+":"+attestations))
			},
			broken: []string{"provenance", "SBOM"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Log(attack.reason)
			copied := r.registry + "/attacked/" + strings.ReplaceAll(name, " ", "-")
			for _, tag := range []string{version, signature, attestations} {
				check(t, crane.Copy(repository+":"+tag, copied+":"+tag))
			}
			if attack.change != nil {
				attack.change(t, copied)
			}
			key := "maintainer.pem"
			if attack.key != "" {
				key = attack.key
			}
			broken := map[string]bool{}
			for _, kind := range attack.broken {
				broken[kind] = true
			}
			for kind := range kinds {
				out, err := r.verify(kind, key, copied+":"+version)
				if broken[kind] && (err == nil || !strings.Contains(out, "no matching") && !strings.Contains(out, "no signatures found")) {
					t.Errorf("the %s verifies, or fails for another reason: %v: %s", kind, err, out)
				} else if !broken[kind] && err != nil {
					t.Errorf("the %s does not verify: %v: %s", kind, err, out)
				}
			}
		})
	}
}

// What could not be verified later gets no tag.
func TestNoTagWithoutASignature(t *testing.T) {
	r := newRelease(t)
	changed := filepath.Join(r.dir, "changed")
	check(t, os.Mkdir(changed, 0o700))
	entries, err := os.ReadDir(dist)
	check(t, err)
	for _, e := range entries {
		check(t, os.Symlink(filepath.Join(dist, e.Name()), filepath.Join(changed, e.Name())))
	}
	check(t, os.Remove(filepath.Join(changed, "fake-wechat_image.cdx.json")))
	r.write("changed/fake-wechat_image.cdx.json", "{}")
	for name, tt := range map[string]struct {
		reason, folder, key, says string
	}{
		"none":     {"a release without a key fails", dist, "", "docs/releasing.md says how to make a key"},
		"stranger": {"users know only the keys of the signers", dist, "stranger", "nobody could verify this signature"},
		"ed25519":  {"cosign cannot read it, though a signer has it", dist, "ed25519", "ssh-keygen -t ecdsa"},
		"public":   {"a public half signs nothing", dist, "maintainer.pub", "no private half"},
		"changed":  {"what is signed is what make release made", changed, "maintainer", "not a release as it was made"},
	} {
		t.Run(name, func(t *testing.T) {
			key := tt.key
			if key != "" {
				key = filepath.Join(r.dir, key)
			}
			repository := r.registry + "/" + name + "/wechat-token-operator"
			if out, err := r.push(tt.folder, key, repository); err == nil || !strings.Contains(out, tt.says) {
				t.Errorf("%s: %v: %s", tt.reason, err, out)
			}
			if tags, err := crane.ListTags(repository); err == nil {
				t.Errorf("%s, and there are %v", tt.reason, tags)
			}
		})
	}
}

// A job that may ask GitHub for its identity, and does not get it, tags nothing either.
func TestNoTagWithoutTheSignatureOfTheWorkflow(t *testing.T) {
	r := newRelease(t)
	for name, value := range map[string]string{
		"ACTIONS_ID_TOKEN_REQUEST_URL":   "https://" + r.registry + "/token?", // it refuses
		"ACTIONS_ID_TOKEN_REQUEST_TOKEN": "x",
		"GITHUB_SERVER_URL":              "https://github.com",
		"GITHUB_WORKFLOW_REF":            "somebody/wechat-token-operator/.github/workflows/release.yaml@refs/tags/" + version,
	} {
		t.Setenv(name, value)
	}
	repository := r.registry + "/somebody/wechat-token-operator"
	if out, err := r.push(dist, filepath.Join(r.dir, "maintainer"), repository); err == nil || !strings.Contains(out, "ID token") {
		t.Errorf("it should have asked for the identity of the workflow, and failed: %v: %s", err, out)
	}
	tags, err := crane.ListTags(repository)
	check(t, err)
	if slices.Contains(tags, version) {
		t.Errorf("there are %v", tags)
	}
}
