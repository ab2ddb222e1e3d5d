//go:build integration

package testcluster_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"wechattoken.io/operator/internal/testcluster"
)

const securityPage = "../../docs/security.md"

var (
	encryptionConfig = regexp.MustCompile("(?s)```yaml\n(apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n.*?)```\n")
	auditPolicy      = regexp.MustCompile("(?s)```yaml\n(apiVersion: audit.k8s.io/v1\nkind: Policy\n.*?)```\n")
)

// What the page on security says of encryption at rest and of the audit log, done
// as it says: etcd holds Secrets in plain before, those that are there until they
// are written again, and none of them afterwards. The log tells who has read
// them, and not what they hold.
func TestSecretsAreKeptAsThePageSays(t *testing.T) {
	t.Parallel()
	const appSecret, rewrite = "0f1e2d3c4b5a69788796a5b4c3d2e1f0", "kubectl get secrets -A -o json | kubectl replace -f -"
	page, err := os.ReadFile(securityPage)
	if err != nil {
		t.Fatal(err)
	}
	policy := auditPolicy.FindSubmatch(page)
	if policy == nil {
		t.Fatalf("%s has no audit policy", securityPage)
	}
	config := encryptionConfig.FindSubmatch(page)
	if config == nil || !bytes.Contains(config[1], []byte("BASE64-OF-32-RANDOM-BYTES")) {
		t.Fatalf("%s has no EncryptionConfiguration with a place for the key", securityPage)
	}
	if !bytes.Contains(page, []byte("\n"+rewrite)) {
		t.Fatalf("%s does not say `%s`", securityPage, rewrite)
	}
	key := make([]byte, 32)
	rand.Read(key)
	dir := t.TempDir()
	file, policyFile, log := filepath.Join(dir, "encryption.yaml"), filepath.Join(dir, "audit.yaml"), filepath.Join(dir, "audit.log")
	if err := os.WriteFile(policyFile, policy[1], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.ReplaceAll(config[1], []byte("BASE64-OF-32-RANDOM-BYTES"), []byte(base64.StdEncoding.EncodeToString(key))), 0o600); err != nil {
		t.Fatal(err)
	}

	plane, err := testcluster.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := plane.Stop(); err != nil {
			t.Error(err)
		}
	}()
	secrets := kubernetes.NewForConfigOrDie(plane.Config).CoreV1().Secrets("default")
	create := func(name string) {
		t.Helper()
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, StringData: map[string]string{"appsecret": appSecret}}
		if _, err := secrets.Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when, name string, plain bool) {
		t.Helper()
		held := inEtcd(t, plane.EtcdURL, "/registry/secrets/default/"+name)
		if got := bytes.Contains(held, []byte(appSecret)); got != plain {
			t.Errorf("%s: %s is plain in etcd: %t, want %t", when, name, got, plain)
		}
		if encrypted := bytes.HasPrefix(held, []byte("k8s:enc:")); encrypted == plain {
			t.Errorf("%s: %s is encrypted in etcd: %t, want %t", when, name, encrypted, !plain)
		}
		s, err := secrets.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil || string(s.Data["appsecret"]) != appSecret {
			t.Errorf("%s: %s cannot be read as it was: %v", when, name, err)
		}
	}

	create("old")
	check("before", "old", true)
	if err := plane.KillAPIServer(); err != nil {
		t.Fatal(err)
	}
	plane.SetAPIServerFlag("encryption-provider-config", file)
	plane.SetAPIServerFlag("audit-policy-file", policyFile)
	plane.SetAPIServerFlag("audit-log-path", log)
	if err := plane.StartAPIServer(); err != nil {
		t.Fatal(err)
	}
	create("new")
	check("after the restart", "new", false)
	check("after the restart", "old", true)

	sh := exec.CommandContext(t.Context(), "sh", "-c", rewrite)
	sh.Env = slices.Concat(plane.Kubectl().Env, []string{"PATH=" + filepath.Dir(plane.Kubectl().Path) + ":" + os.Getenv("PATH")})
	if said, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", rewrite, err, said)
	}
	check("after all were written again", "old", false)

	reader, err := plane.User("curious", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kubernetes.NewForConfigOrDie(reader).CoreV1().Secrets("default").Get(t.Context(), "new", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	told, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`"verb":"get","user":\{"username":"curious".*"name":"new"`).Match(told) {
		t.Error("the audit log does not tell who has read a Secret")
	}
	for _, secret := range [][]byte{[]byte(appSecret), []byte(base64.StdEncoding.EncodeToString([]byte(appSecret)))} {
		if bytes.Contains(told, secret) {
			t.Error("the audit log has an AppSecret in it")
		}
	}
}

// inEtcd is what etcd holds under a key.
func inEtcd(t *testing.T, url, key string) []byte {
	t.Helper()
	ask, err := json.Marshal(map[string][]byte{"key": []byte(key)})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(url+"/v3/kv/range", "application/json", strings.NewReader(string(ask)))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		KVs []struct {
			Value []byte `json:"value"`
		} `json:"kvs"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.KVs) != 1 {
		t.Fatalf("etcd does not hold one %s: %v %s", key, err, body)
	}
	return answer.KVs[0].Value
}
