"""Cancels a subscription for the next day with requests, safely: whatever fails on the way is tried again with the same
idempotency key, so that it takes effect once. Prints the date on which the subscription will be cancelled.

    CONNECT_URL=… CONNECT_API_KEY=… python cancel.py SUBSCRIPTION
"""

import os
import random
import sys
import time
import uuid

import requests

ATTEMPTS = 6


class Refused(Exception):
    """The service has said no; the same request would be refused again."""


def cancel(subscription: str, key: str) -> str:
    """The date of the cancellation. `key` names this one cancellation: keep it with the order, and even a restart of this
    program may use it again."""
    for attempt in range(ATTEMPTS):
        wait = random.uniform(0.5, 1) * 2**attempt
        try:
            answer = requests.post(
                f"{os.environ['CONNECT_URL']}/subscriptions/{subscription}/cancel",
                headers={"X-Api-Key": os.environ["CONNECT_API_KEY"], "X-Idempotency-Key": key},
                json={"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED"},
                timeout=10,
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            print(f"no answer ({type(error).__name__})", file=sys.stderr)
        else:
            if answer.ok:
                return answer.json()["pendingStatus"]["scheduledAt"]
            is_problem = answer.headers["Content-Type"] == "application/problem+json"
            code = answer.json()["code"] if is_problem else None
            if answer.status_code != 429 and answer.status_code < 500 and code != "idempotency_key_locked":
                raise Refused(code)
            wait = max(wait, float(answer.headers.get("Retry-After", 0)))
            print(f"{answer.status_code} {code}", file=sys.stderr)
        if attempt + 1 < ATTEMPTS:
            time.sleep(wait)
    raise TimeoutError("nobody knows whether it was done; repeat it later with the same key")


if __name__ == "__main__":
    print(cancel(sys.argv[1], key=str(uuid.uuid4())))
