package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"

	"wechattoken.io/operator/internal/wechat/wechattest"
)

const usage = `fake-wechat is the WeChat API in one process: POST /cgi-bin/stable_token,
GET /cgi-bin/token, GET /cgi-bin/ticket/getticket, GET /cgi-bin/get_api_domain_ip and
GET /cgi-bin/getcallbackip, with WeChat's rotation, overlap, quotas and errors. The page /fake/ explains how to
add accounts and to make calls fail.

A token's life of 40 seconds, the last 10 of them with the next token at hand:

  printf %s 0123456789abcdef0123456789abcdef > secret
  fake-wechat --life 40s --window 10s --overlap 10s --account wx0123456789abcdef=secret
  curl -d '{"grant_type":"client_credential","appid":"wx0123456789abcdef","secret":"0123456789abcdef0123456789abcdef"}' \
    http://127.0.0.1:8090/cgi-bin/stable_token

The first line on stdout is "listening on http://ADDRESS", or https:// with a certificate;
calls are logged on stderr. A manager in a pod speaks to WeChat over TLS alone.
Where a flag is not given, WeChat's own value holds. A limit of 0 is none.

Flags:
`

// options are the program's settings, with all files read.
type options struct {
	listen   string
	tls      []tls.Certificate // none for plain HTTP
	config   wechattest.Config
	accounts map[string]string // appid to secret
	quiet    bool

	stdout, stderr io.Writer
}

// parse reads the command line. It writes the help to stdout if asked for it.
func parse(args []string) (options, error) {
	d := wechattest.Defaults()
	o := options{accounts: map[string]string{}, stdout: os.Stdout, stderr: os.Stderr}
	c := &o.config

	fs := flag.NewFlagSet("fake-wechat", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // else a wrong flag is answered with a page of help
	fs.StringVar(&o.listen, "listen", "127.0.0.1:8090", "`address` to listen on; port 0 takes a free one")
	certFile := fs.String("tls-cert-file", "", "`file` with a certificate in PEM, and those that sign it: serve over TLS; needs --tls-key-file")
	keyFile := fs.String("tls-key-file", "", "`file` with the key of that certificate in PEM")
	fs.DurationVar(&c.Life, "life", d.Life, "life of a new token, in whole seconds")
	fs.DurationVar(&c.Window, "window", d.Window, "end of a stable token's life in which a call makes the next one")
	fs.DurationVar(&c.Overlap, "overlap", d.Overlap, "how long a token stays valid after a classic or forced call replaced it")
	fs.DurationVar(&c.ForceSpacing, "force-spacing", d.ForceSpacing, "shortest time between two forced calls that refresh")
	fs.IntVar(&c.ForcedPerDay, "forced-per-day", d.ForcedPerDay, "forced calls of an account that refresh in a day (UTC+8)")
	fs.IntVar(&c.ForceRefusedCode, "force-refused-code", 0, "errcode, such as 45009 or 45011, for a forced call too soon or too often; 0 answers the present token")
	fs.IntVar(&c.ClassicPerDay, "classic-per-day", d.ClassicPerDay, "classic calls of an account in a day (UTC+8)")
	fs.IntVar(&c.StablePerMinute, "stable-per-minute", d.StablePerMinute, "stable calls of an account in a minute")
	fs.IntVar(&c.StablePerDay, "stable-per-day", d.StablePerDay, "stable calls of an account in a day (UTC+8)")
	fs.IntVar(&c.BusinessPerDay, "business-per-day", d.BusinessPerDay, "calls of an account in a day (UTC+8) to get_api_domain_ip, and as many to getcallbackip; WeChat's own limits are undocumented")
	fs.DurationVar(&c.TicketLife, "ticket-life", d.TicketLife, "how long a ticket is given out, in whole seconds, and its expires_in at all times; the next comes at a multiple of it since 1970")
	fs.DurationVar(&c.TicketOverlap, "ticket-overlap", d.TicketOverlap, "how long a ticket works on after the next has replaced it")
	fs.IntVar(&c.TicketsPerDay, "tickets-per-day", d.TicketsPerDay, "calls of an account for tickets in a day (UTC+8); WeChat's own limit is unknown")
	fs.IntVar(&c.TokenLength, "token-length", d.TokenLength, "length of a token, and of a ticket, in bytes")
	fs.DurationVar(&c.Latency, "latency", 0, "time that is added to each answer")
	fs.DurationVar(&c.ClockOffset, "clock-offset", 0, "how far the clock that the answers show, in Date and rid, is ahead")
	fs.BoolVar(&c.OpenAccounts, "open-accounts", false, "accept every appid of the form wx and 16 hex digits; its first secret becomes its secret")
	fs.Func("account", "an account, as `APPID=FILE` with the file that holds its AppSecret; repeatable", o.addAccount)
	fs.Func("allow-ip", "`address` or prefix that may ask for tokens; repeatable; all may if not given", o.allowIP)
	fs.BoolVar(&o.quiet, "quiet", false, "do not log calls")

	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(o.stdout, usage)
		fs.SetOutput(o.stdout)
		fs.PrintDefaults()
	}
	if err != nil {
		return options{}, err
	}
	if *certFile != "" || *keyFile != "" {
		pair, err := tls.LoadX509KeyPair(*certFile, *keyFile)
		if err != nil {
			return options{}, fmt.Errorf("--tls-cert-file and --tls-key-file: %w", err)
		}
		o.tls = []tls.Certificate{pair}
	}
	return o, o.complete(fs.Args())
}

func (o *options) complete(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("unexpected argument %q", rest[0])
	}
	c := &o.config
	// In a Config zero stands for WeChat's value; here it was asked for.
	c.Life, c.TokenLength = noneIfZero(c.Life), noneIfZero(c.TokenLength)
	c.Window, c.Overlap, c.ForceSpacing = noneIfZero(c.Window), noneIfZero(c.Overlap), noneIfZero(c.ForceSpacing)
	c.ForcedPerDay, c.ClassicPerDay = noneIfZero(c.ForcedPerDay), noneIfZero(c.ClassicPerDay)
	c.StablePerMinute, c.StablePerDay = noneIfZero(c.StablePerMinute), noneIfZero(c.StablePerDay)
	c.BusinessPerDay = noneIfZero(c.BusinessPerDay)
	c.TicketLife, c.TicketOverlap, c.TicketsPerDay = noneIfZero(c.TicketLife), noneIfZero(c.TicketOverlap), noneIfZero(c.TicketsPerDay)
	return c.Check()
}

func noneIfZero[T ~int | ~int64](v T) T {
	if v == 0 {
		return -1
	}
	return v
}

func (o *options) addAccount(value string) error {
	appID, file, ok := strings.Cut(value, "=")
	if !ok || appID == "" || file == "" {
		return errors.New("must be APPID=FILE")
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	secret := strings.TrimSpace(string(b))
	if secret == "" {
		return fmt.Errorf("%s holds no AppSecret", file)
	}
	o.accounts[appID] = secret
	return nil
}

func (o *options) allowIP(value string) error {
	prefix, err := netip.ParsePrefix(value)
	if err != nil {
		addr, err := netip.ParseAddr(value)
		if err != nil {
			return errors.New("must be an address such as 192.0.2.7 or a prefix such as 192.0.2.0/24")
		}
		prefix = netip.PrefixFrom(addr, addr.BitLen())
	}
	o.config.AllowIPs = append(o.config.AllowIPs, prefix)
	return nil
}
