"""Executes the cancellations that are due.

The index is eventually consistent and may have outdated entries. The condition of the write decides.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

from database import (
    AT_ONCE,
    DUE_SHARDS,
    IDEMPOTENCY,
    SUBSCRIPTIONS,
    ConditionFailed,
    client,
    now,
    to_the_second,
)
from telemetry import count, logger

# A layer keeps the configuration of its first use, so this one is not shared with requests. The layer is used by
# many threads, which is safe with this configuration: the defaults are in place before that first use, and without a
# local cache nothing in it changes afterwards.
config = IdempotencyConfig()
store = DynamoDBPersistenceLayer(table_name=IDEMPOTENCY, key_attr="pk", boto3_client=client)

# Kept between invocations, as its threads are.
pool = ThreadPoolExecutor(AT_ONCE)


def due_in(shard: int, instant: str) -> list[dict]:
    pages = client.get_paginator("query").paginate(
        TableName=SUBSCRIPTIONS,
        IndexName="due",
        KeyConditionExpression="dueShard = :shard AND dueAt <= :now",
        ExpressionAttributeValues={":shard": {"N": str(shard)}, ":now": {"S": instant}},
    )
    return [item for page in pages for item in page["Items"]]


@idempotent_function(data_keyword_argument="cancellation_id", persistence_store=store, config=config)
def execute(*, cancellation_id: str, entry: dict) -> str:
    try:
        client.update_item(
            TableName=SUBSCRIPTIONS,
            Key={"pk": entry["pk"]},
            UpdateExpression=(
                "SET version = version + :one, document.#status = :cancelled, "
                "document.cancelledAt = :dueAt, document.updatedAt = :now "
                "REMOVE document.pendingStatus, dueShard, dueAt"
            ),
            ConditionExpression="cancellationId = :id AND dueAt = :dueAt",
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":one": {"N": "1"},
                ":cancelled": {"S": "CANCELLED"},
                ":now": {"S": now()},
                ":id": {"S": cancellation_id},
                ":dueAt": entry["dueAt"],
            },
        )
    except ConditionFailed:
        return "skipped"
    logger.info("executed", cancellation=cancellation_id)
    return "executed"


def outcome(entry: dict) -> str:
    cancellation_id = entry["cancellationId"]["S"]
    try:
        return execute(cancellation_id=cancellation_id, entry=entry)
    except Exception:
        # The entry stays in the index, for the next sweep.
        logger.exception("failed", cancellation=cancellation_id)
        return "failed"


def execute_cancellations(context) -> dict:
    config.register_lambda_context(context)
    instant = to_the_second(datetime.now(timezone.utc))
    shards = pool.map(lambda shard: due_in(shard, instant), range(DUE_SHARDS))
    due = [entry for shard in shards for entry in shard]
    outcomes = Counter(pool.map(outcome, due))
    summary = {"due": len(due)} | {name: outcomes[name] for name in ("executed", "skipped", "failed")}
    logger.info("swept", **summary)
    count("CancellationsExecuted", summary["executed"])
    count("CancellationsFailed", summary["failed"])
    return summary
