package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"wechattoken.io/operator/internal/logging"
)

// options are the flags.
type options struct {
	addr        string
	certFile    string
	keyFile     string
	metricsAddr string
	healthAddr  string
	namespaces  string
	log         logging.Options

	version bool
}

func (o *options) bind(fs *flag.FlagSet) {
	fs.StringVar(&o.addr, "bind-address", ":8443",
		"address to serve tokens at, over TLS")
	fs.StringVar(&o.certFile, "tls-cert-file", "",
		"file with the certificate, and those that signed it behind it, in PEM; read again when it changes. Left out, the server signs one itself, which clients cannot check: only to try it")
	fs.StringVar(&o.keyFile, "tls-private-key-file", "",
		"file with the private key of --tls-cert-file, in PEM")
	fs.StringVar(&o.metricsAddr, "metrics-bind-address", ":9443",
		"address of the metrics, served over TLS to who may get the non-resource URL /metrics; 0 for none")
	fs.StringVar(&o.healthAddr, "health-probe-bind-address", ":8081",
		"address of /healthz and /readyz; 0 for none")
	fs.StringVar(&o.namespaces, "namespaces", "",
		"namespaces whose tokens to serve, with commas between; empty for all")
	o.log.Bind(fs)
	fs.BoolVar(&o.version, "version", false,
		"print the version, and do nothing else")
	fs.Usage = func() {
		fmt.Fprintf(fs.Output(), `token-server hands the tokens of WeChatTokens to servers outside the cluster.

  GET  /v1/namespaces/NAMESPACE/wechattokens/NAME/token            the token
  GET  /v1/namespaces/NAMESPACE/wechattokens/NAME/token?ticket=jsapi  a ticket: jsapi or wx_card
  POST /v1/namespaces/NAMESPACE/wechattokens/NAME/invalid?wait=30s    report an invalid token: {"fingerprint":"..."}

Who asks sends a credential of the cluster as a bearer token, and needs the verb get on
wechattokens/token, or create on wechattokens/invalid. In a cluster it needs no flags but
the certificate. Outside of one it takes the cluster of $KUBECONFIG or --kubeconfig.

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
	case o.addr == "" || o.addr == "0":
		return errors.New("--bind-address must be an address, such as :8443")
	case (o.certFile == "") != (o.keyFile == ""):
		return errors.New("--tls-cert-file and --tls-private-key-file need each other: give both or none")
	case o.namespaces != "" && len(o.served()) == 0:
		return errors.New("--namespaces names no namespace; leave it out for all")
	}
	return o.log.Validate()
}

// served is the set of namespaces; empty for all.
func (o *options) served() []string {
	return strings.FieldsFunc(o.namespaces, func(r rune) bool { return r == ',' || r == ' ' })
}
