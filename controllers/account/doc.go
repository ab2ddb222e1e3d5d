// Package account decides when to call WeChat for one account, and calls it.
//
// An account is one appid with one AppSecret in one mode; WeChatTokens in whatever
// namespaces may share it. It makes five kinds of calls: Refresh brings the next
// token in its time, Force brings a new one now, Check makes sure that the token is
// still the one in use, Verify asks whether it is valid, and each type of ticket has a
// kind of its own. A State remembers of each kind when it last worked and how it last
// failed. The whole policy is two pure functions:
//
//   - [State.Next] says which call one WeChatToken needs next, when, and what keeps
//     it from what it wants: a Cause. It writes no sentences.
//   - [State.Done] says what an answer changes.
//
// Package account guarantees:
//
//   - An account has one call at a time. The accounts that need one are the keys of
//     a work queue, which hands out no key twice at once.
//   - A process that was frozen calls nobody before it could learn that another one
//     leads.
//   - A start calls nobody whose token another WeChatToken may have: it hears all first.
//   - Made-up accounts of one namespace are called at a pace, and delay no other one's.
//   - A slow account delays no other. Each call has a goroutine of its own, up to
//     maxCalls; accounts whose last call worked come first. A controller with as
//     many workers would do the same, and hold the memory of all of them while
//     nothing happens.
//   - Nothing here must survive: what must is in a [record.Record] on the Secrets.
package account
