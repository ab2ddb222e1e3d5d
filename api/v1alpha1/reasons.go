package v1alpha1

// Types of the conditions in status. Ready is always there once the operator
// has seen the object. The next two are there only while True, as kstatus
// asks: https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus.
// ConsumersCurrent is there when the manager runs with --consumers, or should.
const (
	// ConditionReady is True while the Secret carries a token that works and
	// belongs to the spec. It follows the token, not the last attempt to
	// refresh it.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the operator retries a transient problem.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True while someone has to act.
	ConditionStalled = "Stalled"
	// ConditionConsumersCurrent is True while each new token reaches the
	// workloads that use the Secret. It says nothing of the token itself.
	ConditionConsumersCurrent = "ConsumersCurrent"
	// ConditionTicketsReady is there with spec.tickets, and True while the Secret
	// carries a ticket of each type that can still be trusted.
	ConditionTicketsReady = "TicketsReady"
)

// Reasons of the conditions. They are API: scripts and alerts match on them,
// and docs/runbooks/reasons.md has a remedy for each.
const (
	// ReasonTokenValid says that all is well.
	ReasonTokenValid = "TokenValid"
	// ReasonSuspended says that spec.suspend keeps the operator away.
	ReasonSuspended = "Suspended"
	// ReasonTokenExpired says that the token expired while its replacement was
	// being fetched.
	ReasonTokenExpired = "TokenExpired"
	// ReasonTokenRevoked says that WeChat called a token invalid before its time,
	// and that it was not this operator that ended it. Ready is False until the
	// next token is there, and True with this reason until the one after that.
	ReasonTokenRevoked = "TokenRevoked"
	// ReasonCheckFailed says that WeChat did not answer whether the token is still the
	// current one, or valid.
	ReasonCheckFailed = "CheckFailed"
	// ReasonRefreshDeferred says that a forced refresh waits: WeChat wants 30 s
	// between two of them.
	ReasonRefreshDeferred = "RefreshDeferred"
	// ReasonRefreshBudgetExhausted says that the forced refreshes of the last
	// 24 hours are used up.
	ReasonRefreshBudgetExhausted = "RefreshBudgetExhausted"
	// ReasonRefreshNotAllowed says that a forced refresh is wanted, and that
	// spec.forcedRefresh forbids it, or that it must be requested at the source.
	ReasonRefreshNotAllowed = "RefreshNotAllowed"
	// ReasonRefreshRefused says that WeChat took a forced refresh and gave the
	// old token back.
	ReasonRefreshRefused = "RefreshRefused"

	// ReasonSourceNotAllowed says that the WeChatToken that sourceRef names is not there, or
	// does not allow this namespace. Nobody learns which.
	ReasonSourceNotAllowed = "SourceNotAllowed"
	// ReasonAppSecretMissing says that the Secret named in appSecretRef, or its
	// key, is not there or empty.
	ReasonAppSecretMissing = "AppSecretMissing"
	// ReasonSecretConflict says that the target Secret belongs to somebody else.
	ReasonSecretConflict = "SecretConflict"
	// ReasonSecretContested says that somebody else changes the target Secret back
	// again and again.
	ReasonSecretContested = "SecretContested"
	// ReasonNamespaceTerminating says that the namespace is being deleted, so that no
	// Secret can be written there.
	ReasonNamespaceTerminating = "NamespaceTerminating"
	// ReasonSecretRefused says that the API server refused to write the target
	// Secret, or to read a Secret: an admission policy, a quota, or missing
	// permissions.
	ReasonSecretRefused = "SecretRefused"

	// ReasonWeChatUnavailable says that WeChat did not answer, or answered that
	// it is busy, or answered something unknown. With an errcode that is unknown, and
	// has come back for an hour, Stalled is True.
	ReasonWeChatUnavailable = "WeChatUnavailable"
	// ReasonMinuteQuotaExceeded is errcode 45011.
	ReasonMinuteQuotaExceeded = "MinuteQuotaExceeded"
	// ReasonDayQuotaExceeded is errcode 45009, or the operator's own daily
	// limit, which stops it before WeChat does.
	ReasonDayQuotaExceeded = "DayQuotaExceeded"
	// ReasonAppIDInvalid is errcode 40013.
	ReasonAppIDInvalid = "AppIDInvalid"
	// ReasonAppSecretInvalid is errcode 40001 or 40125, or says that what
	// appSecretRef names is not 32 hex digits, and so was not sent.
	ReasonAppSecretInvalid = "AppSecretInvalid"
	// ReasonAppSecretFrozen is errcode 40243.
	ReasonAppSecretFrozen = "AppSecretFrozen"
	// ReasonRequestRejected is an errcode that says the request is wrong for
	// this account: 40002, 41002, 41004, 43002, 43003, 47001, 48001, 48017, 50001,
	// 61024, and those of WeChat's list from 40000 to 44999, 46000 to 50999 and 61000
	// to 61999 that have no reason of their own.
	ReasonRequestRejected = "RequestRejected"
	// ReasonIPNotAllowed is errcode 40164, 45035 or 61004.
	ReasonIPNotAllowed = "IPNotAllowed"
	// ReasonIPConfirmationPending is errcode 89501 or 89503.
	ReasonIPConfirmationPending = "IPConfirmationPending"
	// ReasonIPBlocked is errcode 89506 (24 hours) or 89507 (1 hour).
	ReasonIPBlocked = "IPBlocked"
	// ReasonAccountRestricted is errcode 48004, 50002, 50004 or 50007.
	ReasonAccountRestricted = "AccountRestricted"

	// ReasonConsumersUpToDate says that the workloads have the token, or get it by
	// themselves.
	ReasonConsumersUpToDate = "ConsumersUpToDate"
	// ReasonConsumersUnwatched says that the spec asks for Touch or restart, and
	// that the manager runs without --consumers.
	ReasonConsumersUnwatched = "ConsumersUnwatched"
	// ReasonConsumersStale says that workloads use the Secret as env or through
	// subPath, and that nobody restarts them.
	ReasonConsumersStale = "ConsumersStale"
	// ReasonTouchRefused says that the API server refused the touch of pods.
	ReasonTouchRefused = "TouchRefused"
	// ReasonRestarting says that workloads are being restarted for the token.
	ReasonRestarting = "Restarting"
	// ReasonRestartWaits says that a restart waits for the end of an earlier
	// rollout, for a while after an earlier restart, for the end of a pause, or for
	// a PodDisruptionBudget.
	ReasonRestartWaits = "RestartWaits"
	// ReasonRestartLate says that the old token was invalid before all pods had the
	// new one.
	ReasonRestartLate = "RestartLate"
	// ReasonRestartUndone says that somebody else takes back what restarts a workload.
	ReasonRestartUndone = "RestartUndone"
	// ReasonRestartRefused says that the API server refused a restart.
	ReasonRestartRefused = "RestartRefused"
	// ReasonRestartManual says that a workload to restart does not replace all of
	// its pods by itself: its update strategy is OnDelete or has a partition.
	ReasonRestartManual = "RestartManual"
	// ReasonRestartTargetMissing says that spec.restart names a workload that is
	// not there.
	ReasonRestartTargetMissing = "RestartTargetMissing"
	// ReasonTicketsValid says that all is well with the tickets.
	ReasonTicketsValid = "TicketsValid"
	// ReasonTicketPending says that a ticket was not there yet, or that WeChat
	// took the token of the call for invalid, and is asked about it first.
	ReasonTicketPending = "TicketPending"
	// ReasonTicketExpired says that nothing has confirmed a ticket for too long.
	// The Secret still holds it.
	ReasonTicketExpired = "TicketExpired"
	// ReasonTicketUnauthorized says that WeChat gives this account no such
	// ticket: errcode 48001 and the like.
	ReasonTicketUnauthorized = "TicketUnauthorized"
)
