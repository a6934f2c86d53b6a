"""From pydantic's errors about a body to one sentence for each place in it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worker.contracts.errors import FieldError, pointer

MOST_PLACES = 20
"""Places that a problem names; there may be more that are wrong."""


def field_errors(body: object, found: Iterable[Mapping[str, Any]]) -> list[FieldError]:
    """Return what is wrong with ``body``, every place once; ``loc`` of each error begins at the body."""
    messages: dict[str, list[str]] = {}
    given: dict[str, str] = {}
    for one in found:
        place = _pointer(body, one["loc"], one["type"])
        messages.setdefault(place, []).append(str(one["msg"]).removeprefix("Value error, "))
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
        if inside:
            body = body[step]
            found.append(step)
    if kind == "missing" and steps:
        found.append(steps[-1])
    return pointer(*found)


def _given(one: Mapping[str, Any]) -> str:
    value = one.get("input")
    if one["type"] == "missing" or not isinstance(value, str | int | float | bool):
        return ""
    return f"; got {value[:80]!r}" if isinstance(value, str) else f"; got {value}"
