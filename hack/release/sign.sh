#!/usr/bin/env bash
# Signs the checksums of a release: sign.sh FOLDER writes SHA256SUMS.sig there, with
# ssh-keygen, which every machine with OpenSSH has, and which needs no network.
#
#   SIGNING_KEY      an SSH key: its private half, or the public one of a key that an
#                    agent holds
#   ALLOWED_SIGNERS  who may sign; left out, the file beside this one
set -euo pipefail

signers=${ALLOWED_SIGNERS:-$(dirname "${BASH_SOURCE[0]}")/allowed_signers}
fail() {
	printf 'release: %s\n' "$@" >&2
	exit 1
}
[[ -f $1/SHA256SUMS ]] || fail "there is no $1/SHA256SUMS to sign: run 'make release' first."
[[ -r ${SIGNING_KEY:-} ]] || fail "SIGNING_KEY=${SIGNING_KEY:-} is no file that can be read. It has to be an SSH key, such as 'ssh-keygen -t ecdsa' makes."

signature=$(mktemp)
trap 'rm -f "$signature"' EXIT
ssh-keygen -q -Y sign -n file -f "$SIGNING_KEY" <"$1/SHA256SUMS" >"$signature" || fail "ssh-keygen could not sign; the reason is above."
# What users do: docs/releasing.md.
ssh-keygen -q -Y verify -n file -f "$signers" -I wechat-token-operator -s "$signature" <"$1/SHA256SUMS" >/dev/null ||
	fail "nobody could verify this signature: $signers does not name the key $SIGNING_KEY. Put its public half there, after 'wechat-token-operator namespaces=\"file\" ', and commit that before the release."
install -m 644 "$signature" "$1/SHA256SUMS.sig"
printf 'release: SHA256SUMS.sig\n'
