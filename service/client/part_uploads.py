"""Sending a large file in parts, shared by both clients: a flow, as in ``flows``.

A part that is cut is sent again. A table that takes long to read is waited for, also if the connection ends meanwhile.
"""

import base64
import hashlib
import io
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from service.client import calls
from service.client.errors import NotReached, Refused, UploadInterrupted
from service.client.retries import AGAIN, IN_FLIGHT
from service.client.tables import Body
from worker.contracts.resources import Dataset, Upload

MIN_BYTES = 64 * 2**20
"""A smaller file is sent in one request."""
POLL_SECONDS = 2.0
MAX_ROUNDS = 3
"""How often parts that storage has damaged are sent again, and how often an unanswered completion is begun again."""
THE_TABLE_IS_WRONG = (415, 422)
PARTS_MISSING = "conflict"

UploadReport = Callable[[Upload, int], None]
"""Called with an upload and the bytes of it that are there."""


@dataclass(frozen=True)
class Read:
    """Work that reads a file, for a thread where others must not wait. The flow receives its result."""

    work: Callable[[], Any]


@dataclass(frozen=True)
class Pause:
    """Wait for some seconds."""

    seconds: float


Steps = Generator[Any, Any, Any]


def length(body: Body) -> int:
    """Return the bytes of a body."""
    with body.open() as source:
        return source.seek(0, 2)


def send(
    body: Body,
    name: str | None,
    options: Mapping[str, Any],
    resume: str | None,
    progress: UploadReport | None,
) -> Generator[Any, Any, Dataset]:
    """Send a body in parts, or the missing parts of the upload ``resume``. Return the dataset.

    Raises:
        UploadInterrupted: the service did not answer, after all tries.
        ValueError: the body is not that of the upload ``resume``.
    """
    size = yield Read(partial(length, body))
    if resume is None:
        request = {"media_type": body.media_type, "encoding": body.encoding, "bytes": size, "name": name}
        # where it is sent at once, the compression is a header
        named = {"text_encoding" if option == "encoding" else option: value for option, value in options.items()}
        upload = yield calls.begin_upload({**request, **named})
    else:
        upload = yield calls.upload_in_parts(resume)
        yield from _check_same(body, size, upload)
    try:
        for last in (*[False] * (MAX_ROUNDS - 1), True):
            yield from _send_parts(body, upload, progress)
            try:
                dataset: Dataset = yield from _completed(upload)
                return dataset
            except Refused as refused:
                if last or refused.code != PARTS_MISSING:
                    raise
                upload = yield calls.upload_in_parts(upload.id)
    except (NotReached, Refused) as error:
        if isinstance(error, Refused) and error.status not in AGAIN:
            raise
        raise UploadInterrupted(upload.id, error) from error
    raise AssertionError("the last round returns or raises")


def _send_parts(body: Body, upload: Upload, progress: UploadReport | None) -> Steps:
    done = sum(part.bytes for part in upload.parts)
    if progress is not None:
        progress(upload, done)
    for number in [] if upload.state == "complete" else upload.missing_parts:
        content: bytes = yield Read(partial(_part, body, upload, number))
        part = Body(partial(io.BytesIO, content), "application/octet-stream")
        sent = yield calls.put_part(upload.id, number, part, _digest(content))
        done += sent.bytes
        if progress is not None:
            progress(upload, done)


def _completed(upload: Upload) -> Steps:
    """Complete an upload and wait until its table is read.

    Raises:
        Refused: the table is refused, and then the upload is deleted; or parts are missing.
    """
    unanswered = 0
    while True:
        try:
            return (yield calls.complete_upload(upload.id))
        except Refused as refused:
            if refused.status in THE_TABLE_IS_WRONG:
                yield calls.delete_upload(upload.id)
            if refused.code != IN_FLIGHT:
                raise
        except NotReached:
            unanswered += 1
            if unanswered >= MAX_ROUNDS:
                raise
        yield Pause(POLL_SECONDS)
        while (yield calls.upload_in_parts(upload.id)).state == "completing":
            yield Pause(POLL_SECONDS)


def _check_same(body: Body, size: int, upload: Upload) -> Steps:
    if size != upload.bytes:
        raise ValueError(f"the upload {upload.id} is of a file of {upload.bytes} bytes, and this one has {size}")
    for part in upload.parts:
        content: bytes = yield Read(partial(_part, body, upload, part.number))
        if hashlib.sha256(content).hexdigest() != part.sha256:
            raise ValueError(
                f"the upload {upload.id} is of another file: part {part.number} of it has other bytes; upload this one "
                "without resuming"
            )


def _part(body: Body, upload: Upload, number: int) -> bytes:
    with body.open() as source:
        source.seek((number - 1) * upload.part_bytes)
        return source.read(upload.part_length(number))


def _digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"
