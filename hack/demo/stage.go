package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/client-go/kubernetes"

	"wechattoken.io/operator/internal/testcluster"
)

// demo is the story, one method for each part.
type demo struct {
	*world

	consumer *consumer
	wrong    []string // what was not as it should be
}

// checkf notes whether something is as it should be, and says so.
func (d *demo) checkf(ok bool, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	d.verdict(ok, what)
	if !ok {
		d.wrong = append(d.wrong, what)
	}
}

// counts are the calls for a token that WeChat has had so far, and those of them
// that made a new one.
func (d *demo) counts() (calls, rotations int) {
	c, err := d.stats()
	if err != nil {
		d.wrong = append(d.wrong, "WeChat cannot be asked: "+err.Error())
	}
	return c.Stable.Calls + c.Classic.Calls, c.Stable.Rotations + c.Classic.Rotations
}

func (d *demo) setUp(ctx context.Context) error {
	if err := testcluster.FindPrograms(d.bin, "manager", "fake-wechat"); err != nil {
		return err
	}
	d.heading("A cluster, a WeChat and the operator")
	done := d.wait("etcd and kube-apiserver start")
	err := d.startControlPlane()
	done()
	if err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err := d.startWeChat(); err != nil {
		return err
	}
	d.command(fmt.Sprintf("fake-wechat --open-accounts --life=%s --window=%s --overlap=%s >%s &", life, window, overlap, d.log("fake-wechat")))
	d.sayf("A token is valid for %s here instead of 2 hours, and WeChat hands out the next one in\nits last %s instead of 5 minutes. %s/fake/ explains itself.", life, window, d.weChatURL)
	err = d.startManager(ctx)
	d.command(fmt.Sprintf("manager %s >%s &", strings.Join(d.managerFlags(), " "), d.log("manager")))
	return err
}

func (d *demo) apply(ctx context.Context) error {
	d.heading("You apply an AppSecret and a WeChatToken; there is a token")
	for _, line := range []string{
		"cat hack/demo/shop.yaml",
		"kubectl apply -f hack/demo/shop.yaml",
		"kubectl wait --for=condition=Ready --timeout=60s wxt/shop",
		"kubectl get wxt -o wide",
		`kubectl get secret shop-token -o go-template='{{range $key, $value := .data}}{{$key}}: {{len (base64decode $value)}} bytes{{"\n"}}{{end}}'`,
		"kubectl get secret shop-token -o jsonpath='{.data.access_token}' | base64 -d | sha256sum | cut -c1-16",
		`kubectl get wxt shop -o jsonpath='{.status.tokenFingerprint}{"\n"}'`,
	} {
		if err := d.show(ctx, line); err != nil {
			return err
		}
	}
	d.sayf("The token itself is shown nowhere; its fingerprint tells one from another.")
	calls, _ := d.counts()
	d.checkf(calls == 1, "WeChat was asked %s", times(calls))
	return nil
}

// perLine is how many seconds of the consumer stand in one line.
const perLine = 60

func (d *demo) watchItRotate(ctx context.Context) error {
	d.heading("A consumer reads the Secret each second and calls WeChat; the token rotates twice")
	d.sayf(`Each character is a second: a letter is a new token in the Secret, "." the same
token once more, "X" a call that WeChat refused because the token was invalid.`)
	clients, err := kubernetes.NewForConfig(d.plane.Config)
	if err != nil {
		return err
	}
	d.consumer = &consumer{clients: clients, secret: "shop-token", url: d.weChatURL}
	seconds := make(chan string, 1)
	d.consumer.draw(func(mark string) {
		select {
		case seconds <- mark:
		case <-ctx.Done():
		}
	})
	d.consumer.start(context.WithoutCancel(ctx))
	// Two rotations take two lifetimes at most; a slow machine may take longer.
	giveUp := time.After(4 * life)
	for drawn, after := 0, 3; after > 0; drawn++ {
		select {
		case mark := <-seconds:
			if drawn > 0 && drawn%perLine == 0 {
				d.print("\n")
			}
			d.print(mark)
			if d.consumer.seen().tokens >= 3 { // and a few more, to see that it works
				after--
			}
		case <-giveUp:
			after = 0
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	d.consumer.draw(nil)
	d.print("\n")
	seen := d.consumer.seen()
	d.checkf(seen.tokens == 3, "%d tokens, one after the other, with nobody doing anything", seen.tokens)
	d.checkf(seen.dead == 0, "%d of %d calls were made with an invalid token", seen.dead, seen.calls)
	calls, rotations := d.counts()
	d.checkf(rotations == 3, "WeChat made %d tokens and was asked %s", rotations, times(calls))
	return d.show(ctx, "kubectl get wxt")
}

func (d *demo) forceRefresh(ctx context.Context) error {
	d.heading("You want a new token now")
	_, before := d.counts()
	if err := d.show(ctx, "kubectl annotate wxt shop wechattoken.io/refresh-requested-at=leaked"); err != nil {
		return err
	}
	if err := d.show(ctx, "kubectl wait --for=jsonpath='{.status.lastHandledRefreshAt}'=leaked --timeout=60s wxt/shop"); err != nil {
		return err
	}
	_, after := d.counts()
	d.checkf(after == before+1, "WeChat made %d new token, and the Secret holds it", after-before)
	return nil
}

func (d *demo) loseSecret(ctx context.Context) error {
	d.heading("Somebody deletes the Secret")
	before, _ := d.shell(ctx, uid)
	for _, line := range []string{
		"kubectl delete secret shop-token",
		"kubectl wait --for=create --timeout=60s secret/shop-token",
		"kubectl get secret shop-token",
	} {
		if err := d.show(ctx, line); err != nil {
			return err
		}
	}
	after, err := d.shell(ctx, uid)
	d.checkf(err == nil && before != after, "it is back")
	return nil
}

// uid tells a Secret from its successor.
const uid = "kubectl get secret shop-token -o jsonpath='{.metadata.uid}'"

func (d *demo) breakAppSecret(ctx context.Context) error {
	d.heading("Somebody puts a wrong AppSecret in place")
	patch := func(secret string) string {
		return fmt.Sprintf(`kubectl patch secret shop-app -p '{"stringData":{"appsecret":%q}}'`, secret)
	}
	reason := `kubectl wait --for=jsonpath='{.status.conditions[?(@.type=="Ready")].reason}'=%s --timeout=60s wxt/shop`
	for _, line := range []string{
		patch("fedcba9876543210fedcba9876543210"),
		fmt.Sprintf(reason, "AppSecretInvalid"),
		`kubectl get wxt shop -o jsonpath='{.status.conditions[?(@.type=="Ready")].message}{"\n"}'`,
	} {
		if err := d.show(ctx, line); err != nil {
			return err
		}
	}
	d.sayf("The condition says what to do. You do it:")
	if err := d.show(ctx, patch("0123456789abcdef0123456789abcdef")); err != nil {
		return err
	}
	err := d.show(ctx, fmt.Sprintf(reason, "TokenValid"))
	d.checkf(err == nil, "all is well again, with no restart")
	return err
}

func (d *demo) killManager(ctx context.Context) error {
	d.heading("The operator crashes")
	// The proof needs a token that is not about to be replaced anyway.
	if err := d.awaitFreshToken(ctx, life/2); err != nil {
		return err
	}
	before, _ := d.counts()
	d.command(fmt.Sprintf("kill -9 %d", d.manager.PID()))
	d.manager.Kill()
	d.command(fmt.Sprintf("manager %s >>%s &", strings.Join(d.managerFlags(), " "), d.log("manager")))
	if err := d.startManager(ctx); err != nil {
		return err
	}
	// It has something to do when it is told to: so it is at work.
	if err := d.show(ctx, "kubectl label secret shop-token app.kubernetes.io/managed-by-"); err != nil {
		return err
	}
	if err := d.show(ctx, "kubectl wait --for=jsonpath='{.metadata.labels.app\\.kubernetes\\.io/managed-by}'=wechat-token-operator --timeout=60s secret/shop-token"); err != nil {
		return err
	}
	d.sayf("It is at work: it has put back the label that was taken off the Secret.")
	after, _ := d.counts()
	d.checkf(after == before, "the restart cost %s to WeChat: what it must know stands on the Secret", plural(after-before, "call"))
	return nil
}

// awaitFreshToken waits until the token is not due for that long.
func (d *demo) awaitFreshToken(ctx context.Context, left time.Duration) error {
	fresh := func() (bool, error) {
		out, err := d.shell(ctx, "kubectl get wxt shop -o jsonpath='{.status.nextRefreshTime}'")
		if err != nil {
			return false, errors.New(out)
		}
		due, err := time.Parse(time.RFC3339, out)
		return time.Until(due) > left, err
	}
	ok, err := fresh()
	if ok || err != nil {
		return err
	}
	done := d.wait("First the next rotation, so that it does not come in between")
	defer done()
	return d.until(ctx, "there is a fresh token", fresh)
}

// sumUp shows the totals, and what was wrong.
func (d *demo) sumUp(ctx context.Context) error {
	d.heading("In all")
	// The consumer shall have read what the Secret holds in the end.
	last := d.consumer.seen().calls
	if err := d.until(ctx, "the consumer has read the Secret", func() (bool, error) { return d.consumer.seen().calls >= last+2, nil }); err != nil {
		return err
	}
	d.consumer.stop()
	seen := d.consumer.seen()
	d.sayf("The consumer, from its first second to its last:")
	for line := range slices.Chunk([]byte(seen.marks), perLine) {
		d.sayf("%s", line)
	}
	d.sayf("")
	c, err := d.stats()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(writer(d.print), 0, 0, 3, ' ', 0)
	for _, row := range []struct {
		what  string
		count int
	}{
		{"calls to WeChat for a token", c.Stable.Calls},
		{"  of these forced", c.Forced},
		{"  refused, for the wrong AppSecret", refused(c.Stable.Errcodes)},
		{"tokens that WeChat made", c.Stable.Rotations},
		{"tokens that the consumer found", seen.tokens},
		{"calls of the consumer", seen.calls},
		{"  with an invalid token", seen.dead},
	} {
		fmt.Fprintf(table, "%s\t%d\n", row.what, row.count)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	d.checkf(seen.dead == 0 && c.InvalidTokens == 0, "no call was ever made with an invalid token")
	d.checkf(seen.tokens == c.Stable.Rotations, "every token that WeChat made reached the consumer")
	if len(d.wrong) > 0 {
		return fmt.Errorf("not as it should be: %s", strings.Join(d.wrong, "; "))
	}
	return nil
}

func refused(errcodes map[int]int) (sum int) {
	for _, n := range errcodes {
		sum += n
	}
	return sum
}

// leave lets everybody go on until Ctrl-C.
func (d *demo) leave(ctx context.Context) {
	d.heading("It is yours, until Ctrl-C")
	kubectl := d.plane.Kubectl().Path
	d.sayf("export KUBECONFIG=%s\nalias kubectl=%s\nWeChat: %s/fake/\nLogs:   %s", d.plane.Kubeconfig, kubectl, d.weChatURL, d.dir)
	<-ctx.Done()
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// writer is a func as an io.Writer.
type writer func(string)

func (w writer) Write(p []byte) (int, error) {
	w(string(p))
	return len(p), nil
}
