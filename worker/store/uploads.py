"""Rows of uploads in parts. A part's file is stored before its row."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import Conflict, NotFound, RequestInFlight, TooManyUploads
from worker.contracts.resources import Page, Upload, UploadPart
from worker.store.database import Database, advisory_lock, insert_into, owner
from worker.store.pagination import first_page
from worker.store.schema.columns import storable
from worker.store.schema.tables import LockRow, UploadPartRow, UploadRow

OWN_COLUMNS = ("id", "state", "bytes", "part_bytes", "total_parts", "parts", "dataset", "created_at", "expires_at")
"""Fields of an upload that are no part of its request."""
PURGED_AT_ONCE = 200


@dataclass(frozen=True)
class UploadRecord:
    """An upload with the files of its parts, by number."""

    resource: Upload
    files: dict[int, ArtifactRef]


def lock_name(upload_id: str) -> str:
    """Return the name of the lock that the process holds which completes an upload."""
    return f"upload/{upload_id}"


def insert(database: Database, upload: Upload, max_open: int) -> None:
    """Store a new upload.

    Raises:
        TooManyUploads: the project has ``max_open`` uploads that are not complete.
        InvalidRequest: a text holds NUL or half a surrogate pair.
    """
    with database.transaction() as session:
        advisory_lock(session, f"uploads of {owner(session)}")
        unfinished = select(func.count()).where(
            UploadRow.project == owner(session),
            UploadRow.dataset_id.is_(None),
            UploadRow.expires_at > upload.created_at,
        )
        if session.scalars(unfinished).one() >= max_open:
            raise TooManyUploads(
                f"the project has {max_open} uploads that are not complete, as many as it may; complete or delete one "
                "of GET /v1/uploads"
            )
        session.add(
            UploadRow(
                id=upload.id,
                project=owner(session),
                request=upload.model_dump(mode="json", exclude=set(OWN_COLUMNS)),
                bytes=upload.bytes,
                part_bytes=upload.part_bytes,
                created_at=upload.created_at,
                expires_at=upload.expires_at,
            )
        )


def get(database: Database, upload_id: str, now: datetime) -> UploadRecord:
    """Return an upload and its files.

    Raises:
        NotFound: no such upload, or it has expired.
    """
    with database.reading() as session:
        return _records(session, [_row(session, upload_id, now)], now)[0]


def list_page(database: Database, now: datetime, limit: int = 50, after: str | None = None) -> Page[Upload]:
    """Return uploads, newest first, older than the id ``after``."""
    with database.reading() as session:
        query = select(UploadRow).where(UploadRow.expires_at > now).order_by(UploadRow.id.desc()).limit(limit + 1)
        if after is not None:
            query = query.where(UploadRow.id < after)
        records = _records(session, session.scalars(query).all(), now)
        items, following = first_page([record.resource for record in records], limit)
        return Page[Upload](items=items, next=following)


def add_part(
    database: Database, upload_id: str, number: int, file: ArtifactRef, now: datetime, ttl_s: float
) -> UploadPart:
    """Store a part, whose ``file`` is in storage. The upload then expires ``ttl_s`` seconds from ``now``.

    Raises:
        NotFound: no such upload, or it has expired.
        Conflict: it is complete, or has other bytes as this part.
    """
    with database.transaction() as session:
        row = _row(session, upload_id, now, lock=True)
        if row.dataset_id is not None:
            raise Conflict(f"the upload {upload_id} is complete: it is the dataset {row.dataset_id}")
        row.expires_at = now + timedelta(seconds=ttl_s)
        session.execute(
            insert_into(session, UploadPartRow)
            .values(upload_id=upload_id, number=number, file=file.model_dump(mode="json"))
            .on_conflict_do_nothing(index_elements=[UploadPartRow.upload_id, UploadPartRow.number])
        )
        same = (UploadPartRow.upload_id == upload_id, UploadPartRow.number == number)
        there = ArtifactRef.model_validate(session.scalars(select(UploadPartRow.file).where(*same)).one())
        check_same(number, there, file.sha256)
    return UploadPart(number=number, bytes=there.bytes, sha256=there.sha256)


def check_same(number: int, there: ArtifactRef, sha256: str) -> None:
    """Check that a part that is there has this checksum: what was acknowledged does not change.

    Raises:
        Conflict: it has another.
    """
    if there.sha256 != sha256:
        raise Conflict(
            f"part {number} is there with other bytes: its sha256 is {there.sha256} and not {sha256}; if the file has "
            "changed, delete the upload and begin another"
        )


def forget_part(database: Database, upload_id: str, number: int, key: str) -> None:
    """Delete a part whose file is lost or damaged, so that it can be sent again."""
    with database.transaction() as session:
        row = session.get(UploadPartRow, (upload_id, number))
        if row is not None and row.file["key"] == key:
            session.delete(row)


def finish(database: Database, upload_id: str, dataset_id: str, now: datetime, ttl_s: float) -> None:
    """Record that an upload is a dataset now, and delete the rows of its parts. The caller deletes their files."""
    with database.transaction() as session:
        values = {"dataset_id": dataset_id, "expires_at": now + timedelta(seconds=ttl_s)}
        done = update(UploadRow).where(UploadRow.id == upload_id).values(**values)
        if session.execute(done.returning(UploadRow.id)).one_or_none() is not None:
            session.execute(sql_delete(UploadPartRow).where(UploadPartRow.upload_id == upload_id))


def delete(database: Database, upload_id: str, now: datetime) -> None:
    """Delete an upload. The caller deletes the files. The dataset of a complete one stays.

    Raises:
        NotFound: no such upload, or it has expired.
        RequestInFlight: it is being completed.
    """

    def remove(session: Session) -> None:
        row = _row(session, upload_id, now, lock=True)
        if _held(session, [upload_id], now):
            raise RequestInFlight(f"the upload {upload_id} is being completed; try again later")
        session.delete(row)

    database.free(remove)


def purge(database: Database, now: datetime) -> list[str]:
    """Delete some expired uploads that are not being completed. Returns their ids; the caller deletes the files."""
    with database.transaction() as session:
        expired = select(UploadRow.id).where(UploadRow.expires_at <= now).limit(PURGED_AT_ONCE)
        ids = session.scalars(expired.with_for_update()).all()
        gone = sorted(set(ids) - _held(session, ids, now))
        session.execute(sql_delete(UploadRow).where(UploadRow.id.in_(gone)))
        # of processes that died while they completed one
        session.execute(sql_delete(LockRow).where(LockRow.name.in_(map(lock_name, gone))))
    return gone


def _row(session: Session, upload_id: str, now: datetime, *, lock: bool = False) -> UploadRow:
    query = select(UploadRow).where(UploadRow.id == upload_id, UploadRow.expires_at > now)
    row = session.scalars(query.with_for_update() if lock else query).one_or_none() if storable(upload_id) else None
    if row is None:
        raise NotFound(f"there is no upload {upload_id!r}; it may have expired")
    return row


def _held(session: Session, ids: Collection[str], now: datetime) -> set[str]:
    """Return those of the uploads that a process completes."""
    names = {lock_name(upload_id): upload_id for upload_id in ids}
    held = session.scalars(select(LockRow.name).where(LockRow.name.in_(names), LockRow.expires_at > now))
    return {names[name] for name in held}


def _records(session: Session, rows: Sequence[UploadRow], now: datetime) -> list[UploadRecord]:
    ids = [row.id for row in rows]
    held = _held(session, ids, now)
    files: dict[str, dict[int, ArtifactRef]] = {upload_id: {} for upload_id in ids}
    query = select(UploadPartRow).where(UploadPartRow.upload_id.in_(ids)).order_by(UploadPartRow.number)
    for part in session.scalars(query):
        files[part.upload_id][part.number] = ArtifactRef.model_validate(part.file)
    return [UploadRecord(_resource(row, files[row.id], row.id in held), files[row.id]) for row in rows]


def _resource(row: UploadRow, files: dict[int, ArtifactRef], held: bool) -> Upload:
    state = "complete" if row.dataset_id is not None else "completing" if held else "open"
    own: dict[str, Any] = {
        "id": row.id,
        "state": state,
        "bytes": row.bytes,
        "part_bytes": row.part_bytes,
        "total_parts": -(-row.bytes // row.part_bytes),
        "parts": [UploadPart(number=number, bytes=file.bytes, sha256=file.sha256) for number, file in files.items()],
        "dataset": row.dataset_id,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
    }
    return Upload.model_validate({**row.request, **own})
