// Package wechattest is the WeChat API in memory: it hands out access_tokens
// and tickets, rotates them, keeps the old one valid for a while, counts quotas,
// and fails in all the ways that WeChat and the network before it have been seen
// to fail.
//
// A [Server] is an [net/http.Handler]. Serve it with [net/http/httptest] or a
// program, or reach it in memory through [Server.Transport], which also works
// inside a [testing/synctest] bubble: the server has no goroutines and no
// clock but [time.Now].
//
// It answers
//
//	POST /cgi-bin/stable_token       getStableAccessToken, the endpoint [Stable]
//	GET  /cgi-bin/token              getAccessToken, the endpoint [Classic]
//	GET  /cgi-bin/ticket/getticket   jsapi_ticket and wx_card api_ticket, the endpoint [Ticket]
//	     /cgi-bin/get_api_domain_ip  any other call that needs a token, the endpoint [Business]
//	     /cgi-bin/getcallbackip      likewise
//	     /fake/                      its own administration; GET /fake/ explains it
//
// Facts about WeChat carry the name of the page on developers.weixin.qq.com
// that states them. What no page states is marked as observed or as undocumented.
package wechattest
