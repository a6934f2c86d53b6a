"""Downloads of immutable content: strong ETags, If-None-Match, and single ranges (RFC 9110, 13 and 14)."""

import hashlib
import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from service.errors import PreconditionFailed, RangeNotSatisfiable
from service.http.negotiation import listed
from service.http.problems import problems
from worker.contracts.artifacts import ArtifactRef
from worker.store.files.artifacts import Artifacts

BLOCK = 2**20
RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
"""Other ranges, and positions of more digits, are ignored, as RFC 9110 allows."""
PARAMETERS: dict[str, Any] = {
    "parameters": [
        {"name": name, "in": "header", "description": text, "schema": {"type": "string"}}
        for name, text in (
            ("If-None-Match", "At most 100 ETags that the caller has; 304 where the file's is one of them."),
            ("Range", "One range of bytes, e.g. bytes=0-99; what is none is ignored."),
            ("If-Range", "An ETag: with another one the whole file is sent."),
        )
    ]
}
"""``openapi_extra`` of a route that downloads."""
ETAG = {"ETag": {"required": True, "schema": {"type": "string", "pattern": '^"[0-9a-f]{64}"$'}}}
_RANGE = {"Content-Range": {"required": True, "schema": {"type": "string", "pattern": r"^bytes \d+-\d+/\d+$"}}}


def downloads(description: str, media_types: Sequence[str]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route that answers with ``send_artifact`` or ``send_bytes``."""
    content: dict[str, Any] = {kind: {} for kind in media_types}
    full = {"description": description, "headers": dict(ETAG), "content": content}
    part = {"description": "The range that was asked for", "headers": {**ETAG, **_RANGE}, "content": content}
    return {200: full, 206: part, 304: {"description": "It has not changed", "headers": dict(ETAG)}, **problems(416)}


@dataclass(frozen=True)
class _Part:
    """Bytes ``start`` to ``stop`` (not included) of ``length``."""

    start: int
    stop: int
    length: int


def send_artifact(request: Request, artifacts: Artifacts, ref: ArtifactRef, media_type: str, filename: str) -> Response:
    """Answer with a stored file or a range of it.

    The checksum is computed while the file is sent: the answer breaks off before the last bytes of a damaged file. A
    range is sent after the whole file was checked.

    Raises:
        RangeNotSatisfiable: the range lies outside the file.
        ArtifactMissing: storage lost it.
        ArtifactCorrupt: it is damaged, and this was found before the answer began.
    """
    headers = _headers(f'"{ref.sha256}"', filename)
    if etag_matches(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    part = _requested_part(request, headers["ETag"], ref.bytes)
    status = 200
    if part is not None:
        status = 206
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{part.length}"
    headers["Content-Length"] = str(ref.bytes if part is None else part.stop - part.start)
    blocks = artifacts.stream(ref) if part is None else _blocks(artifacts, ref, part)
    first = next(blocks, b"")  # raises for a missing or a small damaged file before the answer begins
    return _Download(_chained(first, blocks), status, headers, media_type)


def send_bytes(request: Request, body: bytes, media_type: str, filename: str) -> Response:
    """Answer with a document, or a range of it."""
    headers = _headers(entity_tag(body), filename)
    if etag_matches(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    part = _requested_part(request, headers["ETag"], len(body))
    if part is None:
        return Response(body, 200, headers, media_type)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{part.length}"
    return Response(body[part.start : part.stop], 206, headers, media_type)


def _headers(tag: str, filename: str) -> dict[str, str]:
    return {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        # a model's name may stand for another version later; form and access depend on the caller
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Authorization, Cookie",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }


def entity_tag(body: bytes) -> str:
    """Return the ETag of a body."""
    return f'"{hashlib.sha256(body).hexdigest()}"'


def etag_matches(request: Request, tag: str) -> bool:
    """Return whether If-None-Match holds ``tag``."""
    tags = _tags(request, "If-None-Match")
    return tags == ["*"] or tag in [known.removeprefix("W/") for known in tags]


def check_match(request: Request, tag: str, what: str) -> None:
    """Check If-Match, if it is sent, against the current state (RFC 9110, 13.1.1).

    Raises:
        PreconditionFailed: it names another state.
    """
    if "If-Match" not in request.headers:
        return
    tags = _tags(request, "If-Match")
    # weak tags, malformed tags and an empty list match nothing
    if tags != ["*"] and tag not in tags:
        raise PreconditionFailed(f"{what} has another state than If-Match names: it is {tag} now; look again before")


def _tags(request: Request, name: str) -> list[str]:
    return listed(name, ",".join(request.headers.getlist(name)))


def _requested_part(request: Request, etag: str, length: int) -> _Part | None:
    """Return the requested range; None for the whole file, also for other kinds of range (RFC 9110, 14.2)."""
    match = RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or match.groups() == ("", "") or request.headers.get("if-range", etag) != etag:
        return None
    first, last = match.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, length) if last else length
    else:
        start, stop = max(length - int(last), 0), length
    if first and last and int(last) < int(first):
        return None
    if start >= length or stop <= start:
        raise RangeNotSatisfiable(f"the range lies outside the {length} bytes of the file", length)
    return _Part(start, stop, length)


def _blocks(artifacts: Artifacts, ref: ArtifactRef, part: _Part) -> Iterator[bytes]:
    with artifacts.open_part(ref) as file:
        file.seek(part.start)
        left = part.stop - part.start
        while left > 0 and (block := file.read(min(BLOCK, left))):
            left -= len(block)
            yield block


class _Download(StreamingResponse):
    """Closes the file also when the client disconnects."""

    def __init__(self, source: Generator[bytes, None, None], status: int, headers: dict[str, str], kind: str) -> None:
        super().__init__(source, status, headers, kind)
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._source.close()


def _chained(first: bytes, rest: Iterator[bytes]) -> Generator[bytes, None, None]:
    yield first
    yield from rest
