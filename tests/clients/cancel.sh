#!/usr/bin/env bash
# Cancels a subscription for the next day with curl, safely: whatever fails on the way is tried again with the same
# idempotency key, so that it takes effect once. Prints the date on which the subscription will be cancelled.
#   CONNECT_URL=… CONNECT_API_KEY=… cancel.sh SUBSCRIPTION
set -euo pipefail

# One key for this one cancellation. Keep it with the order, and even a restart of this program may use it again.
key=$(uuidgen 2> /dev/null || cat /proc/sys/kernel/random/uuid)
body='{"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED"}'

for wait in 1 2 4 8 16 0; do
    # The answer, and its status on a line of its own; 000 if there is none.
    answer=$(curl --silent --max-time 10 --write-out '\n%{http_code}' "$CONNECT_URL/subscriptions/$1/cancel" \
        --header @- --header "X-Idempotency-Key: $key" --header 'Content-Type: application/json' --data "$body" \
        <<< "X-Api-Key: $CONNECT_API_KEY") || true
    status=${answer##*$'\n'}
    answer=${answer%$'\n'*}
    code=$(jq --raw-output '.code // empty' <<< "$answer" 2> /dev/null) || code=
    case $status/$code in
        200/*) jq --raw-output .pendingStatus.scheduledAt <<< "$answer"; exit ;;
        000/* | 429/* | 5??/* | 409/idempotency_key_locked) echo "$status $code, trying again in $wait s" >&2 ;;
        *) echo "refused: $code" >&2; exit 1 ;;
    esac
    sleep "$wait"
done
echo 'given up: nobody knows whether it was done; repeat it later with the same key' >&2
exit 1
