"""From pydantic's errors about a body to one sentence for each place in it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.contracts import requests, search, specs
from worker.contracts.base import Contract
from worker.contracts.errors import FieldError, pointer
from worker.tables.close_names import close_names

MAX_PLACES = 20
"""Places that a problem names; there may be more that are wrong."""
NAMES = sorted(
    {
        name
        for module in (requests, search, specs)
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Contract)
        for name in one.model_fields
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
"""What a text must be, in words."""
MISSING = ("missing", "union_tag_not_found")
"""Of a field, and of the one that says which kind a body is."""
OPTIONS = frozenset((*specs.FitSpec.model_fields, *specs.NetworkSpec.model_fields))
MAX_STEP_LENGTH = 200
"""A name of a field may be as long as a body; a pointer ends before one that is longer."""


def field_errors(body: object, found: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """Return what is wrong with ``body``, every place once; ``loc`` of each error begins at the body."""
    messages: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    for one in found:
        place = _pointer(body, one["loc"], one["type"])
        messages.setdefault(place, []).append(_message(one))
        given[place] = _given(one)
    return [FieldError(place, " or: ".join(said) + given[place]) for place, said in messages.items()]


def _pointer(body: Any, steps: Sequence[str | int], kind: str) -> str:
    """Return the JSON pointer of pydantic's ``steps`` in ``body``.

    Pydantic also names the members of unions that it tried. They are no part of the body, so they are left out. The
    last step of a missing field stays.
    """
    found: list[str | int] = []
    for step in steps:
        inside = step in body if isinstance(body, dict) else isinstance(body, list) and isinstance(step, int)
        if isinstance(step, str) and len(step) > MAX_STEP_LENGTH:
            return pointer(*found)
        if inside:
            body = body[step]
            found.append(step)
    if kind == "missing" and steps:
        found.append(steps[-1])
    elif kind == "union_tag_not_found":
        found.append("kind")
    return pointer(*found)


def _message(one: Mapping[str, Any]) -> str:
    said = str(one["msg"]).removeprefix("Value error, ")
    name = one["loc"][-1] if one["loc"] else None
    if one["type"] in MISSING:
        return "this field is required"
    if one["type"] == "string_pattern_mismatch":
        return PATTERNS.get(one["ctx"]["pattern"], said)
    if one["type"] != "extra_forbidden" or not isinstance(name, str):
        return said
    if name in OPTIONS:
        return "there is no such field here; it belongs in 'spec'"
    close = [one for one in close_names(name, NAMES, most=1) if one != name]
    return f"there is no such field here (did you mean {close[0]!r}?)" if close else "there is no such field here"


def _given(one: Mapping[str, Any]) -> str:
    value = one.get("input")
    if one["type"] in MISSING or not isinstance(value, str | int | float | bool):
        return ""
    return f"; got {value[:80]!r}" if isinstance(value, str) else f"; got {value}"
