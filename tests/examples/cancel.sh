#!/usr/bin/env bash
# Cancels a subscription for the next day with curl, safely: a failed request is retried with the same idempotency key, so that
# it takes effect once. Prints the date on which the subscription will be cancelled.
#   CONNECT_URL=… CONNECT_API_KEY=… cancel.sh SUBSCRIPTION [KEY]
set -euo pipefail

# One key for this one cancellation. Keep it with the order, so that another run of this program can use it again.
key=${2:-$(uuidgen 2> /dev/null || cat /proc/sys/kernel/random/uuid)}
echo "idempotency key $key" >&2
subscription=$(jq --null-input --raw-output --arg id "$1" '$id | @uri')
body='{"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED"}'

for wait in 1 2 4 8 16 0; do
    # The answer, and a last line with its status and the time to wait. The status is 000 if there was no answer or an
    # incomplete one. (If the answer breaks off within its headers, curl takes it for complete and empty.)
    answer=$(curl --silent --max-time 10 --write-out '\n%{http_code} %header{retry-after}' --header @- \
        --header "X-Idempotency-Key: $key" --header 'Content-Type: application/json' --data "$body" \
        "$CONNECT_URL/subscriptions/$subscription/cancel" <<< "X-Api-Key: $CONNECT_API_KEY") || answer=$'\n000 '
    read -r status retry_after <<< "${answer##*$'\n'}"
    answer=${answer%$'\n'*}
    code=$(jq --raw-output '.code // empty' <<< "$answer" 2> /dev/null) || code=
    date=$(jq --raw-output '.pendingStatus.scheduledAt // empty' <<< "$answer" 2> /dev/null) || date=
    case $status/$code in
        200/*) [ -z "$date" ] || { echo "$date"; exit; } ;;
        000/* | 429/* | 5??/* | 409/idempotency_key_locked) echo "$status $code" >&2 ;;
        *) echo "refused: $status $code" >&2; exit 1 ;;
    esac
    [[ ! $retry_after =~ ^[0-9]+$ ]] || [ "$wait" -ge "$retry_after" ] || wait=$retry_after
    sleep "$wait"
done
echo 'the outcome is unknown; retry with the same key within 24 hours' >&2
exit 1
