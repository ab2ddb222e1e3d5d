package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/internal/testcluster"
	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

// Time in the demo: 180 times faster than at WeChat.
const (
	life    = 40 * time.Second
	window  = 10 * time.Second
	overlap = 10 * time.Second
)

// tell tells the story, one method for each part. What is not as it should be is an
// error of the run.
func tell(d *demo) {
	for _, part := range []func(){d.setUp, d.apply, d.watchItRotate, d.forceRefresh, d.takeIt, d.serveIt, d.loseSecret, d.breakAppSecret, d.killManager, d.sumUp} {
		part()
	}
}

// demo is all that runs.
type demo struct {
	testing.TB

	begun    time.Time
	cluster  *testcluster.Cluster
	weChat   *wechattest.Server
	url      string // of WeChat
	manager  *testcluster.Program
	consumer *consumer
}

// bold is for a terminal; elsewhere a log reads the same without it.
func bold(s string) string {
	info, err := os.Stdout.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 || os.Getenv("NO_COLOR") != "" {
		return s
	}
	return "\x1b[1m" + s + "\x1b[0m"
}

// heading begins a part of the story.
func (d *demo) heading(s string) {
	fmt.Printf("\n%s  (%s)\n", bold("== "+s), time.Since(d.begun).Round(time.Second))
}

// checkf says whether something is as it should be.
func (d *demo) checkf(ok bool, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if !ok {
		d.Errorf("%s", what)
		what = "NOT " + what
	}
	fmt.Println(bold("ok: " + what))
}

// shell runs a line as a person at a terminal would, with kubectl at hand.
func (d *demo) shell(line string) (string, error) {
	cmd := exec.CommandContext(d.Context(), "/bin/sh", "-c", line)
	kubectl := filepath.Dir(d.cluster.Kubectl().Path)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+d.cluster.Kubeconfig, "PATH="+kubectl+":"+os.Getenv("PATH"))
	cmd.Dir, cmd.WaitDelay = "..", time.Second // kubectl goes on when the shell is gone
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// show runs lines and shows them with what they print.
func (d *demo) show(lines ...string) {
	for _, line := range lines {
		fmt.Println(bold("$ " + line))
		out, err := d.shell(line)
		fmt.Print(out)
		if err != nil {
			d.Fatalf("%s: %v", line, err)
		}
	}
}

// asked is what WeChat has counted so far of calls for a token.
func (d *demo) asked() wechattest.EndpointCounts { return d.weChat.Counts("").Stable }

func (d *demo) setUp() {
	d.heading("A cluster, a WeChat and the operator")
	fmt.Println("etcd and kube-apiserver start.")
	var err error
	if d.cluster, err = testcluster.Start(); err != nil {
		d.Fatal(err)
	}
	d.Cleanup(func() { _ = d.cluster.Stop() })
	d.weChat, d.url = testcluster.FakeWeChat(d.TB, wechattest.Config{OpenAccounts: true, Life: life, Window: window, Overlap: overlap})
	fmt.Printf("A token is valid for %s here instead of 2 hours, and WeChat hands out the next one in\nits last %s instead of 5 minutes. %s/fake/ explains itself.\n", life, window, d.url)
	d.startManager()
}

func (d *demo) startManager() {
	flag := "--stable-window=" + window.String()
	fmt.Println(bold("$ manager --wechat-url=" + d.url + " --allow-plain-http " + flag + " &"))
	d.manager = d.cluster.StartManager(d.TB, filepath.Join(bin, "manager"), d.url, flag)
	d.manager.AwaitReady()
}

func (d *demo) apply() {
	d.heading("You apply an AppSecret and a WeChatToken; there is a token")
	d.show(
		"cat hack/demo/shop.yaml",
		"kubectl apply -f hack/demo/shop.yaml",
		"kubectl wait --for=condition=Ready --timeout=60s wxt/shop",
		"kubectl get wxt -o wide",
		`kubectl get secret shop-token -o go-template='{{range $key, $value := .data}}{{$key}}: {{len (base64decode $value)}} bytes{{"\n"}}{{end}}'`,
		"kubectl get secret shop-token -o jsonpath='{.data.access_token}' | base64 -d | sha256sum | cut -c1-16",
		`kubectl get wxt shop -o jsonpath='{.status.tokenFingerprint}{"\n"}'`,
	)
	fmt.Println("The token itself is shown nowhere; its fingerprint tells one from another.")
	d.checkf(d.asked().Calls == 1, "WeChat was asked for a token once")
}

func (d *demo) watchItRotate() {
	d.heading("A consumer reads the Secret each second and calls WeChat; the token rotates twice")
	fmt.Println(`Each character is a second: a letter is a new token in the Secret, "." the same
token once more, "X" a call that WeChat refused because the token was invalid.`)
	cluster, err := client.New(d.cluster.Config, client.Options{})
	if err != nil {
		d.Fatal(err)
	}
	d.consumer = &consumer{cluster: cluster, weChat: wechat.NewClient(d.url, 10*time.Second)}
	go d.consumer.consume(d.Context())
	drawn := 0
	d.eventually("three tokens", func() bool {
		now := d.consumer.now()
		fmt.Print(now.marks[drawn:])
		drawn = len(now.marks)
		return now.tokens >= 3
	})
	fmt.Println()
	d.checkf(d.consumer.now().tokens == 3, "the consumer found 3 tokens, one after the other, with nobody doing anything")
	d.checkf(d.asked().Rotations == 3, "WeChat made 3 tokens")
	d.show("kubectl get wxt")
}

func (d *demo) eventually(what string, holds func() bool) {
	testcluster.Eventually(d.TB, what, func() error {
		if !holds() {
			return errors.New("not yet")
		}
		return nil
	})
}

func (d *demo) forceRefresh() {
	d.heading("You want a new token now")
	d.awaitFreshToken() // or WeChat would make one anyway
	before := d.asked().Rotations
	d.show(
		"kubectl annotate wxt shop wechattoken.io/refresh-requested-at=leaked",
		"kubectl wait --for=jsonpath='{.status.lastHandledRefreshAt}'=leaked --timeout=60s wxt/shop",
	)
	d.checkf(d.asked().Rotations == before+1, "WeChat made one new token, and the Secret holds it")
}

func (d *demo) takeIt() {
	d.heading("A namespace without the AppSecret takes the token")
	d.awaitFreshToken()
	before := d.asked().Calls
	d.show(
		"kubectl create namespace web",
		`kubectl patch wxt shop --type=merge -p '{"spec":{"allowedNamespaces":["web"]}}'`,
		"cat hack/demo/taker.yaml",
		"kubectl apply -f hack/demo/taker.yaml",
		"kubectl wait -n web --for=condition=Ready --timeout=60s wxt/shop",
		"kubectl get wxt -A -o custom-columns=NAMESPACE:.metadata.namespace,NAME:.metadata.name,TOKEN:.status.tokenFingerprint,TAKERS:.status.takers.names",
	)
	out, err := d.shell(`kubectl get secret -A -l app.kubernetes.io/managed-by -o go-template='{{range .items}}{{.data.access_token}}{{"\n"}}{{end}}' | sort | uniq -c | wc -l`)
	d.checkf(err == nil && strings.TrimSpace(out) == "1", "both Secrets hold one token")
	d.checkf(d.asked().Calls == before, "it cost no call to WeChat")
}

// ask asks with the credential of a server, which trusts only the certificate of the token-server.
const ask = `printf 'header = "Authorization: Bearer %s"' "$(cat $DIR/credential)" | curl -sS --config - --cacert $DIR/ca.crt `

func (d *demo) serveIt() {
	d.heading("A server outside the cluster asks for it")
	s := d.cluster.StartTokenServer(d.TB, filepath.Join(bin, "token-server"))
	s.AwaitReady()
	dir := d.TempDir()
	certificate, err := os.ReadFile(s.CAFile)
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, "ca.crt"), certificate, 0o600), os.Setenv("DIR", dir), os.Setenv("URL", s.URL+"/v1/namespaces/default/wechattokens/shop")); err != nil {
		d.Fatal(err)
	}
	fmt.Println("The program token-server runs. Plain RBAC says who may have which token:")
	d.show(
		"kubectl apply -f config/samples/token-server/access.yaml",
		"kubectl create token shop-php --audience=wechattoken.io >$DIR/credential",
	)
	d.eventually("the permission counts", func() bool {
		out, _ := d.shell(ask + "-o /dev/null -w '%{http_code}' $URL/token")
		return out == "200"
	})
	fmt.Println("The server asks as often as it likes, without a call to WeChat. It hides the token here:")
	before := d.asked().Calls
	d.show(ask + `-i $URL/token | grep -iE '^(HTTP|etag|cache-control|\{)' | sed -E 's/("access_token":")[^"]*/\1.../'`)
	out, err := d.shell(ask + `$URL/token | grep -o '"access_token":"[^"]*' | cut -d'"' -f4 | tr -d '\n' | sha256sum | cut -c1-16; kubectl get wxt shop -o jsonpath='{.status.tokenFingerprint}'`)
	halves := strings.Fields(out)
	d.checkf(err == nil && len(halves) == 2 && halves[0] == halves[1], "it has the token of the Secret, and may read no Secret")
	d.checkf(d.asked().Calls == before, "it cost no call to WeChat")
	s.Terminate()
}

func (d *demo) loseSecret() {
	d.heading("Somebody deletes the Secret")
	d.show(
		"kubectl delete secret shop-token",
		"kubectl wait --for=create --timeout=60s secret/shop-token",
		"kubectl get secret shop-token",
	)
	d.checkf(true, "it is back")
}

func (d *demo) breakAppSecret() {
	d.heading("Somebody puts a wrong AppSecret in place")
	const (
		patch  = `kubectl patch secret shop-app -p '{"stringData":{"appsecret":%q}}'`
		reason = `kubectl wait --for=jsonpath='{.status.conditions[?(@.type=="Ready")].reason}'=%s --timeout=60s wxt/shop`
	)
	d.show(
		fmt.Sprintf(patch, "fedcba9876543210fedcba9876543210"),
		fmt.Sprintf(reason, "AppSecretInvalid"),
		`kubectl get wxt shop -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}{"\n"}'`,
	)
	fmt.Println("The condition says what to do. You do it:")
	d.show(fmt.Sprintf(patch, "0123456789abcdef0123456789abcdef"), fmt.Sprintf(reason, "TokenValid"))
	d.checkf(true, "all is well again, with no restart")
}

func (d *demo) killManager() {
	d.heading("The operator crashes")
	d.awaitFreshToken() // the proof needs one that is not about to be replaced anyway
	before := d.asked().Calls
	fmt.Println(bold(fmt.Sprintf("$ kill -9 %d", d.manager.PID())))
	d.manager.Kill()
	d.startManager()
	// It has something to do when it is told to: so it is at work.
	d.show(
		"kubectl label secret shop-token app.kubernetes.io/managed-by-",
		`kubectl wait --for=jsonpath='{.metadata.labels.app\.kubernetes\.io/managed-by}'=wechat-token-operator --timeout=60s secret/shop-token`,
	)
	fmt.Println("It is at work: it has put back the label that was taken off the Secret.")
	d.checkf(d.asked().Calls == before, "the restart cost no call to WeChat, for what it must know stands on the Secret")
}

// awaitFreshToken waits until the token is not due for half a life.
func (d *demo) awaitFreshToken() {
	fmt.Println("First a fresh token, so that no rotation comes in between.")
	d.eventually("there is a fresh token", func() bool {
		out, err := d.shell("kubectl get wxt shop -o jsonpath='{.status.nextRefreshTime}'")
		due, parseErr := time.Parse(time.RFC3339, out)
		return err == nil && parseErr == nil && time.Until(due) > life/2
	})
}

// sumUp shows the totals.
func (d *demo) sumUp() {
	d.heading("In all")
	last := d.consumer.now().calls
	d.eventually("the consumer has read the Secret", func() bool { return d.consumer.now().calls >= last+2 })
	now, all := d.consumer.now(), d.weChat.Counts("")
	fmt.Printf("The consumer, from its first second to its last:\n%s\n\n", now.marks)
	fmt.Printf("WeChat was asked for a token %d times, %d of them by force, and made %d tokens.\n", all.Stable.Calls, all.Forced, all.Stable.Rotations)
	d.checkf(now.invalid == 0 && all.InvalidTokens == 0, "none of the %d calls of the consumer was made with an invalid token", now.calls)
	d.checkf(now.tokens == all.Stable.Rotations, "every token that WeChat made reached the consumer")
}
