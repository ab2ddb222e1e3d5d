package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// checkEnvironment refuses what Go would pass over in silence: a proxy, so that the
// AppSecret would go straight out, what is not behind it, or authorities. It names
// variables, and never says what they hold: that may be a password.
func checkEnvironment() error { return errors.Join(checkProxies(), checkAuthorities()) }

func checkProxies() error {
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"} {
		if value := os.Getenv(name); value != "" && !isProxy(value) {
			return fmt.Errorf("%s is no proxy: it must be like http://user:password@proxy.example.com:3128; what is neither a letter nor a digit in the password must be escaped, as %%25 for %%", name)
		}
	}
	for _, name := range []string{"ALL_PROXY", "all_proxy"} {
		if os.Getenv(name) != "" && os.Getenv("HTTPS_PROXY") == "" && os.Getenv("https_proxy") == "" {
			return fmt.Errorf("%s is not read by this program: set HTTPS_PROXY, or unset both", name)
		}
	}
	for _, name := range []string{"NO_PROXY", "no_proxy"} {
		for i, entry := range strings.Split(os.Getenv(name), ",") {
			if !isHostOrNetwork(strings.TrimSpace(entry)) {
				return fmt.Errorf("entry %d of %s is no host, address or network: it must be like example.com, .example.com, 192.0.2.1 or 192.0.2.0/24, with commas between", i+1, name)
			}
		}
	}
	return nil
}

func checkAuthorities() error {
	if file := os.Getenv("SSL_CERT_FILE"); file != "" {
		content, err := os.ReadFile(file) //nolint:gosec // who sets the environment may choose the file
		if err != nil {
			return fmt.Errorf("SSL_CERT_FILE names no file that can be read: %w", withoutPath(err))
		}
		if !x509.NewCertPool().AppendCertsFromPEM(content) {
			return errors.New("SSL_CERT_FILE names a file without a certificate in PEM")
		}
	}
	if dirs := os.Getenv("SSL_CERT_DIR"); dirs != "" && !slices.ContainsFunc(strings.Split(dirs, ":"), isReadable) {
		return errors.New("SSL_CERT_DIR names no directory that can be read")
	}
	return nil
}

// isProxy reports whether net/http would use a proxy, and this one: where it cannot
// read a URL it tries again with http:// before it, and finds a host called "http".
func isProxy(value string) bool {
	weChat := &url.URL{Scheme: "https", Host: "api.weixin.qq.com"}
	u, err := (&httpproxy.Config{HTTPSProxy: value}).ProxyFunc()(weChat)
	return err == nil && u != nil && u.Hostname() != "" && (u.Path == "" || u.Path == "/") && u.RawQuery == "" && u.Fragment == "" &&
		slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme)
}

// isHostOrNetwork reports whether net/http would find something in an entry of
// NO_PROXY. An empty one is none.
func isHostOrNetwork(entry string) bool {
	if strings.Contains(entry, "/") {
		_, _, err := net.ParseCIDR(entry)
		return err == nil
	}
	if host, _, err := net.SplitHostPort(entry); err == nil && host == "" {
		return false
	}
	return entry == "*" || !strings.ContainsAny(strings.TrimPrefix(entry, "*."), "* \t\r\n;|")
}

func isReadable(dir string) bool {
	_, err := os.ReadDir(dir)
	return err == nil
}

// withoutPath is the reason of an error of package os.
func withoutPath(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}
