//go:build integration

package attack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"wechattoken.io/operator/api/v1alpha1"
	"wechattoken.io/operator/internal/record"
	"wechattoken.io/operator/internal/testcluster"
)

// readerOf is the credential of a ServiceAccount in the namespace of wt that may read its
// token from the token-server, report it, and nothing else.
func readerOf(t *testing.T, wt *v1alpha1.WeChatToken) string {
	t.Helper()
	name := "reader-of-" + wt.Name
	bearer := credential(t, wt.Namespace, name, "")
	known.Store(bearer[len(bearer)-32:], true)
	must(t, admin.Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: wt.Namespace, Name: name},
		Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"wechattokens/token"}, ResourceNames: []string{wt.Name}, Verbs: []string{"get"}},
			{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"wechattokens/invalid"}, ResourceNames: []string{wt.Name}, Verbs: []string{"create"}},
		},
	}))
	must(t, admin.Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: wt.Namespace, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: wt.Namespace, Name: name}},
	}))
	return bearer
}

func pathOf(wt *v1alpha1.WeChatToken, what string) string {
	return "/v1/namespaces/" + wt.Namespace + "/wechattokens/" + wt.Name + "/" + what
}

// served is the token in an answer of the token-server, if there is one.
func served(t *testing.T, wt *v1alpha1.WeChatToken, bearer string) (code int, token string) {
	t.Helper()
	resp, body := server().Get(t, pathOf(wt, "token"), bearer)
	var a struct {
		Token string `json:"access_token"`
	}
	must(t, json.Unmarshal([]byte(body), &a))
	return resp.StatusCode, a.Token
}

// awaitServed waits until the token-server serves a token as wanted. A permission takes a
// while to count.
func awaitServed(t *testing.T, wt *v1alpha1.WeChatToken, bearer string, wanted func(token string) bool) {
	t.Helper()
	testcluster.Eventually(t, "the token of "+wt.Namespace+"/"+wt.Name+" is served", func() error {
		if code, token := served(t, wt, bearer); code != http.StatusOK || !wanted(token) {
			return fmt.Errorf("%d, a token of %d bytes", code, len(token))
		}
		return nil
	})
}

func TestAReaderGetsItsOwnTokenOnly(t *testing.T) {
	t.Parallel()
	tried(t, reader, "tokens, tickets and reports of others in its namespace and elsewhere, by name, path and header; which there are")
	shop, pay := newNamespace(t, "shop"), newNamespace(t, "pay")
	v, elsewhere := newVictim(t, shop), newVictim(t, pay)
	beside := newVictim(t, shop, func(wt *v1alpha1.WeChatToken) { wt.Name, wt.Spec.AppSecretRef.Name = "beside", "beside-app" })
	bearer := readerOf(t, v.WeChatToken)
	awaitServed(t, v.WeChatToken, bearer, weChat.Valid)
	never := func(what string, code int, body string) {
		t.Helper()
		if code == http.StatusOK || strings.Contains(body, elsewhere.has()) || strings.Contains(body, beside.has()) {
			t.Errorf("%s: it is answered with %d", what, code)
		}
	}
	// What is there is refused as what is not, to the letter.
	for _, there := range []*victim{beside, elsewhere} {
		not := there.DeepCopy()
		not.Name = "not-there"
		for what, ask := range map[string]func(*v1alpha1.WeChatToken) (*http.Response, string){
			"token": func(wt *v1alpha1.WeChatToken) (*http.Response, string) {
				return server().Get(t, pathOf(wt, "token"), bearer)
			},
			"ticket": func(wt *v1alpha1.WeChatToken) (*http.Response, string) {
				return server().Get(t, pathOf(wt, "token?ticket=jsapi"), bearer)
			},
			"etag": func(wt *v1alpha1.WeChatToken) (*http.Response, string) {
				return server().Get(t, pathOf(wt, "token"), bearer, "If-None-Match", "*")
			},
			"report": func(wt *v1alpha1.WeChatToken) (*http.Response, string) {
				return server().Post(t, pathOf(wt, "invalid?wait=1s"), bearer, strings.NewReader(`{"fingerprint":"`+record.Fingerprint(there.has())+`"}`))
			},
		} {
			var said [2]string
			for i, wt := range []*v1alpha1.WeChatToken{there.WeChatToken, not} {
				resp, body := ask(wt)
				never(what, resp.StatusCode, body)
				said[i] = resp.Status + strings.ReplaceAll(body, `\"`+wt.Name+`\"`, "NAME")
			}
			if said[0] != said[1] {
				t.Errorf("%s of %s: it tells what is there:\n%s\n%s", what, there.Name, said[0], said[1])
			}
		}
	}
	own, other := pathOf(v.WeChatToken, "token"), pathOf(elsewhere.WeChatToken, "token")
	for _, path := range []string{
		strings.Replace(own, "/victim/", "/../../"+pay+"/wechattokens/victim/", 1), strings.Replace(own, "victim", "..%2fbeside", 1),
		strings.Replace(own, shop, shop+"%2f..%2f"+pay, 1), own + "/../../beside/token", "//" + other, other + "/", other + "?name=victim&namespace=" + shop,
		strings.Replace(own, "victim", "victim%00beside", 1), strings.Replace(own, "victim", "*", 1), strings.Replace(other, "/token", "", 1),
	} {
		resp, body := server().Get(t, path, bearer)
		never(path, resp.StatusCode, body)
	}
	for _, header := range []string{"Impersonate-User", "X-Remote-User", "X-Forwarded-User"} {
		resp, body := server().Get(t, other, bearer, header, "system:admin", "X-Original-URL", own, "X-HTTP-Method-Override", "GET")
		never(header, resp.StatusCode, body)
	}
	// A credential in the wrong place is not found in the log, either.
	server().Get(t, own+"?access_token="+v.has()+"&bearer="+bearer, bearer)
	server().Get(t, "/"+bearer, v.has(), "Cookie", bearer)
}

func TestAForgedSecretIsServedInItsOwnNamespaceOnly(t *testing.T) {
	tried(t, editor, "WeChatTokens and Secrets of the victim's name, owner, source and record in another namespace")
	tried(t, writer, "a WeChatToken that names the victim's Secret, read from the token-server")
	evil, shop := newNamespace(t, "evil"), newNamespace(t, "shop")
	v, who := newVictim(t, shop), as(t, editor, evil)
	readers := map[*v1alpha1.WeChatToken]string{} // of what the attackers have made
	makes := func(who client.Client, wt *v1alpha1.WeChatToken) {
		must(t, who.Create(t.Context(), wt))
		readers[wt] = readerOf(t, wt)
	}
	makes(who, newTaker(evil, "victim", v.WeChatToken))
	named := newWeChatToken(evil, "named", v.Spec.AppID)
	named.Spec.Secret = &v1alpha1.TokenSecret{Name: "victim"}
	makes(who, named)
	beside := newWeChatToken(shop, "beside", v.Spec.AppID)
	beside.Spec.Secret, beside.Spec.AppSecretRef.Name = &v1alpha1.TokenSecret{Name: "victim"}, "not-there"
	makes(as(t, writer, shop), beside)
	for name, owner := range map[string]*v1alpha1.WeChatToken{"victim": v.WeChatToken, "named": named, "another": v.WeChatToken} {
		s := record.Render(owner, freshRecord(v.WeChatToken, forged), wrongKey)
		s.Namespace, s.Name = evil, name
		must(t, who.Create(t.Context(), s))
	}
	// The last one tells that the server has seen the others. Its own namespace it deceives.
	own := joins(t, who, evil, "own", v, true)
	readers[own] = readerOf(t, own)
	must(t, who.Create(t.Context(), record.Render(own, freshRecord(own, forged), wrongKey)))
	victims := readerOf(t, v.WeChatToken)
	for _, restart := range []func(testing.TB){func(testing.TB) {}, restartServer} {
		restart(t)
		awaitServed(t, own, readers[own], func(token string) bool { return token == forged })
		awaitServed(t, v.WeChatToken, victims, func(string) bool { return true })
		if _, token := served(t, v.WeChatToken, victims); token != v.has() {
			t.Errorf("the victim's reader gets %.8s", token)
		}
		for wt, bearer := range readers {
			if _, token := served(t, wt, bearer); weChat.Valid(token) {
				t.Errorf("who reads %s/%s gets the victim's token", wt.Namespace, wt.Name)
			}
		}
	}
}

func TestAFloodCostsTheAPIServerLittle(t *testing.T) {
	v := newVictim(t, newNamespace(t, "shop"))
	bearer := readerOf(t, v.WeChatToken)
	stranger := readerOf(t, newTaker(newNamespace(t, "evil"), "none", v.WeChatToken))
	awaitServed(t, v.WeChatToken, bearer, weChat.Valid)
	get := func(path, bearer string) (time.Duration, int) {
		from := time.Now()
		resp, _ := server().Get(t, path, bearer)
		return time.Since(from), resp.StatusCode
	}
	calm := time.Duration(0)
	for range 50 {
		took, _ := get(pathOf(v.WeChatToken, "token"), bearer)
		calm = max(calm, took)
	}
	cases := map[string]struct {
		reason         string
		by             attacker
		flood          func(i int64) (path, bearer string)
		review         string
		perSecond, few int
	}{
		"forged credentials": {
			"Of made-up credentials, the API server is asked about 100 a second.", peer,
			func(i int64) (string, string) { return pathOf(v.WeChatToken, "token"), fmt.Sprintf("forged-%d", i) },
			"POST tokenreviews", 100, 200,
		},
		"names that are not there, by who may read nothing there": {
			"Of one user, the API server is asked about 20 new names a second.", reader,
			func(i int64) (string, string) {
				return fmt.Sprintf("/v1/namespaces/shop/wechattokens/none-%d/token", i), stranger
			},
			"POST subjectaccessreviews", 20, 200,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tried(t, tc.by, "a flood of %s at the token-server", name)
			var sent atomic.Int64
			var all sync.WaitGroup
			from, before, over := time.Now(), asked(t)[tc.review], make(chan struct{})
			for range 8 {
				all.Go(func() {
					for {
						select {
						case <-over:
							return
						default:
						}
						path, bearer := tc.flood(sent.Add(1))
						if _, code := get(path, bearer); code == http.StatusOK {
							t.Errorf("%s is answered", path)
							return
						}
					}
				})
			}
			var worst, control time.Duration
			for time.Since(from) < 12*time.Second { // what the API server has said counts for 10 s
				took, code := get(pathOf(v.WeChatToken, "token"), bearer)
				if worst = max(worst, took); code != http.StatusOK {
					t.Errorf("a reader gets %d", code)
				}
				took, _ = get("/", "")
				control = max(control, took)
				time.Sleep(10 * time.Millisecond)
			}
			close(over)
			all.Wait()
			reviews, limit := asked(t)[tc.review]-before, tc.few+tc.perSecond*(1+int(time.Since(from)/time.Second))+20
			t.Attr("reviews", fmt.Sprint(reviews))
			t.Logf("%d requests cost the API server %d reviews; a reader waits %s in peace, up to %s meanwhile, and up to %s for nothing",
				sent.Load(), reviews, calm.Round(time.Millisecond), worst.Round(time.Millisecond), control.Round(time.Millisecond))
			if int(sent.Load()) < limit {
				t.Fatalf("%d requests are no flood", sent.Load())
			}
			if reviews > limit {
				t.Errorf("%s\n%d reviews, want at most %d", tc.reason, reviews, limit)
			}
			if worst > max(time.Second, 10*calm, 5*control) {
				t.Errorf("a reader has waited %s", worst)
			}
		})
	}
}

func TestAReportOfWhatIsNoTokenCostsNothing(t *testing.T) {
	const n = 300
	tried(t, reader, "%d reports of made-up tokens, with and without a token there, and %d of one that is valid", n, n)
	shop := newNamespace(t, "shop")
	v, empty := newVictim(t, shop), newWeChatToken(shop, "empty", newAppID())
	must(t, admin.Create(t.Context(), empty))
	awaitReason(t, empty, v1alpha1.ReasonAppSecretMissing)
	report := func(t *testing.T, wt *v1alpha1.WeChatToken, bearer, fingerprint string) int {
		t.Helper()
		resp, _ := server().Post(t, pathOf(wt, "invalid"), bearer, strings.NewReader(`{"fingerprint":"`+fingerprint+`"}`))
		return resp.StatusCode
	}
	madeUp := func(i int) string { return record.Fingerprint(fmt.Sprint(i)) }
	cases := map[string]struct {
		reason string
		of     *v1alpha1.WeChatToken
		token  func(i int) string
		writes func(seconds int) int
	}{
		"replaced": {"It is not the current one.", v.WeChatToken, madeUp, func(int) int { return 0 }},
		"empty":    {"There is none.", empty, madeUp, func(int) int { return 0 }},
		"valid":    {"WeChat says so, for a second.", v.WeChatToken, func(int) string { return v.Status.TokenFingerprint }, func(seconds int) int { return 2 + seconds }},
	}
	bearers := map[*v1alpha1.WeChatToken]string{v.WeChatToken: readerOf(t, v.WeChatToken), empty: readerOf(t, empty)}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			testcluster.Eventually(t, "the permission counts", func() error {
				if code := report(t, tc.of, bearers[tc.of], madeUp(-1)); code != http.StatusAccepted {
					return fmt.Errorf("%d", code)
				}
				return nil
			})
			from, before, calls := time.Now(), asked(t)["PATCH wechattokens"], weChat.Counts(v.Spec.AppID)
			inParallel(t, "reports", n, func(i int) error {
				if code := report(t, tc.of, bearers[tc.of], tc.token(i)); code != http.StatusAccepted && code != http.StatusTooManyRequests {
					return fmt.Errorf("%d", code)
				}
				return nil
			})
			writes, limit := asked(t)["PATCH wechattokens"]-before, tc.writes(int(time.Since(from)/time.Second))
			if writes > limit {
				t.Errorf("%s\n%d writes, want at most %d", tc.reason, writes, limit)
			}
			if now := weChat.Counts(v.Spec.AppID); now.Forced != calls.Forced || now.Stable.Calls+now.Business.Calls > calls.Stable.Calls+calls.Business.Calls+limit {
				t.Errorf("%s\nWeChat was asked: %+v, %+v before", tc.reason, now, calls)
			}
		})
	}
}

func TestTheTokenServersCredentialOnlyReports(t *testing.T) {
	t.Parallel()
	tried(t, thief, "with the token-server's credential: a refresh, the spec, other metadata, the status, Secrets, other ServiceAccounts' tokens")
	shop, who := newNamespace(t, "shop"), clientOf(t, serviceAccount(t, operatorName, serverName))
	v := newVictim(t, shop)
	patch := func(body string) func() error {
		return func() error {
			return who.Patch(t.Context(), nameOf(v.WeChatToken), merge("%s", body), client.DryRunAll)
		}
	}
	secret := func() *corev1.Secret { return newSecret(shop, "victim", nil) }
	attempts := map[string]func() error{
		"ask for a refresh":  patch(`{"metadata":{"annotations":{"wechattoken.io/refresh-requested-at":"1"}}}`),
		"report and ask":     patch(`{"metadata":{"annotations":{"wechattoken.io/invalid-token":"0123456789abcdef","wechattoken.io/refresh-requested-at":"1"}}}`),
		"put a token there":  patch(`{"metadata":{"annotations":{"wechattoken.io/invalid-token":"` + v.has() + `"}}}`),
		"offer the token":    patch(`{"spec":{"allowedNamespaces":["*"]}}`),
		"change the appid":   patch(`{"spec":{"appID":"wx0123456789abcdef"}}`),
		"move the Secret":    patch(`{"spec":{"secret":{"name":"moved"}}}`),
		"annotate":           patch(`{"metadata":{"annotations":{"example.com/a":"b"}}}`),
		"label":              patch(`{"metadata":{"labels":{"a":"b"}}}`),
		"keep it for ever":   patch(`{"metadata":{"finalizers":["example.com/keep"]}}`),
		"wipe managedFields": patch(`{"metadata":{"managedFields":[{}]}}`),
		"write the status": func() error {
			return who.Status().Patch(t.Context(), nameOf(v.WeChatToken), merge(`{"status":{"secretName":"x"}}`), client.DryRunAll)
		},
		"create a WeChatToken": func() error {
			return who.Create(t.Context(), newWeChatToken(shop, "new", newAppID()), client.DryRunAll)
		},
		"delete a WeChatToken": func() error { return who.Delete(t.Context(), nameOf(v.WeChatToken), client.DryRunAll) },
		"create a Secret":      func() error { return who.Create(t.Context(), newSecret(shop, "new", nil), client.DryRunAll) },
		"change a Secret": func() error {
			return who.Patch(t.Context(), secret(), merge(`{"stringData":{"access_token":"x"}}`), client.DryRunAll)
		},
		"delete a Secret": func() error { return who.Delete(t.Context(), secret(), client.DryRunAll) },
		"become the operator": func() error {
			account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operatorName, Name: operatorName}}
			return who.SubResource("token").Create(t.Context(), account, &authenticationv1.TokenRequest{}, client.DryRunAll)
		},
	}
	// The API server may take some seconds to see a policy.
	allowed := attempts
	for end := time.Now().Add(10 * time.Second); len(allowed) > 0 && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		allowed = map[string]func() error{}
		for what, attempt := range attempts {
			if err := attempt(); err == nil {
				allowed[what] = attempt
			} else if strings.Contains(err.Error(), v.has()) {
				t.Errorf("%s: the refusal quotes the token", what)
			}
		}
	}
	for what := range allowed {
		t.Errorf("the token-server may %s", what)
	}
	must(t, patch(`{"metadata":{"annotations":{"wechattoken.io/invalid-token":"0123456789abcdef"}}}`)())
}
