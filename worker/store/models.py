"""Rows of models: named, versioned, immutable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Select, Text, and_, bindparam, cast, func, or_, select, update
from sqlalchemy import delete as sql_delete
from sqlalchemy import insert as sql_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import ArtifactMissing, Conflict, InvalidRequest, NotFound
from worker.contracts.messages import FitDone
from worker.contracts.requests import ModelChange
from worker.contracts.resources import Model, Page
from worker.contracts.resources.fitted import FittedModelSummary
from worker.contracts.validation import left_out_chose_before, validation_chose_before
from worker.store.database import Database, insert_into, is_foreign_key_violation, owner
from worker.store.ids import new_id
from worker.store.pagination import first_page
from worker.store.schema.columns import storable
from worker.store.schema.tables import ModelNameRow, ModelRow

R = TypeVar("R")


@dataclass(frozen=True)
class ModelRecord:
    """A model with its summary, its file and the file of its matrices."""

    resource: Model
    summary: FittedModelSummary
    model: ArtifactRef
    matrices: ArtifactRef


def insert(
    session: Session, *, project: str, name: str, job_id: str, dataset_id: str, done: FitDone, now: datetime
) -> str:
    """Store a fitted model as the next version of ``name``, in the transaction that ends its job. Returns its id."""
    # the row of the name stays locked until the commit, so versions are consecutive
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


def get(database: Database, ref: str, version: str | None = None) -> ModelRecord:
    """Return the model that ``ref`` names: an id, a name (its default, newest or given version) or name@version.

    Raises:
        NotFound: no such model.
    """
    with database.reading() as session:
        return find_record(session, ref, version)


def get_id(database: Database, ref: str, version: str | None = None) -> str:
    """Return the id of the model that ``get`` finds, with a faster query.

    Raises:
        NotFound: no such model.
    """
    if database.project is None:
        return get(database, ref, version).resource.id
    values = _values(ref, version)
    model_id: str | None = None
    if values is not None:
        # every prediction asks this
        model_id = database.scalar(_id_query("version" in values), {**values, "project": database.project})
    if model_id is None:
        raise _not_found(ref, version)
    return model_id


def find_record(session: Session, ref: str, version: str | None = None) -> ModelRecord:
    """Return the model that ``ref`` and perhaps a version name, inside a transaction.

    Raises:
        NotFound: no such model.
    """
    values = _values(ref, version)
    row = None if values is None else session.execute(_query("version" in values), values).one_or_none()
    if row is None:
        raise _not_found(ref, version)
    return to_record(*row)


def use_resolved(database: Database, find: Callable[[], str], use: Callable[[str], R]) -> R:
    """Return the result of ``use`` for the id that ``find`` resolves.

    If that model is deleted meanwhile, the reference may mean another model now, so it is resolved again.

    Raises:
        NotFound: no such model, or no longer.
    """
    while True:
        model_id = find()
        try:
            return use(model_id)
        except (NotFound, ArtifactMissing):
            if _is_there(database, model_id):
                raise


def use(database: Database, ref: str, read: Callable[[ModelRecord], R]) -> R:
    """Return the result of ``read`` for the model that ``ref`` names, and its files: see ``use_resolved``.

    Raises:
        NotFound: no such model, or no longer.
    """
    return use_resolved(database, lambda: get(database, ref).resource.id, lambda id_: read(get(database, id_)))


def _is_there(database: Database, model_id: str) -> bool:
    with database.reading() as session:
        return session.scalar(select(ModelRow.id).where(ModelRow.id == model_id)) is not None


def names(database: Database, ids: Sequence[str]) -> dict[str, str]:
    """Return name@version by id, of existing models."""
    if not ids:
        return {}
    with database.reading() as session:
        rows = session.execute(select(ModelRow.id, ModelRow.name, ModelRow.version).where(ModelRow.id.in_(ids)))
        return {row.id: f"{row.name}@{row.version}" for row in rows}


def list_page(
    database: Database, limit: int = 50, after: str | None = None, name: str | None = None, tag: str | None = None
) -> Page[Model]:
    """Return models, newest first, older than the id ``after``; of one name and with one tag when given."""
    with database.reading() as session:
        query = _named().order_by(ModelRow.id.desc()).limit(limit + 1)
        if after is not None:
            query = query.where(ModelRow.id < after)
        if name is not None:
            query = query.where(ModelRow.name == name)
        if tag is not None:
            # a tag has no character that JSON escapes, so its quoted form matches the whole tag only
            query = query.where(cast(ModelRow.tags, Text).contains(f'"{tag}"', autoescape=True))
        items, following = first_page([to_record(*row).resource for row in session.execute(query)], limit)
        return Page[Model](items=items, next=following)


def _unchecked(model: Model) -> None:
    return


def change(database: Database, ref: str, changes: ModelChange, check: Callable[[Model], None] = _unchecked) -> Model:
    """Change the description, the tags and the default version of a model. Returns the model afterwards.

    ``check`` gets the locked model before the change; its exceptions abort the change.

    Raises:
        NotFound: no such model.
        InvalidRequest: its name has no such version.
    """
    fields = changes.model_fields_set
    with database.transaction() as session:
        model = _locked(session, ref).resource
        check(model)
        values: dict[str, Any] = {}
        if "description" in fields:
            values["description"] = changes.description or ""
        if "tags" in fields:
            values["tags"] = sorted(set(changes.tags or []))
        if values:
            session.execute(update(ModelRow).where(ModelRow.id == model.id).values(values))
        if "default_version" in fields:
            _set_default(session, model.name, changes.default_version)
        # by id: the name may mean another version now
        return find_record(session, model.id).resource


def _locked(session: Session, ref: str) -> ModelRecord:
    """Return the model that ``ref`` names, and lock its name until the commit."""
    model = find_record(session, ref).resource
    name = ModelNameRow.name == model.name, ModelNameRow.project == owner(session)
    session.execute(select(ModelNameRow.name).where(*name).with_for_update())
    session.expire_all()
    return find_record(session, model.id)


def _set_default(session: Session, name: str, version: int | None) -> None:
    if version is not None:
        # locked until the commit, so that it is not deleted meanwhile
        query = select(ModelRow).where(ModelRow.name == name, ModelRow.version == version).with_for_update()
        if session.scalars(query).one_or_none() is None:
            raise InvalidRequest.at("/default_version", f"the model {name!r} has no version {version}")
    session.execute(
        update(ModelNameRow)
        .where(ModelNameRow.name == name, ModelNameRow.project == owner(session))
        .values(default_version=version)
    )


def delete(database: Database, ref: str, check: Callable[[Model], None] = _unchecked) -> ModelRecord:
    """Delete the row and return its record. The caller deletes the files. ``check``: as for ``change``.

    Raises:
        NotFound: no such model.
        Conflict: a queued or running job predicts with it.
    """

    def remove(session: Session) -> ModelRecord:
        record = _locked(session, ref)
        check(record.resource)
        try:
            deleted = session.execute(
                sql_delete(ModelRow).where(ModelRow.id == record.resource.id).returning(ModelRow.id)
            ).one_or_none()
        except IntegrityError as error:
            if is_foreign_key_violation(error):
                raise Conflict(f"a queued or running job predicts with the model {ref!r}") from error
            raise
        if deleted is None:
            raise NotFound(f"there is no model {ref!r}")
        model = record.resource
        if model.default_version == model.version:
            _set_default(session, model.name, None)
        return record

    return database.free(remove)


def _named() -> Select[ModelRow, int | None]:
    """Select models, each with the default version of its name."""
    return select(ModelRow, ModelNameRow.default_version).join(
        ModelNameRow, and_(ModelNameRow.project == ModelRow.project, ModelNameRow.name == ModelRow.name)
    )


def _values(ref: str, version: str | None) -> dict[str, str | int] | None:
    """Return the parameters of the query for a model; None if no model can have such a reference."""
    name, at, number = ref.partition("@")
    versions = [text for text in (number if at else None, version) if text is not None]
    # a version is a number of at most nine digits: a longer one would not fit its column
    if not storable(ref) or not all(text.isascii() and text.isdecimal() and len(text) <= 9 for text in versions):
        return None
    numbers = {int(text) for text in versions}
    if len(numbers) > 1:
        return None
    values: dict[str, str | int] = {"ref": ref, "name": name}
    if numbers:
        values["version"] = numbers.pop()
    return values


@cache
def _query(versioned: bool) -> Select[ModelRow, int | None]:
    """Return the query for the parameters of ``_values``, cached: building it takes longer than running it."""
    is_it, by_name = ModelRow.id == bindparam("ref"), ModelRow.name == bindparam("name")
    query = _named().where(or_(is_it, by_name))
    if versioned:
        query = query.where(ModelRow.version == bindparam("version"))
    # an id precedes a name that looks like one; then the default version, then the newest
    chosen = ModelRow.version == func.coalesce(ModelNameRow.default_version, 0)
    return query.order_by(is_it.desc(), chosen.desc(), ModelRow.version.desc()).limit(1)


@cache
def _id_query(versioned: bool) -> Select[str]:
    return _query(versioned).with_only_columns(ModelRow.id).where(ModelRow.project == bindparam("project"))


def _not_found(ref: str, version: str | None) -> NotFound:
    return NotFound(f"there is no model {ref!r}" if version is None else f"there is no version {version} of {ref!r}")


def _left_out_chose(summary: FittedModelSummary) -> list[str]:
    if summary.left_out_chose is not None:
        return summary.left_out_chose
    short_runs = [run.model_dump() for run in summary.choices]
    return left_out_chose_before(summary.metrics, summary.spec, short_runs, summary.chosen_by)


def _validation_chose(summary: FittedModelSummary) -> list[str]:
    if summary.validation_chose is not None:
        return summary.validation_chose
    short_runs = [run.model_dump() for run in summary.choices]
    return validation_chose_before(summary.metrics, summary.spec, short_runs, summary.iterations)


def to_record(row: ModelRow, default_version: int | None = None) -> ModelRecord:
    """Return the model of a row, and its files. ``default_version``: of its name."""
    summary = FittedModelSummary.model_validate(row.summary)
    model = ArtifactRef.model_validate(row.model)
    alike = {
        name: getattr(summary, name) for name in Model.model_fields.keys() & FittedModelSummary.model_fields.keys()
    }
    chose = {"validation_chose": _validation_chose(summary), "left_out_chose": _left_out_chose(summary)}
    return ModelRecord(
        resource=Model(
            **alike | chose,
            id=row.id,
            name=row.name,
            version=row.version,
            default_version=default_version,
            description=row.description or "",
            tags=row.tags or [],
            encoded_features=len(summary.encoded_names),
            dropped_rows=summary.dropped[0],
            dropped_validation_rows=summary.dropped[1],
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
