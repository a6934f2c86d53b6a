"""What is done to each request of schemathesis before it is sent.

Accept is one of the types that the operation documents: left to itself it would ask for JSON alone, and the other forms
of an answer would never be checked. Keys of idempotency are mostly fresh, or all requests but the first would be
refused for their key. Bodies that are examples name what there is, so that some jobs are accepted. What is sent as CSV
is a text whatever its schema was broken with, and every text may be a table.
"""

import os
import random
from typing import Any

import schemathesis

ENDED = frozenset(os.environ.get("FUZZ_ENDED_JOBS", "").split(","))
REAL = {
    "ds_01jd0000000000000000000000": os.environ.get("FUZZ_DATASET", ""),
    "house-prices": "prices",
    "diagnosis": "city",
}
KEY, LONG, FRESH_SHARE = "Idempotency-Key", 200, 0.8
MAX_LIST_LENGTH, MAX_ITEMS = 5000, 50
"""A list in a query makes a head of up to twelve times its characters, and a head of more than 64 KiB is no request."""
EVENT_STREAM = "text/event-stream"
draw = random.Random(int(os.environ.get("FUZZ_SEED", "0")))


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    return case.media_type != "text/csv" or not isinstance(case.body, int | float | bool | None)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    if case.method.upper() not in case.operation.method.upper():
        return
    if isinstance(case.body, dict | list) and "multipart" not in (case.media_type or ""):
        case.body = _real(case.body)
    for name, given in (case.query or {}).items():
        if isinstance(given, list) and sum(len(str(one)) for one in given) > MAX_LIST_LENGTH:
            case.query[name] = given[:MAX_ITEMS]
    key = (case.headers or {}).get(KEY)
    if isinstance(key, str) and 0 < len(key) < LONG and draw.random() < FRESH_SHARE:
        case.headers[KEY] = f"{key}{draw.getrandbits(64):x}"
    whole = case.operation.definition.raw["responses"].get("200", {}).get("content", {})
    # the stream of a job that has not ended has no end either
    offered = [kind for kind in whole if kind != EVENT_STREAM or (case.path_parameters or {}).get("job_id") in ENDED]
    if len(offered) > 1 and not any(name.lower() == "accept" for name in case.headers or {}):
        case.headers["Accept"] = draw.choice(offered)


def _real(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _real(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_real(one) for one in value]
    return REAL.get(value, value) if isinstance(value, str) else value
