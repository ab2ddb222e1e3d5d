#!/usr/bin/env bash
# Installs what tests run and the machine lacks: hack/apt.sh COMMAND=PACKAGE...
# Does nothing where every COMMAND is there. A COMMAND may be the path of a file.
set -euo pipefail

commands=() packages=()
for pair in "$@"; do
	command -v "${pair%%=*}" >/dev/null || [[ -e ${pair%%=*} ]] && continue
	commands+=("${pair%%=*}") packages+=("${pair#*=}")
done
((${#commands[@]})) || exit 0

fail() {
	echo "The tests need ${commands[*]}, and this machine has no such command; $1: install ${packages[*]}, and run this again." >&2
	exit 1
}
command -v apt-get >/dev/null || fail "there is no apt-get to install it with"
((EUID == 0)) || fail "only root can install it"
echo "installing ${packages[*]} for the tests"
export DEBIAN_FRONTEND=noninteractive
{ apt-get -qq update && apt-get -qq install -y --no-install-recommends "${packages[@]}"; } >/dev/null || fail "apt-get could not install it"
