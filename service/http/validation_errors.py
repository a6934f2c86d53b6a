"""Conversion of pydantic's errors to one sentence for each place in a body."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.contracts import requests, search, specs
from worker.contracts.base import Contract
from worker.contracts.errors import FieldError, InvalidRequest, pointer
from worker.tables.close_names import close_names

MAX_PLACES = 20
"""Largest number of places in a problem."""
NAMES = sorted(
    {
        name
        for module in (requests, search, specs)
        for member in vars(module).values()
        if isinstance(member, type) and issubclass(member, Contract)
        for name in member.model_fields
    }
)
PATTERNS = {
    requests.DATASET_ID: "a dataset is named by its id: ds_ and 20 to 40 small letters and digits",
    requests.MODEL_NAME: "a model's name begins with a letter or digit and has at most 100 letters, digits and . _ -",
    requests.MODEL_REF: "a model is named by its id (mdl_…), its name, or name@version",
    requests.MODEL_VERSION: "a version of a model is named by its id (mdl_…) or as name@version, not by its name alone",
    requests.GRID_PATH: f"a path in a grid has at most {requests.MAX_PATH_STEPS} names with dots between them",
    requests.TAG: "a tag begins with a letter or digit and has at most 64 letters, digits and . _ : / = -",
}
"""Patterns of texts, in words."""
MISSING = ("missing", "union_tag_not_found")
"""Errors of a missing field, and of a missing ``kind``."""
OPTIONS = frozenset((*specs.FitSpec.model_fields, *specs.NetworkSpec.model_fields))
MAX_STEP_LENGTH = 200
"""A pointer ends before a longer field name, which may be as long as the body."""


def field_errors(body: object, details: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """Return one error for each wrong place in ``body``. ``loc`` of each detail begins at the body."""
    messages: dict[str, list[str]] = {}
    inputs: dict[str, str] = {}
    for detail in details:
        place = _pointer(body, detail["loc"], detail["type"])
        messages.setdefault(place, []).append(_message(detail))
        inputs[place] = _input_text(detail)
    return [FieldError(place, " or: ".join(texts) + inputs[place]) for place, texts in messages.items()]


def invalid_request(errors: Sequence[FieldError], kind: type[InvalidRequest] = InvalidRequest) -> InvalidRequest:
    """Return an error about several places, whose detail is the first one."""
    return kind(f"{errors[0].pointer}: {errors[0].message}", errors=tuple(errors))


def _pointer(body: Any, steps: Sequence[str | int], kind: str) -> str:
    """Return the JSON pointer of pydantic's ``steps`` in ``body``.

    Steps that are not in the body, such as members of unions, are left out, except the name of a missing field.
    """
    path: list[str | int] = []
    for step in steps:
        inside = step in body if isinstance(body, dict) else isinstance(body, list) and isinstance(step, int)
        if isinstance(step, str) and len(step) > MAX_STEP_LENGTH:
            return pointer(*path)
        if inside:
            body = body[step]
            path.append(step)
    if kind == "missing" and steps:
        path.append(steps[-1])
    elif kind == "union_tag_not_found":
        path.append("kind")
    return pointer(*path)


def _message(detail: Mapping[str, Any]) -> str:
    text = str(detail["msg"]).removeprefix("Value error, ")
    name = detail["loc"][-1] if detail["loc"] else None
    if detail["type"] in MISSING:
        return "this field is required"
    if detail["type"] == "string_pattern_mismatch":
        return PATTERNS.get(detail["ctx"]["pattern"], text)
    if detail["type"] != "extra_forbidden" or not isinstance(name, str):
        return text
    if name in OPTIONS:
        return "there is no such field here; it belongs in 'spec'"
    close = [candidate for candidate in close_names(name, NAMES, most=1) if candidate != name]
    return f"there is no such field here (did you mean {close[0]!r}?)" if close else "there is no such field here"


def _input_text(detail: Mapping[str, Any]) -> str:
    value = detail.get("input")
    if detail["type"] in MISSING or not isinstance(value, str | int | float | bool):
        return ""
    return f"; got {value[:80]!r}" if isinstance(value, str) else f"; got {value}"
