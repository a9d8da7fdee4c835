"""Cancels a subscription for a future date, once for each idempotency key.

Decisions that depend on the clock or on the state are made within the idempotent part. So a repeated request gets the
same answer as the first time, even if the subscription has changed since.
"""

import json
import re
from datetime import date, datetime, time, timedelta
from uuid import uuid4
from zlib import crc32
from zoneinfo import ZoneInfo

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyValidationError,
)

from admit import Admitted, admit
from answers import Refusal, answer
from database import (
    AUDIT,
    DUE_SHARDS,
    IDEMPOTENCY,
    SUBSCRIPTIONS,
    ConditionFailed,
    client,
    now,
    to_attribute,
    to_the_second,
)
from telemetry import count

REASONS = {
    "BETTER_DEAL_PRICE",
    "NOT_HAPPY_MISSING_FUNCTIONS",
    "NOT_HAPPY_COVERAGE_SLA",
    "NOT_HAPPY_COMPLEX_ADMIN",
    "NOT_HAPPY_SUPPORT_ENGAGEMENT",
    "FRAUD",
    "FRAUD_ATTEMPT",
    "TEST_OR_MARKETING",
    "NO_NEED",
    "WRONG_ORDER",
    "OTHER",
}


def is_date(text) -> bool:
    # `fromisoformat` alone would also read `20260201` and `2026-W05-7`.
    if not isinstance(text, str) or not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def is_schedule(schedule) -> bool:
    if not isinstance(schedule, dict):
        return False
    if schedule.get("type") == "CancelAtDate":
        return is_date(schedule.get("date"))
    return schedule.get("type") in ("CancelNextDay", "CancelAtBeginningOfNextMonth")


def is_comment_enough(request: dict) -> bool:
    if "comment" not in request:
        return request["reason"] != "OTHER"
    return isinstance(request["comment"], str) and len(request["comment"]) <= 1_000


def read(body: str | None) -> dict:
    try:
        request = json.loads(body or "")
    except ValueError:
        raise Refusal(400, "malformed_json") from None
    if not (
        isinstance(request, dict)
        and is_schedule(request.get("schedule"))
        and isinstance(request.get("reason"), str)
        and request["reason"] in REASONS
        and is_comment_enough(request)
        and isinstance(request.get("metadata", {}), dict)
    ):
        raise Refusal(400, "validation_failed")
    return request


def effective_date(schedule: dict, today: date) -> date:
    match schedule["type"]:
        case "CancelNextDay":
            return today + timedelta(days=1)
        case "CancelAtBeginningOfNextMonth":
            return (today.replace(day=1) + timedelta(days=31)).replace(day=1)
        case _:
            return date.fromisoformat(schedule["date"])


config = IdempotencyConfig(
    event_key_jmespath="[tenant, idempotencyKey]",
    payload_validation_jmespath="[method, path, body]",
    expires_after_seconds=86_400,
)
store = DynamoDBPersistenceLayer(table_name=IDEMPOTENCY, key_attr="pk", boto3_client=client)


def cancel(*, identity: dict, admitted: Admitted, request: dict) -> dict:
    """Cancels. By `identity` the idempotency layer tells one request from another."""
    document = admitted.document
    if document["status"] == "CANCELLED":
        return answer(409, {"code": "subscription_already_cancelled"})

    zone = ZoneInfo(admitted.time_zone)
    today = datetime.now(zone).date()
    day = effective_date(request["schedule"], today)
    if day <= today:
        return answer(400, {"code": "validation_failed"})
    # If midnight occurs twice, this is the first one. If clocks skip midnight, this is the instant at which they do.
    effective_at = to_the_second(datetime.combine(day, time.min, zone))

    requested_at = now()
    cancellation_id = str(uuid4())
    pending_status = {"status": "CANCELLED", "scheduledAt": day.isoformat()}
    cancellation = {
        "cancellationId": cancellation_id,
        "effectiveAt": effective_at,
        "reason": request["reason"],
        "requestedAt": requested_at,
        "requestedBy": admitted.key_id,
    }
    if "comment" in request:
        cancellation["comment"] = request["comment"]
    if "metadata" in request:
        # As text: a DynamoDB map can't hold every JSON value.
        cancellation["metadata"] = json.dumps(request["metadata"])
    try:
        client.update_item(
            TableName=SUBSCRIPTIONS,
            Key={"pk": {"S": admitted.pk}},
            UpdateExpression=(
                "SET version = :next, document.updatedAt = :now, document.pendingStatus = :pending, "
                "cancellationId = :id, cancellation = :cancellation, dueShard = :shard, dueAt = :due"
            ),
            ConditionExpression="version = :version",
            ExpressionAttributeValues={
                ":version": {"N": str(admitted.version)},
                ":next": {"N": str(admitted.version + 1)},
                ":now": {"S": requested_at},
                ":pending": to_attribute(pending_status),
                ":id": {"S": cancellation_id},
                ":cancellation": to_attribute(cancellation),
                ":shard": {"N": str(crc32(document["subscriptionId"].encode()) % DUE_SHARDS)},
                ":due": {"S": effective_at},
            },
        )
    except ConditionFailed:
        # Raised, so that it is not recorded: the same request may succeed in a moment.
        raise Refusal(409, "conflict") from None
    # After the change: an entry of what was not done would be worse than none. If the function dies in between, there is none.
    if AUDIT:
        entry = {
            "pk": admitted.pk,
            "revision": str(admitted.version + 1).zfill(20),
            "at": requested_at,
            "cause": "SCHEDULED",
            "source": "API",
            "requestedBy": {"keyId": admitted.key_id},
            "requestId": identity["requestId"],
            "cancellation": cancellation,
            "status": document["status"],
            "pendingStatus": pending_status,
        }
        client.put_item(
            TableName=AUDIT,
            Item={name: to_attribute(value) for name, value in entry.items()},
            ConditionExpression="attribute_not_exists(pk)",
        )
    count("CancellationsScheduled")
    return answer(200, document | {"updatedAt": requested_at, "pendingStatus": pending_status})


cancel_once = idempotent_function(
    cancel, data_keyword_argument="identity", persistence_store=store, config=config
)


def cancel_subscription(event: dict, context) -> dict:
    admitted = admit(event, "subscriptions:cancel")
    idempotency_key = event["headers"].get("x-idempotency-key")
    identity = {
        "tenant": admitted.tenant,
        "requestId": context.aws_request_id,
        "idempotencyKey": idempotency_key,
        "method": event["requestContext"]["http"]["method"],
        "path": event["rawPath"],
        "body": event.get("body"),
    }
    request = read(event.get("body"))
    if idempotency_key is None:
        return cancel(identity=identity, admitted=admitted, request=request)

    config.register_lambda_context(context)
    try:
        return cancel_once(identity=identity, admitted=admitted, request=request)
    except IdempotencyValidationError:
        raise Refusal(422, "idempotency_key_mismatch") from None
    except IdempotencyAlreadyInProgressError:
        raise Refusal(409, "idempotency_key_locked") from None
