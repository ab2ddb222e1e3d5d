// Package attack is the threat model, as tests. Each attacker of the list below is
// a real user of a real API server, with the permissions that it says and no others.
// Against them run the manager and the token-server, each with the permissions of its
// own ServiceAccount and the policies of config, in front of the fake WeChat. The victim
// is a WeChatToken in a namespace of its own, and a consumer that looks at each version
// of its Secret.
//
//	editor      edits a namespace (role edit): Secrets and WeChatTokens
//	writer      may write WeChatTokens in the victim's namespace, and read no Secret
//	refresher   has the role wechattoken-refresher in the victim's namespace
//	reader      may read one token from the token-server, and report it
//	pod         runs there with the default ServiceAccount, and reaches the manager's ports
//	peer        reaches the ports of both, or the wire, and has no credentials
//	liar        is WeChat, or a gateway in front of it
//	thief       has the credential of one of their ServiceAccounts, or the logs
//
// The name of a test is the rule that it keeps. `make attack` runs them all and
// prints who has tried what, and whether it held. The attacks that take a minute or
// more have the tag heavy: go test -C hack -tags integration,heavy ./attack.
package attack
