"""Downloads of what never changes: a strong ETag, If-None-Match, and single ranges (RFC 9110, 13 and 14)."""

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
"""Positions that no file reaches are no range of bytes: it is ignored, as RFC 9110 allows."""


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
"""What a route that downloads says in ``openapi_extra``."""
ETAG = {"ETag": {"required": True, "schema": {"type": "string", "pattern": '^"[0-9a-f]{64}"$'}}}
_RANGE = {"Content-Range": {"required": True, "schema": {"type": "string", "pattern": r"^bytes \d+-\d+/\d+$"}}}


def downloads(description: str, media_types: Sequence[str]) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route that answers with ``send_artifact`` or ``send_bytes``."""
    content: dict[str, Any] = {kind: {} for kind in media_types}
    whole = {"description": description, "headers": dict(ETAG), "content": content}
    part = {"description": "The range that was asked for", "headers": {**ETAG, **_RANGE}, "content": content}
    return {200: whole, 206: part, 304: {"description": "It has not changed", "headers": dict(ETAG)}, **problems(416)}


@dataclass(frozen=True)
class _Part:
    """Bytes ``start`` to ``stop`` (not included) of ``length``."""

    start: int
    stop: int
    length: int


def send_artifact(request: Request, artifacts: Artifacts, ref: ArtifactRef, media_type: str, filename: str) -> Response:
    """Answer with a stored file, or what of it was asked for.

    A file is compared with its checksum while it is sent: the answer breaks off before the last bytes of a damaged one.
    A range is sent when all of the file was compared.

    Raises:
        RangeNotSatisfiable: the range lies outside the file.
        ArtifactMissing: storage lost it.
        ArtifactCorrupt: it is damaged, and that was seen before the answer began.
    """
    headers = _headers(f'"{ref.sha256}"', filename)
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    part = _asked(request, headers["ETag"], ref.bytes)
    status = 200
    if part is not None:
        status = 206
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{part.length}"
    headers["Content-Length"] = str(ref.bytes if part is None else part.stop - part.start)
    blocks = artifacts.stream(ref) if part is None else _blocks(artifacts, ref, part)
    first = next(blocks, b"")  # a missing file, and a small one that is damaged, are found before the answer begins
    return _Download(_chained(first, blocks), status, headers, media_type)


def send_bytes(request: Request, body: bytes, media_type: str, filename: str) -> Response:
    """Answer with a document that was made of what never changes."""
    headers = _headers(entity_tag(body), filename)
    if is_known(request, headers["ETag"]):
        return Response(status_code=304, headers=headers)
    part = _asked(request, headers["ETag"], len(body))
    if part is None:
        return Response(body, 200, headers, media_type)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{part.length}"
    return Response(body[part.start : part.stop], 206, headers, media_type)


def _headers(tag: str, filename: str) -> dict[str, str]:
    return {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        # a name may come to mean another version, and what it is sent as depends on who asks for what
        "Cache-Control": "private, no-cache",
        "Vary": "Accept, Authorization, Cookie",
        "Content-Disposition": f'attachment; filename="{filename}"',
    }


def entity_tag(body: bytes) -> str:
    """Return the ETag of what is answered."""
    return f'"{hashlib.sha256(body).hexdigest()}"'


def is_known(request: Request, tag: str) -> bool:
    """Return whether If-None-Match names a state."""
    given = _tags(request, "If-None-Match")
    return given == ["*"] or tag in [one.removeprefix("W/") for one in given]


def check_match(request: Request, tag: str, what: str) -> None:
    """See that If-Match, where it is sent, names the state that there is (RFC 9110, 13.1.1).

    Raises:
        PreconditionFailed: it does not.
    """
    if "If-Match" not in request.headers:
        return
    given = _tags(request, "If-Match")
    # a weak tag, what is no tag at all, and a list of none, is no state that there is
    if given != ["*"] and tag not in given:
        raise PreconditionFailed(f"{what} has another state than If-Match names: it is {tag} now; look again before")


def _tags(request: Request, name: str) -> list[str]:
    return listed(name, ",".join(request.headers.getlist(name)))


def _asked(request: Request, etag: str, length: int) -> _Part | None:
    """Return the asked part; None for the whole, also where the range header is of another kind (RFC 9110, 14.2)."""
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
    """Closes the file also when its caller leaves; else it would be open until the collector comes."""

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
