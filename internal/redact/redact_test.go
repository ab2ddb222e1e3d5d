package redact_test

import (
	"strings"
	"testing"

	"wechattoken.io/operator/internal/redact"
)

// One secret does not save a part of another.
func TestSecretsAreHiddenWhole(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason  string
		s       string
		secrets []string
		want    string
	}{
		"Prefix":   {"One begins with the other.", "-abcdef-", []string{"abc", "abcdef"}, "-[redacted]-"},
		"Within":   {"One is within the other.", "-abcdef-", []string{"cd", "abcdef"}, "-[redacted]-"},
		"Overlap":  {"They overlap.", "-abcdef-", []string{"abcd", "cdef"}, "-[redacted]-"},
		"Escaped":  {"One form of a secret is within another.", "-a%25-", []string{"a%"}, "-[redacted]-"},
		"Awkward":  {"It is more separators than letters.", `-a+b/c;d%\"\u003c-a%2Bb%2Fc%3Bd%25%22%3C-`, []string{`a+b/c;d%"<`}, "-[redacted]-[redacted]-"},
		"Short":    {"It is hidden where all of it is there.", "-a b-c,d e:f-ABCDE-YWJjZGVm-", []string{"abcdef"}, "-[redacted]-ABCDE-[redacted]-"},
		"Seven":    {"So many may be shared by chance.", "-abcdefg-hijk lmn-", []string{"abcdefg0hijklmn0"}, "-abcdefg-hijk lmn-"},
		"Eight":    {"So many are not.", "-bcdefg0h-", []string{"abcdefg0hijklmn0"}, "-[redacted]-"},
		"Empty":    {"It is no secret.", "-a-", []string{"", "."}, "-a-"},
		"Revealed": {"What is around a secret is no new one.", "aXXb", []string{"XX", "ab"}, "a[redacted]b"},
		"Mask":     {"The mask is not masked.", "-e-", []string{"e", "d"}, "-[redacted]-"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := redact.Secrets(tc.s, tc.secrets...); got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// What WeChat and the API server say is read as they say it.
func TestOrdinaryTextsAreLeft(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"",
		"invalid ip 114.221.21.30 ipv6 ::ffff:114.221.21.30, not in whitelist rid: 658cff8e-7783352d-44cb33e5",
		"invalid ip 119.253.43.19, not in whitelist hint: [jotvMa01143580]",
		"invalid credential, access_token is invalid or not latest, could get access_token by getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r rid: 67b81456-7783352d-44cb33e5",
		"api minute-quota reach limit  mustslower  retry next minute",
		"user not allow to use accesstoken, maybe for punishment",
		"access clientip is not registered requestIP: 47.107.99.226",
		"不合法的 AppSecret\n（40125）",
		`secrets "shop" is forbidden: exceeded quota: small, requested: secrets=1, used: secrets=10, limited: secrets=10`,
		`Secret "shop" is invalid: metadata.annotations: Too long: may not be more than 262144 bytes`,
		`Apply failed with 1 conflict: conflict with "kubectl-client-side-apply" using v1: .data.access_token`,
		`admission webhook "validate.kyverno.svc-fail" denied the request: resource Secret/shop/wx0123456789abcdef-token was blocked due to the following policies`,
		`Operation cannot be fulfilled on secrets "shop": StorageError: invalid object, Code: 4, Key: /registry/secrets/web/shop, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: 0f8c1e2a-53a4-4b53-9a3b-7d1a6c5e4f21, UID in object meta: `,
		`secrets is forbidden: User "system:serviceaccount:wechat-token-system:wechat-token-operator" cannot patch resource "secrets" in API group "" in the namespace "web"`,
	} {
		if got := redact.Secrets(text, "9f86d081884c7d659a2feaa0c55ad015", "98_Kx3mT0pQ-vWb2nZ7yR5uEaLdJcHfGiOs1_tXw8BqYkNrVj6UzCmPe4ShDgFlAoI9", "HoagFKDcsGMVCIY2vOjf9mZq3rT8uWx5yB1nE7sLpKdJgQcRhXvNtAiUoYwSzMbFe0"); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

// What is cut off must not leave a part of a secret.
func TestLongTextIsCut(t *testing.T) {
	t.Parallel()
	const secret = "9f86d081884c7d659a2feaa0c55ad015"
	got := redact.Secrets(strings.Repeat("x", 4<<10-20)+secret+strings.Repeat("x", 1<<20), secret)
	if want := strings.Repeat("x", 4<<10-20) + "[redacted]"; got != want {
		t.Errorf("got %d bytes, …%s", len(got), got[max(0, len(got)-40):])
	}
}
