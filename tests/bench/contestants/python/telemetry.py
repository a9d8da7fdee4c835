"""The log and the metrics, as JSON lines, which Lambda collects.

They never show a key, a body or a document.
"""

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

logger = Logger(service="subscriptions")
metrics = Metrics(namespace="Subscriptions", service="subscriptions")


def count(name: str, value: int = 1) -> None:
    """Counts. The metrics are written when the invocation ends."""
    metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
