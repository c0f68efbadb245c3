#!/bin/sh
# Makes the secrets of compose.yaml, each in a file of its own in ops/compose/secrets. What is there already is kept.
#
# The folder is for you alone. The files in it may be read by everybody who gets that far: the users inside the
# containers have numbers of their own.
set -eu
umask 022
folder="$(cd "$(dirname "$0")" && pwd)/secrets"
mkdir -p "$folder"
chmod 700 "$folder"

random() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }
keep() { [ -e "$folder/$1" ] || cat > "$folder/$1"; }

random | keep hs256
random | keep console

if [ ! -e "$folder/redis_users" ] || [ ! -e "$folder/redis_url" ]; then
    password="$(random)"
    printf 'redis://tidewire:%s@redis:6379\n' "$password" > "$folder/redis_url"
    # What the user may do is docs/operations.md's, "A user of its own".
    cat > "$folder/redis_users" <<USERS
user default off
user tidewire on #$(printf %s "$password" | sha256sum | cut -d ' ' -f 1) ~{tidewire:* resetchannels &{tidewire:* -@all +hello +select +evalsha +evalsha_ro +script|load +subscribe +unsubscribe +wait +del +exists +get +getdel +hdel +hget +hgetall +hincrby +hkeys +hmget +hrandfield +hset +info +lindex +lpop +lpush +lrange +ltrim +persist +pexpire +ping +pttl +publish +rpush +sadd +scard +set +sismember +spop +srem +time +xadd +xdel +xinfo|stream +xrange +xread +xrevrange +zadd +zcard +zincrby +zrangebyscore +zrem +zrevrange +zscore
USERS
fi

# A backend's key: the nodes know its hash, and the backend has the key.
if [ ! -e "$folder/api_keys" ]; then
    key="tw_$(random)"
    printf '%s\n' "$key" > "$folder/api_key"
    printf 'backend:publish+subscribe:%s\n' "$(printf %s "$key" | sha256sum | cut -d ' ' -f 1)" > "$folder/api_keys"
fi

echo "$folder: hs256 signs tokens, api_key is your backend's, console opens /admin"
