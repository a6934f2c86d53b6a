"""What schemathesis asks of us for each request: Accept is one of the types that the operation documents.

Left to itself it would ask for JSON alone, and the other forms of an answer would never be checked.
"""

import os
import random
from typing import Any

import schemathesis

ENDED = frozenset(os.environ.get("FUZZ_ENDED_JOBS", "").split(","))
EVENT_STREAM = "text/event-stream"
draw = random.Random(int(os.environ.get("FUZZ_SEED", "0")))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    if case.method.upper() not in case.operation.method.upper():
        return
    whole = case.operation.definition.raw["responses"].get("200", {}).get("content", {})
    # the stream of a job that has not ended has no end either
    offered = [kind for kind in whole if kind != EVENT_STREAM or (case.path_parameters or {}).get("job_id") in ENDED]
    if len(offered) > 1 and not any(name.lower() == "accept" for name in case.headers or {}):
        case.headers["Accept"] = draw.choice(offered)
