#!/bin/sh
# Publishes a message and prints its id: publish.sh CHANNEL EVENT DATA KEY
#
# KEY names what has happened, such as an order and its new state. Under one key there is one message, however often it
# is published; that makes every repetition harmless.
set -eu

[ $# -eq 4 ] || { echo "usage: $0 CHANNEL EVENT DATA KEY" >&2; exit 2; }
channel=$1 event=$2 data=$3 key=$4
: "${TIDEWIRE_URL:?}" "${TIDEWIRE_API_KEY:?}"

# What becomes part of a path or of a header must not become another.
case $channel in *[!A-Za-z0-9._:@=+~-]*) echo "$channel: not the name of a channel" >&2; exit 1 ;; esac
case $event$key in *[[:cntrl:]]*) echo "a line break, or the like, in EVENT or KEY" >&2; exit 1 ;; esac

answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# The API key goes in by standard input, since everybody on the machine can see a command line. curl repeats after 408,
# 429 and 5xx, no sooner than Retry-After asks, and after answers that never came.
if ! result=$(printf 'header = "Authorization: Bearer %s"\n' "$TIDEWIRE_API_KEY" |
  curl --config - --silent --output "$answer" --write-out '%{http_code} %{errormsg}' \
    --max-time 5 --retry 5 --retry-max-time 30 --retry-all-errors \
    --header 'Content-Type: application/json' \
    --header "Tidewire-Event: $event" \
    --header "Idempotency-Key: $key" \
    --data-raw "$data" \
    "$TIDEWIRE_URL/c/$channel"); then
  echo "no answer: ${result#* }" >&2
  exit 1
fi
status=${result%% *}
if [ "$status" != 200 ]; then
  echo "HTTP $status: $(cat "$answer")" >&2
  exit 1
fi
printf '%s\n' "$(sed 's/.*"id":"\([^"]*\)".*/\1/' "$answer")"
