"""Receives events with http.server: verifies each signature, drops duplicates, and keeps the latest state of each subscription.
Prints each event that changes that state, as one line of JSON. Needs standardwebhooks (PyPI), and TLS in front of it.

    WEBHOOK_SECRET=whsec_… PORT=4000 python receive.py

The ids and the versions are only in memory here. Keep them in the database that the events change, for 30 days, and write both
in one transaction.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

webhook = Webhook(os.environ["WEBHOOK_SECRET"])
seen: set[str] = set()
versions: dict[str, int] = {}
lock = Lock()


def process(event: dict) -> None:
    """Processes an event once. One that was overtaken by a later one changes nothing."""
    with lock:
        if event["eventId"] in seen:
            return
        if event["type"].startswith("subscription."):
            subscription = event["data"]["subscriptionId"]
            if event["version"] > versions.get(subscription, 0):
                versions[subscription] = event["version"]
                print(json.dumps(event), flush=True)
        seen.add(event["eventId"])


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        try:
            # The signature is that of the body as it came.
            process(webhook.verify(body, dict(self.headers)))
            status = 204
        except WebhookVerificationError:
            status = 401
        except (KeyError, TypeError, AttributeError, ValueError):
            status = 400
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Receiver).serve_forever()
