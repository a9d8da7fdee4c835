"""Rules for Schemathesis that a schema can't express."""

import datetime
import hashlib
import re

import schemathesis
from hypothesis import strategies

NAME = "X-Idempotency-Key"

# A date must be later than today. The clock of the tested service begins at 1970.
dates = strategies.dates(min_value=datetime.date(1970, 1, 3))
schemathesis.openapi.format("date", dates.map(datetime.date.isoformat))


@schemathesis.hook
def map_case(_context, case):
    """Makes each idempotency key specific to its request. Schemathesis generates simple keys again and again, and most
    requests would be refused for that. A valid key stays valid."""
    request = repr((case.method, case.path_parameters, case.query, case.body, case.media_type))
    key = case.headers.get(NAME) if case.headers else None
    if key and re.fullmatch("[!-~]{1,192}", key):
        case.headers[NAME] = key + hashlib.sha256(request.encode(errors="replace")).hexdigest()
    return case
