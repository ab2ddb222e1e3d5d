package main

import (
	"cmp"
	"flag"
	"io"
	"strings"
	"testing"
	"time"
)

// parse reads a command line as main does.
func parse(args []string) error {
	var o options
	fs := flag.NewFlagSet("manager", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	o.bind(fs)
	return cmp.Or(fs.Parse(args), o.validate(fs.Args()))
}

// What cannot be is refused before anything is done, with a sentence that names the
// flag.
func TestBadFlagsAreRefused(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		args   []string
		want   string
	}{
		"Unknown":          {"a misspelt flag must not be passed over", []string{"--wechat-uri=https://example.com"}, "wechat-uri"},
		"Argument":         {"a flag without its dashes must not be passed over", []string{"leader-elect"}, `"leader-elect"`},
		"URLWithoutScheme": {"a host is no URL", []string{"--wechat-url=api.weixin.qq.com"}, "--wechat-url"},
		"URLOtherScheme":   {"WeChat speaks HTTP", []string{"--wechat-url=ftp://api.weixin.qq.com"}, "--wechat-url"},
		"URLWithQuery":     {"paths are put behind it", []string{"--wechat-url=https://api.weixin.qq.com?a=b"}, "--wechat-url"},
		"URLWithUser":      {"a password on a command line is seen by all", []string{"--wechat-url=https://me:pw@api.weixin.qq.com"}, "--wechat-url"},
		"URLPlain":         {"the AppSecret would pass in the clear", []string{"--wechat-url=http://api.weixin.qq.com"}, "https://"},
		"URLPlainAllowed":  {"the flag is for this machine alone", []string{"--wechat-url=http://10.96.0.80", "--allow-plain-http"}, "https://"},
		"URLPlainLoopback": {"nobody asked for it", []string{"--wechat-url=http://127.0.0.1:8090"}, "--allow-plain-http"},
		"URLPlainName":     {"DNS may say that a name is elsewhere", []string{"--wechat-url=http://localhost:8090", "--allow-plain-http"}, "http://127.0.0.1:8090"},
		"URLPlainDecimal":  {"the resolver may take it for an address", []string{"--wechat-url=http://2130706433", "--allow-plain-http"}, "https://"},
		"URLPlainSuffix":   {"it only begins like one", []string{"--wechat-url=http://127.0.0.1.example.com", "--allow-plain-http"}, "https://"},
		"URLEmpty":         {"empty is not the default", []string{"--wechat-url="}, "--wechat-url"},
		"TimeoutZero":      {"no call would succeed", []string{"--request-timeout=0"}, "--request-timeout"},
		"TimeoutNoUnit":    {"10 what?", []string{"--request-timeout=10"}, "-request-timeout"},
		"WindowNegative":   {"tokens would be replaced when they are invalid", []string{"--stable-window=-5m"}, "--stable-window"},
		"ChecksNegative":   {"there is no such pause", []string{"--check-interval=-1s"}, "--check-interval"},
		"ChecksNoUnit":     {"60 what?", []string{"--check-interval=60"}, "-check-interval"},
		"WorkersZero":      {"nobody would work", []string{"--workers=0"}, "--workers"},
		"WorkersWord":      {"not a number", []string{"--workers=many"}, "-workers"},
		"SelectorWord":     {"a set without its values", []string{"--selector=wechattoken.io/shard in"}, "-selector"},
		"SelectorLabel":    {"no object has such a label", []string{"--selector=wechattoken.io/shard=a/b"}, "-selector"},
		"SelectorSpaces":   {"only commas stand between requirements", []string{"--selector=wechattoken.io/shard=a team=web"}, "-selector"},
		"LeaderElect":      {"neither true nor false", []string{"--leader-elect=perhaps"}, "-leader-elect"},
		"LogLevel":         {"no such level", []string{"--log-level=LOUD"}, "-log-level"},
		"LogLevelBelow":    {"libraries log whole requests there, Secrets included", []string{"--log-level=DEBUG-4"}, "--log-level"},
		"LogFormat":        {"no such format", []string{"--log-format=xml"}, "--log-format"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := parse(tc.args)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%s: got %v, want a sentence with %q", tc.reason, err, tc.want)
			}
			if strings.Contains(err.Error(), "me:pw") {
				t.Errorf("the password is repeated: %v", err)
			}
		})
	}
}

func TestHelpListsEveryFlag(t *testing.T) {
	t.Parallel()
	var o options
	var help strings.Builder
	fs := flag.NewFlagSet("manager", flag.ContinueOnError)
	fs.SetOutput(&help)
	o.bind(fs)
	fs.Usage()
	fs.VisitAll(func(f *flag.Flag) {
		if !strings.Contains(help.String(), "-"+f.Name) || !strings.Contains(help.String(), f.Usage) {
			t.Errorf("--%s is not in the help:\n%s", f.Name, help.String())
		}
	})
}

// A check comes five times in the time in which an old token still works, unless the
// flag says another interval.
func TestChecksComeFiveTimesInAWindow(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]time.Duration{
		"":                                       time.Minute,
		"--stable-window=10s":                    2 * time.Second,
		"--check-interval=30s":                   30 * time.Second,
		"--check-interval=0s":                    0,
		"--check-interval=7s --stable-window=1m": 7 * time.Second,
	} {
		var o options
		fs := flag.NewFlagSet("manager", flag.ContinueOnError)
		o.bind(fs)
		if err := fs.Parse(strings.Fields(args)); err != nil {
			t.Fatal(err)
		}
		if got := o.checks(); got != want {
			t.Errorf("%q: a check each %s, want %s", args, got, want)
		}
	}
}
