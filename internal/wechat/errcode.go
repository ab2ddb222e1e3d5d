package wechat

import (
	"maps"
	"slices"
	"time"

	"wechattoken.io/operator/internal/wechat/console"
)

// Class says what ends a failure.
type Class int

// The classes.
const (
	// Transient passes by itself: WeChat is busy, out of reach, or answers
	// something unknown.
	Transient Class = iota
	// MinuteQuota passes with the next minute.
	MinuteQuota
	// DayQuota passes with the next day, or when somebody clears the quota.
	DayQuota
	// WrongRequest ends when somebody changes the appid or the AppSecret.
	WrongRequest
	// Refused ends when somebody acts at WeChat or in the network.
	Refused
)

// Errcode is what an errcode of WeChat's means.
type Errcode struct {
	Class Class

	// Wait is how long to wait after the first failure. It is zero where the
	// class decides: Transient and MinuteQuota.
	Wait time.Duration
	// Longest bounds the wait, which doubles with each failure in a row. Zero
	// means Wait each time.
	Longest time.Duration

	// Reason of the condition Ready, a constant of package v1alpha1.
	Reason string
	// Remedy is what somebody has to do: one sentence without full stop, in which
	// {caller} is the address that WeChat saw.
	Remedy string

	// Ungranted says that WeChat does not grant the interface to the account.
	// The fields above hold for a token, and the waits for a ticket, too.
	Ungranted bool
	// InvalidToken says of a call with an access_token that this token is invalid.
	InvalidToken bool
}

// The meanings that several errcodes share.
var (
	// unavailable is also the meaning of an unknown errcode, so that the call is
	// tried again.
	unavailable = Errcode{Class: Transient, Reason: "WeChatUnavailable", Remedy: "The operator tries again"}

	// wrongToken is what a call for a token never gets.
	wrongToken = Errcode{Class: Transient, Reason: unavailable.Reason, Remedy: unavailable.Remedy, InvalidToken: true}

	wrongSecret = Errcode{
		Class: WrongRequest, Wait: time.Hour, Reason: "AppSecretInvalid",
		Remedy: "Put the AppSecret of this appid into the Secret of spec.appSecretRef; if it is lost, reset it at " + console.Keys,
	}
	// unlisted is an errcode of those ranges of the page of return codes in which a
	// person has to change something: a wrong argument, a missing right, a frozen
	// account.
	unlisted = Errcode{
		Class: Refused, Wait: 5 * time.Minute, Longest: 30 * time.Minute, Reason: "RequestRejected",
		Remedy: "Look the errcode up in WeChat's table of return codes (全局返回码), and act as it says",
	}
	incomplete = Errcode{
		Class: WrongRequest, Wait: time.Hour, Reason: "RequestRejected",
		Remedy: "Look for a proxy that changes requests, and check spec.appID and the AppSecret",
	}
	notAllowed = Errcode{
		Class: Refused, Wait: 5 * time.Minute, Longest: 30 * time.Minute, Reason: "IPNotAllowed",
		Remedy: "Add {caller} to the IP allow-list (IP白名单) at " + console.Keys,
	}
	unconfirmed = Errcode{
		Class: Refused, Wait: 5 * time.Minute, Longest: 30 * time.Minute, Reason: "IPConfirmationPending",
		Remedy: "The administrator of the account must confirm {caller} in the WeChat message that was sent to them",
	}
	restricted = Errcode{
		Class: Refused, Wait: 5 * time.Minute, Longest: 30 * time.Minute, Reason: "AccountRestricted",
		Remedy: "The account is restricted or frozen; see the notices at mp.weixin.qq.com",
	}
)

// errcodes has a row for each errcode that the endpoints of [Client] are known to
// answer, from their pages on developers.weixin.qq.com, from the page of return
// codes (全局返回码), and seen in the wild.
var errcodes = map[int64]Errcode{
	-1:    unavailable, // system busy
	-1000: unavailable, // system error, with access_token null

	45011: {Class: MinuteQuota, Reason: "MinuteQuotaExceeded", Remedy: "The operator goes on in the next minute"},
	45009: {
		Class: DayQuota, Wait: time.Hour, Reason: "DayQuotaExceeded",
		Remedy: "Clear the quota at " + console.Interfaces + ", or with clear_quota/v2 (10 times a month), and find who else calls",
	},

	// Of a call for a token: the AppSecret is wrong, or of another account.
	40001: {Class: wrongSecret.Class, Wait: wrongSecret.Wait, Reason: wrongSecret.Reason, Remedy: wrongSecret.Remedy, InvalidToken: true},
	40125: wrongSecret,
	40013: {Class: WrongRequest, Wait: time.Hour, Reason: "AppIDInvalid", Remedy: "Correct spec.appID"},
	40002: incomplete, // grant_type
	47001: incomplete, // the body is no JSON
	41002: incomplete, // appid missing
	41004: incomplete, // AppSecret missing
	61024: {
		Class: WrongRequest, Wait: time.Hour, Reason: "RequestRejected",
		Remedy: "A third-party platform (第三方平台) manages this account; its token must come from there",
	},

	41001: unavailable, // a call with a token arrived without it
	40014: wrongToken,
	42001: wrongToken, // it has expired

	40164: notAllowed,
	61004: notAllowed, // the address is not registered
	45035: notAllowed, // the same, of a call with a token
	89501: unconfirmed,
	89503: unconfirmed, // the administrator got a message
	89506: {
		Class: Refused, Wait: 24 * time.Hour, Reason: "IPBlocked",
		Remedy: "The administrator refused {caller} twice: WeChat blocks it for 24 hours",
	},
	89507: {
		Class: Refused, Wait: time.Hour, Reason: "IPBlocked",
		Remedy: "The administrator refused {caller}: WeChat blocks it for 1 hour",
	},

	43002: { // require POST
		Class: Refused, Wait: 5 * time.Minute, Longest: 30 * time.Minute, Reason: "RequestRejected",
		Remedy: "Look for a gateway or a proxy on the way to WeChat that turns the POST into another request",
	},
	43003: { // require https
		Class: Refused, Wait: 5 * time.Minute, Longest: 30 * time.Minute, Reason: "RequestRejected",
		Remedy: "Look for a gateway or a proxy on the way to WeChat that speaks HTTP to it",
	},
	48017: { // the address that was called has been retired
		Class: Refused, Wait: 5 * time.Minute, Longest: 30 * time.Minute, Reason: "RequestRejected",
		Remedy: "Look for an old address of WeChat in hostAliases, a hosts file, a proxy or a firewall, and let DNS resolve the host of --wechat-url instead",
	},

	48001: {
		Class: Refused, Wait: time.Hour, Reason: "RequestRejected", Ungranted: true,
		Remedy: "WeChat does not grant this interface to the account: have the account verified (认证), or the interface granted, at " + console.Interfaces,
	},
	50001: { // the same, or the host is not that of the account's region
		Class: Refused, Wait: time.Hour, Reason: "RequestRejected", Ungranted: true,
		Remedy: "WeChat does not grant this interface to the account: have it granted at " + console.Interfaces + "; of an account registered overseas, see that --wechat-url is the host for it",
	},

	40243: {
		Class: Refused, Wait: 5 * time.Minute, Longest: 30 * time.Minute, Reason: "AppSecretFrozen",
		Remedy: "Unfreeze the AppSecret at " + console.Keys + "; it takes 10 minutes",
	},
	48004: restricted, // the API is forbidden for irregularities
	50002: restricted, // the user is limited
	50004: restricted, // the token API is forbidden to this account
	50007: restricted, // the account is frozen
}

// meaning is the row of an errcode, or what one without a row and none mean. By the
// page of return codes 40000 to 44999 are wrong arguments, tokens and methods, 46000 to
// 50999 wrong data, missing rights and restrictions, and 61000 to 61999 those of
// third-party platforms. 45000 to 45999 are limits, which may pass.
func meaning(code int64) Errcode {
	if m, known := errcodes[code]; known {
		return m
	}
	if code >= 40000 && code < 45000 || code >= 46000 && code < 51000 || code >= 61000 && code < 62000 {
		return unlisted
	}
	return unavailable
}

// Codes are the errcodes that are known, in order.
func Codes() []int64 { return slices.Sorted(maps.Keys(errcodes)) }
