"""Uploads in parts: taking a part, and making the dataset once all are there.

Everything is in the database and in storage, so parts may arrive at different processes.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import re
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import structlog
from anyio import to_thread
from fastapi import Request
from pydantic import AfterValidator, Field
from sqlalchemy.exc import OperationalError

from service.datasets.upload_folder import upload_folder
from service.datasets.upload_options import CommonOptions, TextEncoding, UploadOptions, check_options
from service.datasets.uploads import SUFFIXES, Received, check_encoding, store
from service.errors import UnsupportedMediaType
from service.runtime.context import Context
from worker.contracts.errors import (
    ArtifactCorrupt,
    ArtifactMissing,
    Conflict,
    FactRFMError,
    InvalidRequest,
    RequestInFlight,
)
from worker.contracts.resources import Dataset, Upload, UploadPart
from worker.store import datasets, locks, uploads
from worker.store.ids import new_id
from worker.store.uploads import UploadRecord
from worker.tables.close_names import shown
from worker.tables.media import COMPRESSED, DATASET_TYPES, form_of

log = structlog.get_logger()

LOCK_SECONDS = 20.0
"""A process that completes an upload and is silent for so long counts as dead."""
RENEW_SECONDS = 5.0
MAX_TYPE_LENGTH = 100
MAX_NAMED = 20
"""Missing parts that a message names."""
DIGEST_MEMBER = re.compile(r"[ \t]*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):[ \t]*")
DIGEST = "Content-Digest"


def _known_type(media_type: str | None) -> str | None:
    if media_type is not None and media_type not in DATASET_TYPES:
        raise ValueError(f"a table is one of {', '.join(DATASET_TYPES)}")
    return media_type


class UploadRequest(CommonOptions):
    """What is going to be sent. The media type is that of the file's name where it is not told."""

    filename: str | None = Field(None, min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")
    media_type: Annotated[
        Annotated[str, Field(max_length=MAX_TYPE_LENGTH)] | None,
        AfterValidator(_known_type),
        Field(json_schema_extra={"enum": [*DATASET_TYPES, None]}),
    ] = Field(None, description="Default: that of the ending of the file's name.")
    encoding: Literal["gzip", "zstd"] | None = Field(
        None, description="How the file is compressed. Default: as the ending of its name says."
    )
    text_encoding: TextEncoding = Field(default=None)
    bytes: int = Field(ge=1, description="Of the file as it is sent, compressed or not.")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="Of the same bytes; checked at the end.")


def begin(context: Context, request: UploadRequest) -> Upload:
    """Store a new upload.

    Raises:
        InvalidRequest: the file is too long, or its media type is unknown.
        TooManyUploads: the project has as many as it may.
    """
    settings = context.settings
    if request.bytes > settings.max_body_bytes:
        raise InvalidRequest.at(
            "/bytes", f"the file has {request.bytes} bytes, and an upload at most {settings.max_body_bytes}"
        )
    name = request.filename
    named, encoding = form_of(name or "")
    media_type = request.media_type or named
    if media_type not in DATASET_TYPES:
        raise InvalidRequest.at(
            "/media_type",
            f"the file's name {shown(name or '')!r} tells no form; tell the media_type, one of "
            f"{', '.join(DATASET_TYPES)}, or a name that ends in {', '.join(SUFFIXES)}, or one of these and "
            f"{' or '.join(COMPRESSED)}",
        )
    check_options(request.model_dump(), media_type, "/")
    now = context.now()
    upload = Upload(
        **request.model_dump(exclude={"media_type", "encoding"}),
        encoding=request.encoding or encoding,
        id=new_id("upl", now),
        state="open",
        media_type=media_type,
        part_bytes=settings.part_bytes,
        total_parts=-(-request.bytes // settings.part_bytes),
        parts=[],
        dataset=None,
        created_at=now,
        expires_at=now + timedelta(seconds=settings.upload_seconds),
    )
    uploads.insert(context.database, upload, settings.max_open_uploads)
    return upload


async def take_part(context: Context, request: Request, upload_id: str, number: int) -> tuple[UploadPart, bool]:
    """Store the body as a part. Return the part, and whether it is new.

    Raises:
        NotFound: no such upload, or no such part.
        InvalidRequest: the length is another, or the checksum of the header Content-Digest.
        Conflict: the upload is complete, or has other bytes as this part.
        UnsupportedMediaType: the part has a Content-Encoding.
        StorageFull: there is no room.
    """
    if check_encoding(request) is not None:
        raise UnsupportedMediaType("a part is sent as it is in the file; POST /v1/uploads tells how that is encoded")
    digest = _digest(request)
    record = await to_thread.run_sync(uploads.get, context.database, upload_id, context.now())
    length = _length(record.resource, number)
    with upload_folder(context.settings.home) as folder:
        path = folder / "part"
        sha256 = await _receive(request, path, length, number)
        if digest is not None and digest != bytes.fromhex(sha256):
            raise InvalidRequest.at(
                f"header:{DIGEST.lower()}", f"the body has the sha256 {sha256} and not {digest.hex()}; send it again"
            )
        if number in record.files:
            uploads.check_same(number, record.files[number], sha256)
            return next(part for part in record.resource.parts if part.number == number), False
        return await to_thread.run_sync(_store_part, context, upload_id, number, path, sha256), True


async def complete(context: Context, upload_id: str) -> tuple[Dataset, bool]:
    """Make the dataset. Return it, and whether it is new. It goes on when the client disconnects.

    Raises:
        NotFound: no such upload, or its dataset was deleted.
        Conflict: parts are missing.
        RequestInFlight: it is being completed.
        FactRFMError: see ``uploads.store``.
    """
    found = await to_thread.run_sync(_dataset, context, upload_id)
    if found is not None:
        return found, False
    async with _claimed(context, upload_id):
        with upload_folder(context.settings.home) as folder:
            return await context.readers.run_detached(
                lambda: _complete(context, upload_id, folder), context.database.project
            )


def delete(context: Context, upload_id: str) -> None:
    """Delete an upload and its parts.

    Raises:
        NotFound: no such upload.
        RequestInFlight: it is being completed.
    """
    uploads.delete(context.database, upload_id, context.now())
    context.artifacts.delete_prefix(_folder(upload_id))


def _folder(upload_id: str) -> str:
    return f"uploads/{upload_id}"


def _length(upload: Upload, number: int) -> int:
    if number > upload.total_parts:
        raise InvalidRequest.at(
            "path:number",
            f"the upload has {upload.total_parts} parts of {upload.part_bytes} bytes; there is no {number}",
        )
    return upload.part_length(number)


def _digest(request: Request) -> bytes | None:
    """Return the SHA-256 of the header Content-Digest (RFC 9530); None without it. Other algorithms are ignored.

    Raises:
        InvalidRequest: the header is malformed.
    """
    told = ",".join(request.headers.getlist(DIGEST))
    if DIGEST not in request.headers:
        return None
    members = [DIGEST_MEMBER.fullmatch(member) for member in told.split(",")]
    if not all(members):
        raise InvalidRequest.at(
            f"header:{DIGEST.lower()}", f"it is sha-256=:…: with the sum in base64, not {shown(told)!r}"
        )
    sums = {member[1]: member[2] for member in members if member is not None}
    if "sha-256" not in sums:
        return None
    try:
        digest = base64.b64decode(sums["sha-256"], validate=True)
    except binascii.Error:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise InvalidRequest.at(f"header:{DIGEST.lower()}", "sha-256=:…: holds the 32 bytes of the sum in base64")
    return digest


async def _receive(request: Request, path: Path, length: int, number: int) -> str:
    """Write the body, which has ``length`` bytes, and return its checksum."""
    digest = hashlib.sha256()
    received = 0
    with path.open("wb") as target:
        async for block in request.stream():
            received += len(block)
            if received > length:
                break
            digest.update(block)
            await to_thread.run_sync(target.write, block)
    if received != length:
        size = f"{received} bytes" if received < length else "more"
        raise InvalidRequest.at("", f"part {number} of this upload has {length} bytes, and the body {size}")
    return digest.hexdigest()


def _store_part(context: Context, upload_id: str, number: int, path: Path, sha256: str) -> UploadPart:
    # the same bytes have the same key, so that of two requests none deletes the file of the other
    file = context.artifacts.put_file(f"{_folder(upload_id)}/{number}-{sha256}", path)
    try:
        ttl_s = context.settings.upload_seconds
        return uploads.add_part(context.database, upload_id, number, file, context.now(), ttl_s)
    except FactRFMError:
        context.artifacts.delete(file.key)
        raise


@asynccontextmanager
async def _claimed(context: Context, upload_id: str) -> AsyncIterator[None]:
    """Hold the lock of an upload, which expires if this process dies."""
    name, owner = uploads.lock_name(upload_id), uuid.uuid4().hex

    def take() -> bool:
        return locks.try_lock(context.database, name, owner, LOCK_SECONDS, context.now())

    async def keep() -> None:
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            with _database_errors_logged():
                await to_thread.run_sync(take)

    if not await to_thread.run_sync(take):
        raise RequestInFlight(f"the upload is being completed; GET /v1/uploads/{upload_id} tells when it is")
    renewal = asyncio.create_task(keep())
    try:
        yield
    finally:
        renewal.cancel()
        with _database_errors_logged():
            await asyncio.shield(to_thread.run_sync(locks.unlock, context.database, name, owner))


@contextlib.contextmanager
def _database_errors_logged() -> Iterator[None]:
    """Log database errors: the lock then expires by itself."""
    try:
        yield
    except OperationalError as error:
        log.warning("lock of an upload not renewed", error=type(error).__name__)


def _dataset(context: Context, upload_id: str) -> Dataset | None:
    """Return the dataset of a complete upload, None of one that can be completed.

    Raises:
        Conflict: parts are missing.
    """
    upload = uploads.get(context.database, upload_id, context.now()).resource
    if upload.dataset is not None:
        return datasets.get(context.database, upload.dataset)
    _check_all_there(upload)
    return None


def _complete(context: Context, upload_id: str, folder: Path) -> tuple[Dataset, bool]:
    found = _dataset(context, upload_id)
    if found is not None:
        return found, False
    record = uploads.get(context.database, upload_id, context.now())
    upload = record.resource
    path = folder / "body"
    try:
        sha256 = _assemble(context, record, path)
    except (ArtifactMissing, ArtifactCorrupt):
        # another process took over from this one, which was stopped for long
        found = _dataset(context, upload_id)
        if found is None:
            raise
        return found, False
    if upload.sha256 not in (None, sha256):
        raise InvalidRequest(
            f"the parts together have the sha256 {sha256} and not {upload.sha256}, as the upload says; delete it and "
            "begin another"
        )
    told = upload.model_dump(include=set(CommonOptions.model_fields))
    options = UploadOptions(**told, encoding=upload.text_encoding)
    received = Received(path, upload.media_type, upload.filename, options)
    dataset, new = store(context, received, upload.encoding)
    uploads.finish(context.database, upload_id, dataset.id, context.now(), context.settings.upload_seconds)
    context.artifacts.delete_prefix(_folder(upload_id))
    return dataset, new


def _check_all_there(upload: Upload) -> None:
    missing = upload.missing_parts
    if missing:
        named = ", ".join(map(str, missing[:MAX_NAMED])) + (", …" if len(missing) > MAX_NAMED else "")
        raise Conflict(f"{len(missing)} of {upload.total_parts} parts are missing: {named}; send them, then complete")


def _assemble(context: Context, record: UploadRecord, path: Path) -> str:
    """Write all parts to ``path`` and return the checksum. A part that storage has lost or damaged is forgotten.

    Raises:
        Conflict: such a part must be sent again.
        ArtifactMissing, ArtifactCorrupt: the upload is complete or deleted meanwhile.
    """
    digest = hashlib.sha256()
    with path.open("wb") as target:
        for number, file in sorted(record.files.items()):
            try:
                for block in context.artifacts.stream(file):
                    digest.update(block)
                    target.write(block)
            except (ArtifactMissing, ArtifactCorrupt) as error:
                upload_id = record.resource.id
                if uploads.get(context.database, upload_id, context.now()).resource.dataset is not None:
                    raise
                log.error("a part of an upload is damaged", upload=upload_id, number=number, reason=error.detail)
                uploads.forget_part(context.database, upload_id, number, file.key)
                raise Conflict(f"part {number} was damaged in storage; send it again, then complete") from error
    return digest.hexdigest()
