"""A database that is scoped to a project sees, changes and deletes no row of another."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from support.clock import START
from support.stored import queue_fit, store_dataset, store_upload, train_model

from worker.contracts.errors import NotFound
from worker.store import datasets, idempotency, jobs, models, uploads
from worker.store.database import Database
from worker.store.ids import new_id
from worker.store.jobs import batches
from worker.store.schema.tables import BatchRow, DatasetRow, JobRow, ModelRow, Owned, UploadRow

OWNED = (DatasetRow, BatchRow, ModelRow, JobRow, UploadRow)


@pytest.fixture
def ours(database: Database) -> Database:
    return database.for_project("ours")


@pytest.fixture
def theirs(database: Database) -> Database:
    return database.for_project("theirs")


def test_every_table_with_a_project_is_tried_here() -> None:
    assert {one.__name__ for one in Owned.__subclasses__()} == {one.__name__ for one in OWNED}


@pytest.mark.parametrize("row", OWNED)
def test_rows_of_another_project_are_not_there(ours: Database, theirs: Database, row: Any) -> None:
    _fill(ours)
    with theirs.transaction() as session:
        assert session.scalars(select(row)).all() == []
        assert session.execute(select(func.count()).select_from(row)).scalar_one() == 0
        assert session.execute(select(row.id)).all() == []
        assert session.execute(update(row).values(project="theirs")).rowcount == 0
        assert session.execute(delete(row)).rowcount == 0
    with ours.reading() as session:
        found = session.scalars(select(row)).all()
        assert {one.project for one in found} == {"ours"}
    with theirs.reading() as session:
        assert all(session.get(row, one.id) is None for one in found)


def test_calls_for_another_projects_things_find_nothing(ours: Database, theirs: Database) -> None:
    made = _fill(ours)
    calls: list[Callable[[], object]] = [
        lambda: datasets.get(theirs, made["dataset"]),
        lambda: datasets.delete(theirs, made["dataset"]),
        lambda: models.get(theirs, made["model"]),
        lambda: models.get(theirs, "prices"),
        lambda: models.delete(theirs, "prices@1"),
        lambda: jobs.get(theirs, made["job"]),
        lambda: jobs.result(theirs, made["job"]),
        lambda: jobs.request_cancel(theirs, made["job"], START),
        lambda: jobs.retry(theirs, made["job"], START),
        lambda: jobs.delete(theirs, made["job"]),
        lambda: batches.get(theirs, made["batch"]),
        lambda: batches.cancel(theirs, made["batch"], START),
        lambda: uploads.get(theirs, made["upload"], START),
        lambda: uploads.delete(theirs, made["upload"], START),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert datasets.list_page(theirs).items == models.list_page(theirs).items == jobs.list_page(theirs).items == []
    assert jobs.counts(theirs).queued == 0
    assert jobs.get(ours, made["job"]).state == "queued"


def test_two_projects_may_have_the_same_bytes_and_the_same_names(ours: Database, theirs: Database) -> None:
    assert store_dataset(ours, START) != store_dataset(theirs, START)
    assert store_dataset(ours, START) == store_dataset(ours, START)
    for database in (ours, theirs):
        train_model(database, START)
        train_model(database, START)
    assert [models.get(one, "prices").resource.version for one in (ours, theirs)] == [2, 2]
    assert models.get(ours, "prices").resource.id != models.get(theirs, "prices").resource.id


def test_two_projects_may_use_the_same_idempotency_key(ours: Database, theirs: Database) -> None:
    for database in (ours, theirs):
        assert isinstance(idempotency.begin(database, "k", "x", START), idempotency.Started)


def test_a_worker_sees_all_projects_and_keeps_a_model_where_its_job_is(database: Database, ours: Database) -> None:
    job_id = queue_fit(ours, START)
    claim = jobs.claim(database, job_id, "w", 30, START)
    assert claim is not None
    train_model(database, START)
    assert models.list_page(ours).items == []
    assert [one.name for one in models.list_page(database.for_project("default")).items] == ["prices"]


def _fill(database: Database) -> dict[str, str]:
    """Make one of everything. Returns the ids."""
    batch_id = new_id("bat", START)
    with database.transaction() as session:
        batches.insert(session, batch_id, total=1, now=START)
    model_id = train_model(database, START)
    job_id = queue_fit(database, START, batch_id=batch_id)
    upload_id = store_upload(database, START)
    made = {"model": model_id, "job": job_id, "batch": batch_id, "upload": upload_id}
    return {"dataset": store_dataset(database, START), **made}
