//go:build integration

package wechatfile_test

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-redis/redis/v8"
	sdk "github.com/silenceper/wechat/v2"
	"github.com/silenceper/wechat/v2/cache"
	"github.com/silenceper/wechat/v2/credential"
	mini "github.com/silenceper/wechat/v2/miniprogram/config"
	official "github.com/silenceper/wechat/v2/officialaccount/config"

	"wechattoken.io/operator/internal/wechat"
	"wechattoken.io/operator/internal/wechat/wechattest"
)

const (
	sample   = "../../../config/samples/sdk-cache"
	password = "a password of Redis"
)

// wxJava are the keys of WxJava 4.7.2.B, and the file for each. Its classes read
// the value as it stands, and take it for expired once the TTL is below 2 s:
// weixin-java-mp/…/WxMpRedisConfigImpl.java, and weixin-java-miniapp/…
// /WxMaRedisBetterConfigImpl.java and /WxMaRedisConfigImpl.java.
var wxJava = map[string]string{
	"wx:access_token:" + creds.AppID:          "access_token",
	"wa:access_token:" + creds.AppID:          "access_token",
	"wx:ticket:key:" + creds.AppID + ":jsapi": "jsapi_ticket",
}

// With the date of GNU, and of BusyBox. Not beside other tests of the SDK, which
// has one HTTP client for all.
func TestSDKsFindTheTokenInRedis(t *testing.T) {
	sdk.NewWechat().SetHTTPClient(&http.Client{Transport: noWeChat{t}})
	for shell, prefix := range map[string][]string{"GNU": nil, "BusyBox": {"busybox"}} {
		t.Run(shell, func(t *testing.T) {
			t.Parallel()
			c := newCopier(t, prefix...)
			c.startRedis()
			store := cache.NewRedis(t.Context(), &cache.RedisOpts{Host: c.address, Password: password})
			keys := sampleKeys(t)

			var end time.Time
			follows := func(what string) {
				t.Helper()
				c.copied(what, keys...)
				c.rounds(what) // one may have had the time of the token before
				for who, get := range readers(store) {
					if got, err := get(); got != c.files[who.file] || err != nil {
						t.Errorf("%s: %s reads another %s than that of the Secret (%v)", what, who.name, who.file, err)
					}
				}
				for key, file := range wxJava {
					if got := c.redis.Get(t.Context(), key).Val(); got != c.files[file] {
						t.Errorf("%s: %s is not the %s of the Secret", what, key, file)
					}
				}
				for _, key := range c.redis.Keys(t.Context(), "*").Val() {
					switch at, err := c.redis.Do(t.Context(), "EXPIRETIME", key).Int64(); {
					case err != nil:
						t.Error(err)
					case at >= end.Unix():
						t.Errorf("%s: %s expires no sooner than the token", what, key)
					case at < end.Unix()-60:
						t.Errorf("%s: %s expires %d s before the token, want 60 at most", what, key, end.Unix()-at)
					}
				}
				if got := c.redis.DBSize(t.Context()).Val(); int(got) != len(keys) {
					t.Errorf("%s: Redis has %d keys, want those of the sample, %d", what, got, len(keys))
				}
			}
			secret := func(what string, life time.Duration) {
				end = time.Now().Add(life)
				c.mount(secretOf(what, end))
			}

			secret("first", 2*time.Hour)
			c.start(sampleArgs(t)...)
			follows("the first token")
			secret("second", 90*time.Minute)
			follows("the next token, which ends sooner")
			for _, key := range keys {
				c.redis.Set(t.Context(), key, "fetched by an SDK", 3*time.Hour)
			}
			follows("after an SDK has written its own")
			c.redis.Del(t.Context(), keys...) // as WxJava does after errcode 40001
			follows("after an SDK has deleted it")
		})
	}
}

func TestTheCopyGoesOnAfterRedisWasAway(t *testing.T) {
	t.Parallel()
	key := "wx:access_token:" + creds.AppID
	cases := map[string]struct {
		reason string
		away   func(c *copier)
	}{
		"AtFirst": {
			reason: "After a power cut the pods start in any order.",
			away:   func(c *copier) { c.rounds("without Redis") },
		},
		"Restarted": {
			reason: "A Redis without persistence is empty then.",
			away: func(c *copier) {
				stop := c.startRedis()
				c.copied("before", key)
				stop()
				c.rounds("without Redis")
			},
		},
		"Hanging": {
			reason: "One that answers nothing would stop the copy for good.",
			away: func(c *copier) {
				listener, err := net.Listen("tcp", c.address)
				if err != nil {
					c.t.Fatal(err)
				}
				conn, err := listener.Accept()
				if err != nil {
					c.t.Fatal(err)
				}
				c.t.Cleanup(func() { conn.Close() })
				listener.Close()
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCopier(t)
			c.mount(secretOf("token", time.Now().Add(time.Hour)))
			c.start("access_token=wx:access_token:%s")
			tc.away(c)
			c.startRedis()
			c.copied(tc.reason, key)
		})
	}
}

func TestNothingButAValidTokenIsCopied(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		file, value string            // what is wrong
		programs    map[string]string // instead of the usual ones
		redis       []string          // options
		lasting     bool
		want        string // what it says
	}{
		"Expired":      {file: "expires_at", value: "2020-01-02T03:04:05Z", want: "expired"},
		"NoTime":       {file: "expires_at", value: "never", want: "never"},
		"EmptyTime":    {file: "expires_at", want: "expired"},
		"EmptyToken":   {file: "access_token", want: "not copied"},
		"EmptyAppID":   {file: "appid", want: "not copied"},
		"NoSuchDate":   {programs: map[string]string{"date": `case $* in *-d*) echo "date: no option -d" >&2; exit 1; esac; exec date "$@"`}, lasting: true, want: "no option -d"},
		"Unreadable":   {programs: map[string]string{"cat": `echo "cat: Permission denied" >&2; exit 1`}, lasting: true, want: "Permission denied"},
		"QuotingRedis": {redis: []string{"--rename-command", "SETEX", ""}, lasting: true, want: "did not take it ERR"},
		"LockedRedis":  {redis: []string{"--requirepass", "another password"}, lasting: true, want: "did not take it NOAUTH"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCopier(t)
			for program, code := range tc.programs {
				c.program(program, code)
			}
			files := secretOf("token", time.Now().Add(time.Hour))
			if tc.file != "" {
				files[tc.file] = tc.value
			}
			c.startRedis(tc.redis...)
			c.mount(files)
			c.start("access_token=wx:access_token:%s")
			c.rounds(name)
			if got := c.redis.DBSize(t.Context()).Val(); got != 0 {
				t.Errorf("Redis has %d keys", got)
			}
			if said := c.said(); !strings.Contains(said, tc.want) {
				t.Errorf("it says %q, want %q", said, tc.want)
			}
			if !tc.lasting {
				c.mount(secretOf("token", time.Now().Add(time.Hour)))
				c.copied("once the Secret is right", "wx:access_token:"+creds.AppID)
			}
		})
	}
}

// In mode Classic each call with the AppSecret ends the token before it. An SDK that
// does not find the key makes one.
func TestAMissWithoutTheAppSecretEndsNoToken(t *testing.T) {
	for name, secret := range map[string]string{"None": "", "False": "not the app secret"} {
		for endpoint, stable := range map[string]bool{"token": false, "stable_token": true} {
			t.Run(name+" "+endpoint, func(t *testing.T) {
				weChat := wechattest.New(wechattest.Config{})
				weChat.AddAccount(creds.AppID, creds.AppSecret)
				operator := wechat.NewClientWithTransports("https://api.weixin.qq.com", 10*time.Second, weChat.Transport(), weChat.Transport())
				if _, err := operator.ClassicToken(t.Context(), creds); err != nil {
					t.Fatal(err)
				}
				s := sdk.NewWechat()
				s.SetCache(cache.NewMemory())
				s.SetHTTPClient(&http.Client{Transport: weChat.Transport()})
				account := s.GetOfficialAccount(&official.Config{AppID: creds.AppID, AppSecret: secret, UseStableAK: stable})
				if got, err := account.GetContext().GetAccessToken(); err == nil {
					t.Errorf("got the token %q, want an error", got)
				}
				if all := weChat.Tokens(); len(all) != 1 || !all[0].Ends.Equal(all[0].Expires) {
					t.Errorf("got the tokens %v, want that of the operator, until its natural end", all)
				}
			})
		}
	}
}

// sampleArgs are the arguments in the manifest, those in comments, too.
func sampleArgs(t *testing.T) (args []string) {
	t.Helper()
	manifest, err := os.ReadFile(filepath.Join(sample, "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^ +(?:# )?- (\w+=\S*%s\S*)$`).FindAllSubmatch(manifest, -1) {
		args = append(args, string(m[1]))
	}
	return args
}

func sampleKeys(t *testing.T) (keys []string) {
	t.Helper()
	for _, arg := range sampleArgs(t) {
		_, key, _ := strings.Cut(arg, "=")
		keys = append(keys, fmt.Sprintf(key, creds.AppID))
	}
	return keys
}

type reader struct{ name, file string }

// readers are all by which silenceper/wechat reads from the cache. They have no AppSecret.
func readers(store cache.Cache) map[reader]func() (string, error) {
	s := sdk.NewWechat()
	s.SetCache(store)
	all := map[reader]func() (string, error){
		{"the JS-SDK", "jsapi_ticket"}: func() (string, error) {
			return credential.NewDefaultJsTicket(creds.AppID, credential.CacheKeyOfficialAccountPrefix, store).GetTicket("")
		},
	}
	for _, stable := range []bool{false, true} {
		account := s.GetOfficialAccount(&official.Config{AppID: creds.AppID, UseStableAK: stable})
		program := s.GetMiniProgram(&mini.Config{AppID: creds.AppID, UseStableAK: stable})
		all[reader{fmt.Sprintf("an official account, UseStableAK %t,", stable), "access_token"}] = account.GetContext().GetAccessToken
		all[reader{fmt.Sprintf("a mini program, UseStableAK %t,", stable), "access_token"}] = program.GetContext().GetAccessToken
	}
	return all
}

// noWeChat fails the test that calls WeChat.
type noWeChat struct{ t *testing.T }

func (n noWeChat) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("the SDK calls WeChat: %s", r.URL.Path)
	return nil, errors.New("no WeChat here")
}

func secretOf(name string, end time.Time) map[string]string {
	at := end.UTC().Format(time.RFC3339)
	return map[string]string{
		"appid":        creds.AppID,
		"access_token": name + strings.Repeat("99_J", 34), "expires_at": at,
		"jsapi_ticket": name + strings.Repeat("kgt-", 21), "jsapi_ticket_expires_at": at,
	}
}

// copier is copy.sh with all that is around it.
type copier struct {
	t          *testing.T
	busybox    []string
	dir        string // with bin, token, and the files calls and said
	address    string // of Redis
	redis      *redis.Client
	files      map[string]string
	everSecret []string
}

func newCopier(t *testing.T, busybox ...string) *copier {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	c := &copier{t: t, busybox: busybox, dir: t.TempDir(), address: listener.Addr().String(), everSecret: []string{password, creds.AppSecret}}
	for _, dir := range []string{"bin", "token"} {
		if err := os.Mkdir(filepath.Join(c.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cat", "date", "redis-cli", "sleep", "timeout"} {
		prefix := strings.Join(busybox, " ")
		if name == "redis-cli" {
			prefix = ""
		}
		c.program(name, fmt.Sprintf(`exec %s %s "$@"`, prefix, name))
	}
	c.redis = redis.NewClient(&redis.Options{Addr: c.address, Password: password})
	t.Cleanup(func() { c.redis.Close() })
	return c
}

// program is what the script calls by a name. It writes down what a list of processes
// would show.
func (c *copier) program(name, code string) {
	c.t.Helper()
	code = fmt.Sprintf("#!/bin/sh\necho \"%s $*\" >>'%s/calls'\nPATH='%s'\n%s\n", name, c.dir, os.Getenv("PATH"), code)
	if err := os.WriteFile(filepath.Join(c.dir, "bin", name), []byte(code), 0o700); err != nil {
		c.t.Fatal(err)
	}
}

func (c *copier) mount(files map[string]string) {
	c.t.Helper()
	c.files = files
	c.everSecret = append(c.everSecret, files["access_token"], files["jsapi_ticket"])
	mount(c.t, filepath.Join(c.dir, "token"), files)
}

func (c *copier) start(args ...string) {
	c.t.Helper()
	script, err := filepath.Abs(filepath.Join(sample, "copy.sh"))
	if err != nil {
		c.t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(c.dir, "said"))
	if err != nil {
		c.t.Fatal(err)
	}
	words := slices.Concat(c.busybox, []string{"sh", script}, args)
	cmd := exec.Command(words[0], words[1:]...)
	_, port, _ := strings.Cut(c.address, ":")
	cmd.Env = []string{
		"PATH=" + filepath.Join(c.dir, "bin"), "TOKEN_DIR=" + filepath.Join(c.dir, "token"), "INTERVAL=0.1",
		"REDIS_OPTIONS=-h 127.0.0.1 -p " + port, "REDISCLI_AUTH=" + password,
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // with its last sleep
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		if err := errors.Join(cmd.Process.Signal(syscall.SIGTERM), cmd.Wait(), out.Close()); err != nil {
			c.t.Errorf("it does not end when Kubernetes asks for it: %v", err)
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		for what, text := range map[string]string{"a list of processes": c.read("calls"), "what it says": c.said()} {
			for _, secret := range c.everSecret {
				// Redis quotes only the beginning of a long one.
				if start := secret[:min(12, len(secret))]; start != "" && strings.Contains(text, start) {
					c.t.Errorf("%s shows %q", what, start)
				}
			}
		}
	})
}

func (c *copier) read(name string) string {
	text, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil && !os.IsNotExist(err) {
		c.t.Error(err)
	}
	return string(text)
}

func (c *copier) said() string { return c.read("said") }

// rounds waits until the script has been through its files as they are.
func (c *copier) rounds(what string) {
	c.t.Helper()
	slept := func() int { return strings.Count(c.read("calls"), "sleep ") }
	before := slept()
	c.eventually(what, func() error {
		if slept() < before+2 {
			return errors.New("it does nothing")
		}
		return nil
	})
}

// copied waits until the keys have what is in the files.
func (c *copier) copied(what string, keys ...string) {
	c.t.Helper()
	c.eventually(what, func() error {
		for _, key := range keys {
			want := c.files["access_token"]
			if strings.Contains(key, "ticket") {
				want = c.files["jsapi_ticket"]
			}
			switch got, err := c.redis.Get(c.t.Context(), key).Result(); {
			case err != nil:
				return fmt.Errorf("%s: %w", key, err)
			case got != want:
				return fmt.Errorf("%s is not what the file has", key)
			}
		}
		return nil
	})
}

func (c *copier) eventually(what string, holds func() error) {
	c.t.Helper()
	late := time.After(2 * time.Minute)
	for err := holds(); err != nil; err = holds() {
		select {
		case <-c.t.Context().Done():
			c.t.Fatal(c.t.Context().Err())
		case <-late:
			c.t.Fatalf("%s: %v; it says\n%s", what, err, c.said())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *copier) startRedis(options ...string) (stop func()) {
	c.t.Helper()
	_, port, _ := strings.Cut(c.address, ":")
	options = append([]string{"--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", c.dir, "--requirepass", password}, options...)
	cmd := exec.Command("redis-server", options...)
	if err := cmd.Start(); err != nil {
		c.t.Fatalf("make languages installs it: %v", err)
	}
	running := true
	stop = func() {
		if running {
			running = false
			_ = errors.Join(cmd.Process.Kill(), cmd.Wait())
		}
	}
	c.t.Cleanup(stop)
	c.eventually("Redis starts", func() error {
		conn, err := net.Dial("tcp", c.address)
		if err != nil {
			return err
		}
		return conn.Close()
	})
	return stop
}
