"""The tables, and the one client for them.

The client and its connections outlive an invocation. Several threads may use it. It starts faster than a resource of
`boto3`, which would first read another model of the service.
"""

import os
from datetime import datetime, timezone

import boto3
from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.config import Config

AT_ONCE = 16
# Number of partitions of the index `due` over which the pending cancellations are spread.
DUE_SHARDS = 16

SUBSCRIPTIONS = os.environ["SUBSCRIPTIONS_TABLE"]
IDEMPOTENCY = os.environ["IDEMPOTENCY_TABLE"]
TENANTS = os.environ["TENANTS_TABLE"]

# Table for an entry of each cancellation, of who did it and why. Without it, none is written.
AUDIT = os.environ.get("AUDIT_TABLE")

client = boto3.client("dynamodb", config=Config(max_pool_connections=AT_ONCE))
ConditionFailed = client.exceptions.ConditionalCheckFailedException

to_attribute = TypeSerializer().serialize
from_attribute = TypeDeserializer().deserialize


def now() -> str:
    instant = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return instant.replace("+00:00", "Z")


def to_the_second(at: datetime) -> str:
    """Returns an instant as text that sorts by time."""
    return at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
