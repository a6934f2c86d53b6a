"""Content negotiation: media types of requests and answers."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query, Request

from service.errors import NotAcceptable, UnsupportedMediaType
from service.http.request_headers import header
from worker.contracts.errors import InvalidRequest

MAX_LIST_ITEMS = 100
"""Of a list in a header."""


def listed(name: str, value: str) -> list[str]:
    """Return the members of a list in a header.

    Raises:
        InvalidRequest: there are more than ``MAX_LIST_ITEMS``.
    """
    members = [member for part in value.split(",") if (member := part.strip())]
    if len(members) > MAX_LIST_ITEMS:
        raise InvalidRequest.at(
            f"header:{name.lower()}",
            f"the header {name} has {len(members)} members and at most {MAX_LIST_ITEMS} are read",
        )
    return members


def content_type(request: Request, allowed: Sequence[str], default: str | None = None) -> str:
    """Return the media type of the body, without its parameters.

    Raises:
        UnsupportedMediaType: it is not in ``allowed``, or it is missing without a ``default``.
    """
    media_type = (header(request.scope, b"content-type") or "").partition(";")[0].strip().lower()
    if not media_type and default is not None:
        return default
    if media_type not in allowed:
        what = f"the Content-Type {media_type!r} is not supported" if media_type else "the Content-Type is missing"
        raise UnsupportedMediaType(f"{what}; send {', '.join(allowed)}")
    return media_type


Spreadsheet = Annotated[
    bool, Query(description="Of CSV: an apostrophe before texts that a spreadsheet would take for formulas.")
]


def choose(accept: str | None, offered: Sequence[str], name: str = "Accept") -> str:
    """Return the offered media type that Accept prefers; the first among equals (RFC 9110, 12.5.1).

    Raises:
        NotAcceptable: it accepts none.
        InvalidRequest: the list is too long.
    """
    if accept is None or not accept.strip():
        return offered[0]
    ranges = [_range(part) for part in listed(name, accept)]
    best, best_quality = None, 0.0
    for media_type in offered:
        matching = [(specificity, quality) for name, specificity, quality in ranges if _matches(name, media_type)]
        quality = max(matching, default=(0, 0.0))[1]
        if quality > best_quality:
            best, best_quality = media_type, quality
    if best is None:
        raise NotAcceptable(f"none of the accepted types is offered: {accept[:200]!r}; there are {', '.join(offered)}")
    return best


def _range(part: str) -> tuple[str, int, float]:
    """Return the name of a media range, how specific it is, and its quality."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                quality = min(max(float(value), 0.0), 1.0)
            except ValueError:
                quality = 0.0
    specificity = 0 if name == "*/*" else 1 if name.endswith("/*") else 2
    return name, specificity, quality


def _matches(name: str, media_type: str) -> bool:
    if name == "*/*":
        return True
    if name.endswith("/*"):
        return media_type.startswith(name[:-1])
    return name == media_type


def json_only(request: Request) -> None:
    """Check that the Content-Type is JSON: a dependency of routes with JSON bodies.

    Raises:
        UnsupportedMediaType: it is not.
    """
    content_type(request, ["application/json"])
