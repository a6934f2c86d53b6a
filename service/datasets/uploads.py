"""Storing the body of an upload as a dataset. Bodies are streamed to temporary files, which are always removed."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import structlog
from anyio import to_thread
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from service.datasets.upload_options import UploadOptions, check_options, with_fields, with_parameters
from service.errors import UnsupportedMediaType
from service.http.negotiation import content_type
from service.http.request_headers import header
from service.runtime.context import Context
from worker.contracts.errors import ArtifactCorrupt, ArtifactMissing, InvalidRequest, pointer
from worker.contracts.reading import ReadDone, ReadOrder
from worker.contracts.resources import Dataset
from worker.store import datasets
from worker.store.datasets import DatasetRecord
from worker.store.ids import new_id
from worker.tables import media
from worker.tables.close_names import shown
from worker.tables.decompress import decompress
from worker.tables.media import DATASET_TYPES

log = structlog.get_logger()

MULTIPART = "multipart/form-data"
SUFFIXES = {suffix: kind for suffix, kind in media.SUFFIXES.items() if kind in DATASET_TYPES}
ENCODINGS = ("gzip", "zstd")
BLOCK = 2**20


@dataclass(frozen=True)
class Received:
    """A body on disk, as the client sent it."""

    path: Path
    media_type: str
    filename: str | None
    options: UploadOptions

    @property
    def encoding(self) -> Literal["gzip", "zstd"] | None:
        """How the file is compressed, as its name says and its first bytes confirm."""
        _, named = media.form_of(self.filename or "")
        with self.path.open("rb") as file:
            return named if media.sniff(file.read(8)) == f"application/{named}" else None


async def receive(request: Request, folder: Path, options: UploadOptions) -> Received:
    """Write the body, or the file of a form, to ``folder``. Form fields are options too.

    Raises:
        UnsupportedMediaType: the media type is unknown.
        InvalidRequest: the form holds no file or several, or see ``with_fields``.
    """
    kind = content_type(request, [*DATASET_TYPES, MULTIPART])
    path = folder / "body"
    if kind == MULTIPART:
        return await _receive_form(request, path, options)
    options = with_parameters(options, header(request.scope, b"content-type") or "")
    with path.open("wb") as target:
        async for block in request.stream():
            await to_thread.run_sync(target.write, block)
    return Received(path, kind, None, options)


def store(context: Context, received: Received, encoding: str | None) -> tuple[Dataset, bool]:
    """Parse the table and store it: artifacts first, then the row. Return the dataset and whether it is new.

    Bytes that are a dataset already replace its files where those are lost or damaged. Runs in a thread of
    ``context.readers.run``.

    Raises:
        InvalidRequest: see ``check_options``.
        UnreadableTable, TableTooLarge, StorageFull: see ``TableReaders.read``.
    """
    settings = context.settings
    path = _decompressed(received.path, encoding or received.encoding, settings.max_body_bytes)
    with path.open("rb") as body:
        sha256 = hashlib.file_digest(body, "sha256").hexdigest()
    options = received.options
    check_options(options.model_dump(), received.media_type)
    media_type = options.full_media_type(received.media_type)
    existing = datasets.find_by_sha256(context.database, sha256, media_type)
    if existing is not None and _is_intact(context, existing):
        return existing.resource, False
    table_path = path.with_name("table.parquet")
    table = context.readers.read(
        ReadOrder(
            source=path,
            media_type=received.media_type,
            destination=table_path,
            max_cells=settings.max_cells,
            max_bytes=settings.max_body_bytes,
            options=options.reading,
        )
    )
    if existing is not None and _restore(context, existing, path, table_path, table):
        return datasets.get(context.database, existing.resource.id), False
    now = context.now()
    dataset = Dataset(
        id=new_id("ds", now),
        name=received.options.name or received.filename or f"{sha256[:12]}",
        sha256=sha256,
        bytes=path.stat().st_size,
        media_type=media_type,
        rows=table.rows,
        columns=table.columns,
        created_at=now,
        reading=table.reading,
    )
    folder = f"datasets/{dataset.id}"
    content = context.artifacts.put_file(f"{folder}/content", path)
    typed = context.artifacts.put_file(f"{folder}/table.parquet", table_path)
    stored = datasets.insert(context.database, dataset, content, typed)
    if stored.id != dataset.id:
        context.artifacts.delete_prefix(folder)
    return stored, stored.id == dataset.id


def _is_intact(context: Context, record: DatasetRecord) -> bool:
    """Return whether both files of a dataset are intact."""
    try:
        for file in (record.content, record.table):
            with context.artifacts.open(file):
                pass
    except (ArtifactMissing, ArtifactCorrupt) as error:
        log.warning("dataset is healed by an upload", dataset=record.resource.id, reason=error.detail)
        return False
    return True


def _restore(context: Context, record: DatasetRecord, content: Path, table: Path, read: ReadDone) -> bool:
    """Write the files of a dataset again. Return False if it was deleted meanwhile."""
    dataset_id = record.resource.id
    context.artifacts.put_file(record.content.key, content)
    with table.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 == record.table.sha256:
        context.artifacts.put_file(record.table.key, table)
        return True
    # another version may write other bytes: they get a new key, because the row still names the old file
    typed = context.artifacts.put_file(f"datasets/{dataset_id}/table-{sha256[:12]}.parquet", table)
    if datasets.replace_table(context.database, dataset_id, read.rows, read.columns, read.reading, typed):
        context.artifacts.delete(record.table.key)
        return True
    context.artifacts.delete_prefix(f"datasets/{dataset_id}")
    return False


def check_encoding(request: Request) -> str | None:
    """Return the Content-Encoding of the body; None for an uncompressed body.

    Raises:
        UnsupportedMediaType: it is neither gzip nor zstd.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        return None
    if encoding not in ENCODINGS:
        raise UnsupportedMediaType(f"the Content-Encoding {encoding!r} is not supported; send gzip, zstd or none")
    return encoding


async def _receive_form(request: Request, path: Path, options: UploadOptions) -> Received:
    try:
        async with request.form(max_files=2, max_fields=100) as form:
            files = [value for name, value in form.multi_items() if isinstance(value, UploadFile)]
            odd = [name for name, value in form.multi_items() if isinstance(value, UploadFile) and name != "file"]
            if odd:
                name = shown(odd[0])
                raise InvalidRequest.at(
                    pointer(odd[0]), f"the field {name!r} of the form holds a file; a table is 'file'"
                )
            if len(files) != 1:
                raise InvalidRequest.at("/file", f"the form must hold one file in the field 'file', not {len(files)}")
            [file] = files
            options = with_fields(
                options, ((name, value) for name, value in form.multi_items() if isinstance(value, str))
            )
            filename = Path((file.filename or "").replace("\\", "/")).name[:200] or None
            declared = (file.content_type or "").partition(";")[0].strip().lower()
            named, _ = media.form_of(filename or "")
            media_type = declared if declared in DATASET_TYPES else named
            if media_type not in DATASET_TYPES:
                raise UnsupportedMediaType(
                    f"the file's type {declared!r} and name {filename!r} tell no form; send {', '.join(DATASET_TYPES)} "
                    f"or a name that ends in {', '.join(SUFFIXES)}, or one of these and "
                    f"{' or '.join(media.COMPRESSED)}"
                )
            with path.open("wb") as target:
                while block := await file.read(BLOCK):
                    await to_thread.run_sync(target.write, block)
            return Received(path, media_type, filename, options)
    except MultiPartException as error:
        raise InvalidRequest(f"the form cannot be read: {error.message}") from error


def _decompressed(path: Path, encoding: str | None, max_bytes: int) -> Path:
    if encoding is None:
        return path
    plain = path.with_name("plain")
    decompress(path, cast("Literal['gzip', 'zstd']", encoding), plain, max_bytes)
    return plain
