package main

// chinese is what the metrics mean, in Chinese.
var chinese = map[string]struct{ help, series string }{
	"wechattoken_ready": {
		"Secret 里的 token 有效时为 1，否则为 0。",
		"每个 WeChatToken 1 条",
	},
	"wechattoken_ready_reason": {
		"condition Ready 当前的原因，值恒为 1。",
		"每个 WeChatToken 1 条",
	},
	"wechattoken_expiration_timestamp_seconds": {
		"Secret 里的 token 何时过期。",
		"每个有 token 的 WeChatToken 1 条",
	},
	"wechattoken_refresh_timestamp_seconds": {
		"下一次刷新应在何时进行。",
		"每个有 token 的 WeChatToken 1 条",
	},
	"wechattoken_last_refresh_timestamp_seconds": {
		"Secret 里的 token 是何时取得的。",
		"每个有 token 的 WeChatToken 1 条",
	},
	"wechattoken_last_error": {
		"status.lastError 里的错误码为 1：最近一次调用微信失败。不认识的错误码记为 other，没有收到微信响应记为 none。",
		"有此错误的每个 WeChatToken 1 条",
	},
	"wechattoken_forced_refreshes_remaining": {
		"该账号还剩多少次强制刷新：24 小时内 20 次；Classic 模式为每天 1,800 次调用。只有 leader 知道。",
		"每个 WeChatToken 1 条，仅 leader",
	},
	"wechattoken_calls_remaining": {
		"该账号今天还剩多少次 /cgi-bin/token 调用，上限 2,000；仅 Classic 模式。只有 leader 知道。",
		"每个 Classic 模式的 WeChatToken 1 条，仅 leader",
	},
	"wechattoken_verify_calls_remaining": {
		"该账号今天还剩多少次 get_api_domain_ip 调用，上限 500：用来询问 token 是否有效。最后 100 次留给“token 已失效”的上报。只有 leader 知道。",
		"每个 WeChatToken 1 条，仅 leader",
	},
	"wechattoken_clock_skew_seconds": {
		"本机时钟比微信快多少秒，以最近一次响应为准。收到第一次响应之后才有。",
		"1 条",
	},
	"wechattoken_refreshes_total": {
		"获取 token 的调用次数，按结果区分：success（拿到新 token）、unchanged（仍是正在用的那个）、failure（失败）。检查得到的仍是正在用的 token 时不计。失败时 errcode 是微信返回的错误码；不认识的错误码记为 other，没有收到微信响应记为 none。其余情况为空。",
		"2 条，另外每个已知错误码以及 other、none 各 1 条",
	},
	"wechattoken_wechat_request_duration_seconds": {
		"调用微信的耗时，endpoint 是路径的最后一段：stable_token、token、get_api_domain_ip（询问 token 是否有效）、getticket。result 是 success 或 failure。",
		"最多 8 个直方图",
	},
	"wechattoken_invalid_token_reports_total": {
		"收到的“token 已失效”上报（wechattoken.io/invalid-token），按处理结果区分：invalid（确已失效，已替换）、valid（微信认为有效）、outdated（上报之前就已替换）。微信没有响应时记为 unanswered，有了响应再记一次。",
		"4 条",
	},
	"wechattoken_replaced_elsewhere_total": {
		"调用时发现 token 已被别处替换的次数：同一 appid 的另一个集群或环境，或某个人。",
		"1 条",
	},
	"wechattoken_secret_repairs_total": {
		"因为被别人改动而重新写入 Secret 的次数。",
		"1 条",
	},
	"wechattoken_rotation_duration_seconds": {
		"从微信返回新 token，到等着它的 Secret 写入完成，用了多长时间。",
		"1 个直方图",
	},
	"wechattoken_namespace_unreadable": {
		"--namespaces 里 operator 无权列出 WeChatToken、Secret 或（有 --consumers 时）工作负载、因而没有服务的命名空间，值恒为 1。",
		"每个这样的命名空间 1 条",
	},
	"wechattoken_build_info": {
		"本程序的构建信息，值恒为 1。",
		"1 条",
	},
}
