package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"wechattoken.io/operator/internal/logging"
)

// options are the flags.
type options struct {
	weChatURL      string
	plainHTTP      bool
	requestTimeout time.Duration
	stableWindow   time.Duration
	checkInterval  *time.Duration // nil for a fifth of the window
	namespaces     string
	selector       labels.Selector // nil for all
	workers        int
	consumers      bool

	leaderElect          bool
	leaderElectNamespace string

	metricsAddr string
	healthAddr  string
	log         logging.Options

	check   bool
	version bool
}

func (o *options) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.weChatURL, "wechat-url", "https://api.weixin.qq.com",
		"base URL of the WeChat API; HTTPS_PROXY and NO_PROXY are honoured")
	fs.BoolVar(&o.plainHTTP, "allow-plain-http", false,
		"let --wechat-url begin with http:// if its host is a loopback address: for a fake WeChat on this machine")
	fs.DurationVar(&o.requestTimeout, "request-timeout", 10*time.Second,
		"how long a call to WeChat may take as a whole")
	fs.DurationVar(&o.stableWindow, "stable-window", 5*time.Minute,
		"how long before a stable token's end WeChat issues the next one; other than 5m only against a fake WeChat in compressed time")
	fs.Func("check-interval",
		"how often to make sure that a token of mode Stable is still WeChat's current one, where spec.checkInterval does not say: a plain call for each account; 0s for never. A fifth of --stable-window if left out, and so 1m",
		func(value string) error {
			interval, err := time.ParseDuration(value)
			o.checkInterval = &interval
			return err
		})
	fs.StringVar(&o.namespaces, "namespaces", "",
		"namespaces to work in, with commas between; empty for all")
	fs.Func("selector",
		"label selector of the WeChatTokens to work on, as wechattoken.io/shard=a; empty for all. No two installs may select the same one",
		func(value string) (err error) {
			o.selector, err = labels.Parse(value)
			return err
		})
	fs.IntVar(&o.workers, "workers", 32,
		"how many WeChatTokens are worked on at once; calls to WeChat do not count")
	fs.BoolVar(&o.consumers, "consumers", false,
		"look after the workloads that use the Secrets: report them, and touch and restart their pods where a WeChatToken asks for it; needs the roles of config/consumers")
	fs.BoolVar(&o.leaderElect, "leader-elect", true,
		"let one replica of many work; false only where there is one, for WeChat wants one caller")
	fs.StringVar(&o.leaderElectNamespace, "leader-election-namespace", "",
		"namespace of the lease; empty for that of the pod. Needed outside of a cluster")
	fs.StringVar(&o.metricsAddr, "metrics-bind-address", ":8443",
		"address of the metrics, served over TLS to who may get the non-resource URL /metrics; 0 for none")
	fs.StringVar(&o.healthAddr, "health-probe-bind-address", ":8081",
		"address of /healthz and /readyz; 0 for none")
	o.log.Bind(fs)
	fs.BoolVar(&o.check, "check", false,
		"check that the install with these flags works, and do nothing else: read what the operator reads, and wait up to 20s for a leader that renews its lease. Ends with 0 if all is well")
	fs.BoolVar(&o.version, "version", false,
		"print the version and exit")
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), `manager keeps a valid WeChat access_token in the Secret of each WeChatToken.

In a cluster it needs no flags. Outside of one it takes the cluster of $KUBECONFIG
or --kubeconfig, for instance:

  manager --leader-elect=false --metrics-bind-address=0

Flags:
`)
		fs.PrintDefaults()
	}
}

// validate says what of the command line cannot be.
func (o *options) validate(args []string) error {
	switch {
	case len(args) > 0:
		return fmt.Errorf("there are no arguments besides flags, but got %q", args)
	case !isBaseURL(o.weChatURL):
		return errors.New("--wechat-url must be like https://api.weixin.qq.com")
	case !o.isPrivate():
		return errors.New("--wechat-url must begin with https://, for who sees the calls pass sees the AppSecret; a fake WeChat on this machine may be at http://127.0.0.1:8090 with --allow-plain-http")
	case o.requestTimeout <= 0:
		return errors.New("--request-timeout must be more than 0")
	case o.stableWindow <= 0:
		return errors.New("--stable-window must be more than 0")
	case o.checks() < 0:
		return errors.New("--check-interval must be 0s or more")
	case o.namespaces != "" && len(o.watched()) == 0:
		return errors.New("--namespaces names no namespace; leave it out for all")
	case o.workers < 1:
		return errors.New("--workers must be at least 1")
	}
	return o.log.Validate()
}

// isBaseURL reports whether paths can be put behind s. It holds no password: a
// command line is seen by all.
func isBaseURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http") && u.RawQuery == "" && u.User == nil
}

// isPrivate reports whether nobody sees the calls on their way to WeChat. A name of
// this machine is not enough: DNS may say where "localhost" is.
func (o *options) isPrivate() bool {
	u, err := url.Parse(o.weChatURL)
	if err != nil || u.Scheme == "https" {
		return err == nil
	}
	address, err := netip.ParseAddr(u.Hostname())
	return err == nil && address.Unmap().IsLoopback() && o.plainHTTP
}

// checks is how often a token of mode Stable is checked where its spec does not say.
func (o *options) checks() time.Duration {
	if o.checkInterval == nil {
		return o.stableWindow / 5
	}
	return *o.checkInterval
}

// watched is the set of namespaces to work in; empty for all.
func (o *options) watched() []string {
	return strings.FieldsFunc(o.namespaces, func(r rune) bool { return r == ',' || r == ' ' })
}
