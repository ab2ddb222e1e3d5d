// Package controllers keeps a valid access_token of WeChat in the Secret of each
// WeChatToken.
//
// The way of a token:
//
//	a user      applies a WeChatToken, or changes one of its annotations
//	               │
//	observe     reads it, the Secrets that it names (secretcache), and the record on
//	               │  the target (internal/record); tells its account what it wants
//	               ├──────────────► account   Next: which call, and when (pure)
//	               │                  │  one call at a time, many accounts at once
//	               │                  ▼
//	               │                WeChat    internal/wechat: one HTTP call
//	               │                  │
//	               │◄──── wakes ──── account   Done: what the answer changes (pure)
//	decide      is the target as it should be? (pure, plan.go)
//	               │
//	act         writes the Secret: the token, and the record beside it
//	               │
//	publish     status, events, metrics, from the outcome (status.go, reasons.go)
//	               │
//	the Secret  is mounted by pods; with --consumers another controller (consumers)
//	            sees it change, touches pods and restarts workloads
//
// What each package guarantees:
//
//	account      one call at a time for an account; a slow one delays no other
//	consumers    one restart of a workload for a token; no pod is read without --consumers
//	secretcache  a Secret is never older than what was seen or written; few reads
//	metrics      a scrape reads nothing but memory
//	record       what is read back was written with the AppSecret, or is not trusted
//	budget       the operator stops before WeChat's limits do
//	uses         operator and plugin give one answer to who uses a Secret, and how
//	redact       no text shares 8 characters with a secret, nor in hex, base64 or escapes
//	refusal      an error of the API server is shown without secrets, and short
//
// Words:
//
//	account          an appid with one AppSecret in one mode
//	window           the last 5 minutes of a token, in which WeChat has the next one
//	refresh request  a new value of the annotation wechattoken.io/refresh-requested-at
//	forced refresh   a call that ends the present token; WeChat allows 20 a day
//	report           a consumer says that the token is invalid
//	check            WeChat is asked whether it is
//	record           what the operator remembers on the Secret
//	target           the Secret that holds the token
//	claim            of a WeChatToken to a target that is not there
//	source, taker    a WeChatToken with the AppSecret, and one that takes its token
//	pace             what one namespace may do at once, and then a second
//	cause            why a WeChatToken does not have what it wants, without words
//	finding          the same as a reason and a sentence
//	outcome          what a plan has come to
//	budget           what is left of WeChat's limits
package controllers
