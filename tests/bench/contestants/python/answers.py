"""Answers to callers."""

import json
from decimal import Decimal


class Refusal(Exception):
    """A refusal, raised where a request can't go on."""

    def __init__(self, status: int, code: str):
        super().__init__(code)
        self.status, self.code = status, code


def plain(number):
    """Converts numbers of DynamoDB, which come as decimals, for JSON."""
    if isinstance(number, Decimal):
        return int(number) if number == number.to_integral_value() else float(number)
    raise TypeError(type(number).__name__)


def answer(status: int, body: dict) -> dict:
    return {
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(body, default=plain, ensure_ascii=False, separators=(",", ":")),
    }
