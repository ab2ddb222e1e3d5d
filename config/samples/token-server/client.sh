#!/bin/sh
# Calls WeChat once for each line on stdin, with the access_token that the token server has.
set -eu
token='' fresh=0 expires=0 # fresh: until when to use the token without asking

# curl gets the credential and the token by stdin, for a process shows its arguments.
ask() { # PATH [OPTION-OF-CURL...]
  url=$TOKEN_SERVER/v1/namespaces/${WECHATTOKEN%/*}/wechattokens/${WECHATTOKEN#*/}/$1 asked=$(date +%s)
  shift
  credential=$(tr -d '[:space:]' <"$CREDENTIAL_FILE") # each time: it gets replaced
  answer=$(printf 'header = "Authorization: Bearer %s"\n' "$credential" |
    curl -sS -i --http1.1 --proto =https --suppress-connect-headers --max-time 6 --config - --cacert "$CA_FILE" "$@" "$url") || answer=
  status=$(field 'HTTP[^ ]* \([0-9]*\)')
  case $status:$(($(date +%s) < expires)) in
  200:*)
    token=$(field '.*"access_token": *"\([^"]*\)')
    fresh=$((asked + $(field '[Cc]ache-[Cc]ontrol:.*max-age=\([0-9]*\)')))
    expires=$((asked + $(field '.*"expires_in": *\([0-9]*\)')))
    ;;
  202:*) ask token ;;
  :1 | 429:1 | 5??:1) fresh=$(($(date +%s) + 5)) ;; # nobody answers, and the token that is there is good
  *)
    echo "The token server says: ${status:-nothing} $(field '\({.*\)')" >&2
    exit 1
    ;;
  esac
}

field() { printf '%s\n' "$answer" | sed -n "s/^$1.*/\1/p"; } # PATTERN

get() { # PATH
  said=$(printf 'data-urlencode = "access_token=%s"\n' "$token" |
    curl -sS --fail --max-time 10 --get --config - "${WECHAT_URL:-https://api.weixin.qq.com}$1") || {
    echo "WeChat gives no answer" >&2
    exit 1
  }
}

call() { # PATH
  [ "$(date +%s)" -lt "$fresh" ] || ask token
  get "$1"
  if printf '%s\n' "$said" | grep -Eq '"errcode": *(40001|40014|42001)[^0-9]'; then
    fingerprint=$(printf %s "$token" | sha256sum | cut -c1-16)
    ask 'invalid?wait=30s' --max-time 40 -H 'Content-Type: application/json' -d '{"fingerprint":"'"$fingerprint"'"}'
    get "$1"
  fi
  printf '%s\n' "$said"
}

while read -r line; do
  call /cgi-bin/getcallbackip
done
