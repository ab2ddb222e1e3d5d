#!/bin/sh
# Copies what is in the mounted Secret of a WeChatToken to Redis, again and again: copy.sh FILE=KEY...
# A %s in KEY is the appid. redis-cli takes REDIS_OPTIONS, and REDISCLI_AUTH as the password.
trap 'exit 0' TERM
cd "${TOKEN_DIR:-/etc/wechat}" || exit
while :; do
  appid=$(cat appid)
  for pair; do
    file=${pair%%=*} key=$(printf "${pair#*=}" "$appid") expiry=expires_at
    [ "$file" = access_token ] || expiry=${file}_expires_at
    # The time first: if a new token comes in between, its key expires too early for one round, and not too late.
    if end=$(cat "$expiry") && end=${end%Z} && [ -s "$file" ] && [ "$appid" ] &&
      ttl=$(($(date -u -d "${end%T*} ${end#*T}" +%s) - $(date +%s) - 60)) && [ "$ttl" -gt 0 ]; then
      # By stdin, for a process shows its arguments. A Redis that hangs must not delay the next token.
      said=$(timeout 5 redis-cli $REDIS_OPTIONS -x setex "$key" "$ttl" <"$file")
      # The first word only: behind it, an error can quote the token.
      case $said in *OK) ;; *) echo "$key: Redis did not take it ${said%% *}" >&2 ;; esac
    else
      echo "$key: not copied, for appid, $file or $expiry is missing or expired" >&2
    fi
  done
  sleep "${INTERVAL:-2}" &
  wait $!
done
