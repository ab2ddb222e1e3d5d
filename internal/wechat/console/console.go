// Package console says where the pages of WeChat's console are. Those of 公众号
// have moved to 微信开发者平台 in 2025
// (developers.weixin.qq.com/doc/subscription/guide/dev/migration.html).
package console

const (
	// Keys is the page with the AppSecret and the IP allow-list.
	Keys = "developers.weixin.qq.com/platform: 我的业务, 公众号 / 服务号, 基础信息, 开发密钥 (小程序: mp.weixin.qq.com, 管理, 开发管理, 开发设置)"

	// Diagnosis is the page that tells of a call by its rid: who made it, with what, and
	// what was wrong. It knows those of 7 days (oplatform/developers/basic_func/api_diagnosis).
	Diagnosis = "developers.weixin.qq.com/platform: API 诊断"

	// CallLog is the page with the calls of 7 days by interface, and the addresses that
	// they came from (oplatform/developers/basic_func/APILog).
	CallLog = "developers.weixin.qq.com/platform: API 调用日志"

	// Interfaces is the page with what the account may call, and how often a day.
	// A 小程序 has none.
	Interfaces = "developers.weixin.qq.com/platform: 我的业务, 公众号 / 服务号, 接口管理, 接口权限与额度"
)
