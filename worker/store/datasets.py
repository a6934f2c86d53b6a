"""Rows of datasets, with the files of their content and their typed tables."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

from sqlalchemy import delete as sql_delete
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from worker.contracts.artifacts import ArtifactRef, TableRef
from worker.contracts.base import MAX_COLUMNS
from worker.contracts.errors import Conflict, NotFound
from worker.contracts.resources import Column, Dataset, Page, Reading
from worker.store.database import Database, insert_into, is_foreign_key_violation, owner
from worker.store.pagination import first_page
from worker.store.schema.columns import storable
from worker.store.schema.tables import DatasetRow

ROWS_AT_ONCE = 5


@dataclass(frozen=True)
class DatasetRecord:
    """A dataset with its files: ``content`` as uploaded, ``table`` typed."""

    resource: Dataset
    content: ArtifactRef
    table: ArtifactRef

    @property
    def table_ref(self) -> TableRef:
        """The reference to the typed table for a worker's order."""
        dataset = self.resource
        return TableRef(dataset=dataset.id, table=self.table, rows=dataset.rows, columns=dataset.columns)


def insert(database: Database, dataset: Dataset, content: ArtifactRef, table: ArtifactRef) -> Dataset:
    """Store a dataset, or return the existing one with the same bytes and media type.

    Raises:
        InvalidRequest: the name holds NUL or half a surrogate pair.
    """
    values = dataset.model_dump(mode="json", exclude={"created_at", "remarks"})
    with database.transaction() as session:
        same = (
            DatasetRow.project == owner(session),
            DatasetRow.sha256 == dataset.sha256,
            DatasetRow.media_type == dataset.media_type,
        )
        while True:
            created = session.execute(
                insert_into(session, DatasetRow)
                .values(
                    **values,
                    project=owner(session),
                    created_at=dataset.created_at,
                    content=content.model_dump(mode="json"),
                    table=table.model_dump(mode="json"),
                )
                .on_conflict_do_nothing(index_elements=[DatasetRow.project, DatasetRow.sha256, DatasetRow.media_type])
                .returning(DatasetRow.id)
            ).one_or_none()
            if created is not None:
                return dataset
            existing = session.scalars(select(DatasetRow).where(*same)).one_or_none()
            if existing is not None:
                return to_resource(existing)
            # It was deleted between the two statements, so the insert can succeed now.


def get(database: Database, dataset_id: str) -> Dataset:
    """Return a dataset.

    Raises:
        NotFound: no such dataset.
    """
    return get_record(database, dataset_id).resource


def get_record(database: Database, dataset_id: str) -> DatasetRecord:
    """Return a dataset and its files.

    Raises:
        NotFound: no such dataset.
    """
    with database.reading() as session:
        return find_record(session, dataset_id)


def find_record(session: Session, dataset_id: str) -> DatasetRecord:
    """Return a dataset and its files, inside a transaction.

    Raises:
        NotFound: no such dataset.
    """
    row = session.get(DatasetRow, dataset_id) if storable(dataset_id) else None
    if row is None:
        raise NotFound(f"there is no dataset {dataset_id!r}")
    return to_record(row)


def find_by_sha256(database: Database, sha256: str, media_type: str) -> DatasetRecord | None:
    """Return the dataset with these bytes, and its files; None if there is none."""
    with database.reading() as session:
        row = session.scalars(
            select(DatasetRow).where(DatasetRow.sha256 == sha256, DatasetRow.media_type == media_type)
        ).one_or_none()
        return None if row is None else to_record(row)


def replace_table(
    database: Database,
    dataset_id: str,
    rows: int,
    columns: Sequence[Column],
    reading: Reading | None,
    table: ArtifactRef,
) -> bool:
    """Replace the typed table of a dataset, and how it was read. Returns whether the dataset exists."""
    with database.transaction() as session:
        replaced = session.execute(
            update(DatasetRow)
            .where(DatasetRow.id == dataset_id)
            .values(
                rows=rows,
                columns=[column.model_dump(mode="json") for column in columns],
                reading=None if reading is None else reading.model_dump(mode="json"),
                table=table.model_dump(mode="json"),
            )
            .returning(DatasetRow.id)
        ).one_or_none()
        return replaced is not None


def list_page(database: Database, limit: int = 50, after: str | None = None) -> Page[Dataset]:
    """Return datasets, newest first, older than the id ``after``.

    A page is shorter if its datasets have more than ``MAX_COLUMNS`` columns in total: that bounds the length of a
    response to that of the widest dataset.
    """
    with database.reading() as session:
        query = select(DatasetRow).order_by(DatasetRow.id.desc()).limit(limit + 1)
        if after is not None:
            query = query.where(DatasetRow.id < after)
        datasets: list[Dataset] = []
        columns = 0
        with closing(session.scalars(query.execution_options(yield_per=ROWS_AT_ONCE))) as rows:
            for row in rows:
                columns += len(row.columns)
                if datasets and columns > MAX_COLUMNS:
                    return Page[Dataset](items=datasets[:limit], next=datasets[:limit][-1].id)
                datasets.append(to_resource(row))
        items, following = first_page(datasets, limit)
        return Page[Dataset](items=items, next=following)


def delete(database: Database, dataset_id: str) -> DatasetRecord:
    """Delete the row and return its record. The caller deletes the files.

    Raises:
        NotFound: no such dataset.
        Conflict: a queued or running job uses it.
    """

    def remove(session: Session) -> DatasetRecord:
        record = find_record(session, dataset_id)
        try:
            deleted = session.execute(
                sql_delete(DatasetRow).where(DatasetRow.id == dataset_id).returning(DatasetRow.id)
            ).one_or_none()
        except IntegrityError as error:
            if is_foreign_key_violation(error):
                raise Conflict(f"a queued or running job uses the dataset {dataset_id!r}") from error
            raise
        if deleted is None:
            raise NotFound(f"there is no dataset {dataset_id!r}")
        return record

    return database.free(remove)


def to_resource(row: DatasetRow) -> Dataset:
    """Return the dataset of a row."""
    return Dataset(
        id=row.id,
        name=row.name,
        sha256=row.sha256,
        bytes=row.bytes,
        media_type=row.media_type,
        rows=row.rows,
        columns=row.columns,
        created_at=row.created_at,
        reading=row.reading,
    )


def to_record(row: DatasetRow) -> DatasetRecord:
    """Return the dataset of a row, and its files."""
    return DatasetRecord(
        resource=to_resource(row),
        content=ArtifactRef.model_validate(row.content),
        table=ArtifactRef.model_validate(row.table),
    )
