"""Cancels a subscription for the next day with requests, safely: a failed request is retried with the same
idempotency key, so that it takes effect once. Prints the date on which the subscription will be cancelled.

    CONNECT_URL=… CONNECT_API_KEY=… python cancel.py SUBSCRIPTION [KEY]
"""

import os
import random
import sys
import time
import uuid
from urllib.parse import quote

import requests

ATTEMPTS = 6
NO_ANSWER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.JSONDecodeError,
)


class Refused(Exception):
    """A refusal by the service. The same request would be refused again."""


def cancel(subscription: str, key: str) -> str:
    """Cancels, and returns the date of the cancellation. `key` names this one cancellation. Keep it with the order, so that
    another run of this program can use it again."""
    url = f"{os.environ['CONNECT_URL']}/subscriptions/{quote(subscription, safe='')}/cancel"
    headers = {"X-Api-Key": os.environ["CONNECT_API_KEY"], "X-Idempotency-Key": key}
    for attempt in range(ATTEMPTS):
        wait = random.uniform(0.5, 1) * 2**attempt
        try:
            answer = requests.post(
                url,
                headers=headers,
                json={"schedule": {"type": "CancelNextDay"}, "reason": "NO_NEED"},
                timeout=10,
            )
            is_problem = answer.headers.get("Content-Type") == "application/problem+json"
            body = answer.json() if answer.ok or is_problem else {}
        except NO_ANSWER as error:
            # The request may have been carried out: the answer was lost, or is incomplete.
            print(f"no answer ({type(error).__name__})", file=sys.stderr)
        else:
            if answer.ok:
                return body["pendingStatus"]["scheduledAt"]
            code = body.get("code")
            if answer.status_code != 429 and answer.status_code < 500 and code != "idempotency_key_locked":
                raise Refused(f"{answer.status_code} {code}")
            retry_after = answer.headers.get("Retry-After", "")
            wait = max(wait, float(retry_after) if retry_after.isdecimal() else 0)
            print(f"{answer.status_code} {code}", file=sys.stderr)
        if attempt + 1 < ATTEMPTS:
            time.sleep(wait)
    raise TimeoutError("the outcome is unknown; retry with the same key within 24 hours")


if __name__ == "__main__":
    key = sys.argv[2] if len(sys.argv) > 2 else str(uuid.uuid4())
    print(f"idempotency key {key}", file=sys.stderr)
    print(cancel(sys.argv[1], key))
