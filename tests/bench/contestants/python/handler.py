"""The three functions behind one handler: reading a subscription, cancelling one, and executing due ones.

A request is logged and counted when it is answered.
"""

import json

from admit import admit
from answers import Refusal, answer
from cancel import cancel_subscription
from execute import execute_cancellations
from telemetry import count, logger, metrics


def respond(event: dict, context) -> dict:
    try:
        match event["routeKey"]:
            case "GET /subscriptions/{subscriptionId}":
                return answer(200, admit(event, "subscriptions:read").document)
            case "POST /subscriptions/{subscriptionId}/cancel":
                return cancel_subscription(event, context)
            case _:
                return answer(404, {"code": "not_found"})
    except Refusal as refusal:
        return answer(refusal.status, {"code": refusal.code})


@logger.inject_lambda_context
@metrics.log_metrics
def handle(event: dict, context) -> dict:
    if "detail-type" in event:
        return execute_cancellations(context)
    answered = respond(event, context)
    status = answered["statusCode"]
    # Read from the body, because some refusals are not raised, but recorded as answers.
    outcome = "ok" if status == 200 else json.loads(answered["body"])["code"]
    logger.info(
        "answered",
        method=event["requestContext"]["http"]["method"],
        route=event["routeKey"],
        subscription=event.get("pathParameters", {}).get("subscriptionId"),
        outcome=outcome,
        status=status,
    )
    metrics.add_dimension(name="Outcome", value=outcome)
    count("Requests")
    return answered
