// Package tokenserver hands tokens to servers that have no Secret to read: those outside of
// the cluster. WeChat's documentation calls such a server 中控服务器.
//
//	GET …/token
//	 └─ handler.go   which WeChatToken, and what of it
//	     ├─ access.go   who asks, and may they? The API server says so; memory.go keeps its answers for 10 s
//	     ├─ held.go     the WeChatToken and its Secret, from memory; follow.go keeps that up to date
//	     └─ answer.go   what to answer now (pure)
//	POST …/invalid
//	 └─ report.go    the report becomes an annotation, and the operator asks WeChat
//
// It never calls WeChat, knows no AppSecret, and reads the API server's answer to a list
// and a watch only: a request costs no read.
package tokenserver
