//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	certutil "k8s.io/client-go/util/cert"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/hack/e2e/report"
)

const (
	serverName = "wechat-token-server"

	// Ports of the nodes, see token-server and fake-wechat.yaml.
	serverPort = ":30081"
	weChatPort = ":30080"

	takerNamespace = "shop-web"

	// refreshes that those without the AppSecret go through.
	refreshes = 10
)

// withoutAppSecret are those who have the shop's token and neither its AppSecret nor its
// Secret: a pod in another namespace, and a program outside of the network of pods.
type withoutAppSecret struct {
	*diary
	outside *outsider
}

// serveOthers starts them.
func (c *cluster) serveOthers(t *testing.T) *withoutAppSecret {
	t.Helper()
	certificate, key, err := certutil.GenerateSelfSignedCertKey(c.nodeAddress(t), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "wechat-token-server-tls"},
		Type:       corev1.SecretTypeTLS,
		Data:       map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key},
	}
	if err := c.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	c.mustKubectl(t, "apply", "-k", "token-server")

	taker := &v1alpha1.WeChatToken{
		ObjectMeta: metav1.ObjectMeta{Name: "shop"},
		Spec: v1alpha1.WeChatTokenSpec{
			SourceRef:   v1alpha1.SourceReference{Namespace: shopNamespace, Name: "shop"},
			Secret:      &v1alpha1.TokenSecret{Name: "shop-token"},
			Propagation: v1alpha1.PropagationTouch,
		},
	}
	c.create(t, takerNamespace, taker, c.calling(sample[appsv1.Deployment](t, "consumer-file.yaml"), "--token-file=/etc/wechat/access_token"))
	w := &withoutAppSecret{diary: c.follow(t, takerNamespace)}
	c.isReady(t, takerNamespace, "shop")
	c.available(t, takerNamespace, "shop-file")

	c.available(t, operatorNamespace, serverName)
	c.mustKubectl(t, "apply", "--namespace="+shopNamespace, "-f", "../../config/samples/token-server/access.yaml")
	credential := c.mustKubectl(t, "create", "token", "shop-php", "--namespace="+shopNamespace, "--audience=wechattoken.io", "--duration=2h")
	w.outside = c.startOutside(t, certificate, credential)
	return w
}

// outsider is the client that the docs show, on this machine. It calls WeChat four times a
// second.
type outsider struct {
	mu      sync.Mutex
	calls   int
	failed  []string // answers that are not what was asked for
	ended   chan struct{}
	outcome error
}

func (c *cluster) startOutside(t *testing.T, certificate []byte, credential string) *outsider {
	t.Helper()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	program := filepath.Join(dir, "client")
	if out, err := exec.Command("go", "build", "-C", "../../config", "-o", program, "./samples/token-server/client.go").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(),
		"TOKEN_SERVER=https://"+c.nodeAddress(t)+serverPort, "WECHAT_URL=https://"+c.nodeAddress(t)+weChatPort,
		"WECHATTOKEN="+shopNamespace+"/shop", "NO_PROXY=*",
		"CREDENTIAL_FILE="+file("credential", credential), "CA_FILE="+file("ca.crt", string(certificate)),
		"SSL_CERT_FILE="+file("wechat.crt", c.weChatCertificate)) // which the program trusts as it does the authorities of the machine
	var said strings.Builder
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &outsider{ended: make(chan struct{})}
	go func() {
		defer close(o.ended)
		for answers := bufio.NewScanner(out); ; time.Sleep(250 * time.Millisecond) {
			if _, err := io.WriteString(in, "\n"); err != nil || !answers.Scan() {
				break
			}
			o.note(answers.Text())
		}
		o.outcome = fmt.Errorf("%w: %s", cmd.Wait(), said.String())
	}()
	t.Cleanup(func() { <-o.ended }) // its context is over by then
	eventually(t, "the client outside calls WeChat", func() error {
		select {
		case <-o.ended:
			t.Fatalf("the client outside has ended: %v", o.outcome)
		default:
		}
		if calls, failed := o.soFar(); calls == 0 || len(failed) > 0 {
			return fmt.Errorf("%d calls, %q", calls, failed)
		}
		return nil
	})
	return o
}

func (o *outsider) note(answer string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.calls++; !strings.Contains(answer, "ip_list") {
		o.failed = append(o.failed, answer)
	}
}

func (o *outsider) soFar() (calls int, failed []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.calls, o.failed
}

// allIsKilled ends all pods of the operator and of the token server at once, without a
// goodbye.
func (s *shop) allIsKilled(t *testing.T) {
	before := s.fingerprint(t, shopNamespace, "shop")
	s.mustKubectl(t, "delete", "pod", "--namespace="+operatorNamespace, "--all", "--grace-period=0", "--force")
	s.available(t, operatorNamespace, operatorName)
	s.available(t, operatorNamespace, serverName)
	s.nextToken(t, shopNamespace, "shop", before)
}

// othersSawNoInvalidToken waits until there were enough refreshes, and looks what those
// without the AppSecret have to say.
func (s *shop) othersSawNoInvalidToken(t *testing.T) {
	for last := ""; len(s.tokens()) <= refreshes; {
		last = s.nextToken(t, shopNamespace, "shop", last)
	}
	tokens := s.tokens()
	eventually(t, "the last token in "+takerNamespace, func() error {
		if s.others.saw("shop-file", tokens[len(tokens)-1]).IsZero() {
			return fmt.Errorf("its pod has not seen %s", tokens[len(tokens)-1])
		}
		return nil
	})
	for _, event := range []report.Event{report.Dead, report.Failed} {
		for _, l := range s.others.of("shop-file", event) {
			t.Errorf("the pod in %s at %s, with the token %s: %s %s", takerNamespace, l.At, l.Fingerprint, l.Event, l.Detail)
		}
	}
	select {
	case <-s.others.outside.ended:
		t.Errorf("the client outside has ended: %v", s.others.outside.outcome)
	default:
	}
	calls, failed := s.others.outside.soFar()
	for _, answer := range failed {
		t.Errorf("the client outside got %s", answer)
	}
	counts := s.stats(t, s.appID())
	if counts.InvalidTokens != 0 {
		t.Errorf("WeChat has counted %d calls with an invalid token", counts.InvalidTokens)
	}
	t.Logf("%d tokens, %d calls of the client outside, %d of all, %d with an invalid token", len(tokens), calls, counts.Business.OK, counts.InvalidTokens)
}
