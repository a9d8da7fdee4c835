"""The three functions behind one handler: reading a subscription, cancelling one, and executing due ones."""

from admit import admit
from answers import Refusal, answer
from cancel import cancel_subscription
from execute import execute_cancellations


def handle(event: dict, context) -> dict:
    if "detail-type" in event:
        return execute_cancellations(context)
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
