"""Rows of models: named, versioned, immutable."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert as sql_insert
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import Conflict, NotFound
from worker.contracts.messages import FitDone, FittedModelSummary
from worker.contracts.resources import Model, Page
from worker.store.columns import storable
from worker.store.database import Database, insert_into, names_a_missing_row
from worker.store.ids import new_id
from worker.store.pages import first_page
from worker.store.rows import ModelNameRow, ModelRow


@dataclass(frozen=True)
class ModelRecord:
    """A model with what its row holds beside: the summary, and the files of the model and of its history's M."""

    resource: Model
    summary: FittedModelSummary
    model: ArtifactRef
    matrices: ArtifactRef


def insert(
    session: Session, *, project: str, name: str, job_id: str, dataset_id: str, done: FitDone, now: datetime
) -> str:
    """Store a fitted model as the next version of ``name``, in the transaction that ends its job. Returns its id."""
    # The row of the name stays locked to the commit, so versions are given one after another.
    version = session.execute(
        insert_into(session, ModelNameRow)
        .values(project=project, name=name, last_version=1)
        .on_conflict_do_update(
            index_elements=[ModelNameRow.project, ModelNameRow.name],
            set_={"last_version": ModelNameRow.last_version + 1},
        )
        .returning(ModelNameRow.last_version)
    ).scalar_one()
    model_id = new_id("mdl", now)
    session.execute(
        sql_insert(ModelRow).values(
            id=model_id,
            project=project,
            name=name,
            version=version,
            job_id=job_id,
            dataset_id=dataset_id,
            summary=done.summary.model_dump(mode="json"),
            model=done.model.model_dump(mode="json"),
            matrices=done.matrices.model_dump(mode="json"),
            created_at=now,
        )
    )
    return model_id


def get(database: Database, ref: str) -> ModelRecord:
    """Return the model that ``ref`` names: an id, a name (its latest version) or name@version.

    Raises:
        NotFound: no such model.
    """
    with database.reading() as session:
        return find_record(session, ref)


def find_record(session: Session, ref: str) -> ModelRecord:
    """Return the model that ``ref`` names, inside a transaction.

    Raises:
        NotFound: no such model.
    """
    row = _find(session, ref) if storable(ref) else None
    if row is None:
        raise NotFound(f"there is no model {ref!r}")
    return to_record(row)


def list_page(database: Database, limit: int = 50, after: str | None = None, name: str | None = None) -> Page[Model]:
    """Return models, newest first, older than the id ``after``; of one name when given."""
    with database.reading() as session:
        query = select(ModelRow).order_by(ModelRow.id.desc()).limit(limit + 1)
        if after is not None:
            query = query.where(ModelRow.id < after)
        if name is not None:
            query = query.where(ModelRow.name == name)
        items, following = first_page([to_record(row).resource for row in session.scalars(query)], limit)
        return Page[Model](items=items, next=following)


def delete(database: Database, ref: str) -> ModelRecord:
    """Delete the row and return what it named: its files are the caller's to delete.

    Raises:
        NotFound: no such model.
        Conflict: a queued or running job predicts with it.
    """
    with database.transaction() as session:
        record = find_record(session, ref)
        try:
            deleted = session.execute(
                sql_delete(ModelRow).where(ModelRow.id == record.resource.id).returning(ModelRow.id)
            ).one_or_none()
        except IntegrityError as error:
            if names_a_missing_row(error):
                raise Conflict(f"a queued or running job predicts with the model {ref!r}") from error
            raise
        if deleted is None:
            raise NotFound(f"there is no model {ref!r}")
        return record


def _find(session: Session, ref: str) -> ModelRow | None:
    row = session.get(ModelRow, ref)
    if row is not None:
        return row
    name, _, version = ref.partition("@")
    query = select(ModelRow).where(ModelRow.name == name).order_by(ModelRow.version.desc()).limit(1)
    if "@" in ref:
        if not (version.isascii() and version.isdecimal() and len(version) <= 9):
            return None
        query = query.where(ModelRow.version == int(version))
    return session.scalars(query).one_or_none()


def to_record(row: ModelRow) -> ModelRecord:
    """Return the model and the files that a row holds."""
    summary = FittedModelSummary.model_validate(row.summary)
    model = ArtifactRef.model_validate(row.model)
    return ModelRecord(
        resource=Model(
            id=row.id,
            name=row.name,
            version=row.version,
            task=summary.task,
            classes=summary.classes,
            features=summary.features,
            targets=summary.targets,
            encoded_features=len(summary.encoded_names),
            spec=summary.spec,
            metrics=summary.metrics,
            iteration=summary.iteration,
            iterations=summary.iterations,
            ridge=summary.ridge,
            bandwidth=summary.bandwidth,
            precision=summary.precision,
            solver=summary.solver,
            refitted=summary.refitted,
            choices=summary.choices,
            training_rows=summary.training_rows,
            bytes=model.bytes,
            sha256=model.sha256,
            dataset=row.dataset_id,
            job=row.job_id,
            created_at=row.created_at,
        ),
        summary=summary,
        model=model,
        matrices=ArtifactRef.model_validate(row.matrices),
    )
