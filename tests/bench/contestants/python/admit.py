"""Authenticates a request and loads its subscription, in one read.

The key `ck_<tenant>_<keyId>_<secret><checksum>` names its tenant, so nothing has to be read before the rest.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from hmac import compare_digest
from zlib import crc32

from answers import Refusal
from database import SUBSCRIPTIONS, TENANTS, client, from_attribute

TOKEN = re.compile(r"(ck_([a-z0-9-]{1,32})_([A-Za-z0-9]{1,32})_([0-9a-f]{64}))([0-9a-f]{8})")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Admitted:
    tenant: str
    key_id: str
    time_zone: str
    pk: str
    document: dict
    version: int


def is_over(expires_at: str) -> bool:
    return datetime.fromisoformat(expires_at) <= datetime.now(timezone.utc)


def admit(event: dict, scope: str) -> Admitted:
    token = event["headers"].get("x-api-key")
    if token is None:
        raise Refusal(401, "api_key_missing")
    parts = TOKEN.fullmatch(token)
    if parts is None or crc32(parts[1].encode()) != int(parts[5], 16):
        raise Refusal(401, "api_key_invalid")
    _, tenant, key_id, secret, _ = parts.groups()

    subscription_id = event.get("pathParameters", {}).get("subscriptionId", "").lower()
    if not UUID.fullmatch(subscription_id):
        raise Refusal(400, "invalid_subscription_id")

    key_pk, subscription_pk = f"{tenant}#{key_id}", f"{tenant}#{subscription_id}"
    # Only a cancellation needs the tenant's time zone.
    tenants = [key_pk, tenant] if scope == "subscriptions:cancel" else [key_pk]
    found = client.batch_get_item(
        RequestItems={
            TENANTS: {"ConsistentRead": True, "Keys": [{"pk": {"S": pk}} for pk in tenants]},
            SUBSCRIPTIONS: {"ConsistentRead": True, "Keys": [{"pk": {"S": subscription_pk}}]},
        }
    )
    if found.get("UnprocessedKeys"):
        raise Refusal(503, "temporarily_unavailable")

    of_tenants = {item["pk"]["S"]: item for item in found["Responses"].get(TENANTS, [])}
    key = of_tenants.get(key_pk)
    if (
        key is None
        or not compare_digest(sha256(bytes.fromhex(secret)).digest(), key["secretHash"]["B"])
        or "revokedAt" in key
        or ("expiresAt" in key and is_over(key["expiresAt"]["S"]))
    ):
        raise Refusal(401, "api_key_invalid")
    if {"S": scope} not in key["scopes"]["L"]:
        raise Refusal(403, "insufficient_scope")

    items = found["Responses"].get(SUBSCRIPTIONS)
    if not items:
        raise Refusal(404, "subscription_not_found")
    return Admitted(
        tenant=tenant,
        key_id=key_id,
        time_zone=of_tenants[tenant]["timeZone"]["S"] if tenant in of_tenants else "UTC",
        pk=subscription_pk,
        document=from_attribute(items[0]["document"]),
        version=int(items[0]["version"]["N"]),
    )
