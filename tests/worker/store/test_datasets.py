"""A dataset is stored once, found again, and kept while a job uses it."""

import pytest
from support.clock import START, Clock
from support.stored import make_dataset, queue_fit, ref, store_dataset

from worker.contracts.errors import Conflict, InvalidRequest, NotFound
from worker.contracts.requests import FitRequest, Validation
from worker.contracts.resources import Dataset, JobError
from worker.store import datasets, jobs
from worker.store.database import Database


def insert(database: Database, dataset: Dataset) -> Dataset:
    return datasets.insert(database, dataset, ref("content"), ref("table"))


def test_a_dataset_comes_back_as_it_was_stored(database: Database) -> None:
    dataset = make_dataset(START)
    assert insert(database, dataset) == dataset
    assert datasets.get(database, dataset.id) == dataset
    record = datasets.get_record(database, dataset.id)
    assert (record.content, record.table) == (ref("content"), ref("table"))
    assert (record.table_ref.rows, record.table_ref.columns) == (dataset.rows, dataset.columns)


def test_the_same_bytes_are_the_same_dataset_unless_they_are_read_as_another_type(database: Database) -> None:
    first = insert(database, make_dataset(START))
    assert insert(database, make_dataset(START, name="again")) == first
    other = make_dataset(START, media_type="application/json")
    assert insert(database, other) == other
    found = datasets.find_by_sha256(database, first.sha256, "text/csv")
    assert found is not None
    assert found.resource == first
    assert datasets.find_by_sha256(database, "c" * 64, "text/csv") is None


def test_a_column_may_hold_any_text(database: Database) -> None:
    dataset = make_dataset(START)
    odd = dataset.model_copy(update={"columns": [dataset.columns[0].model_copy(update={"name": "a\x00é🎉"})]})
    insert(database, odd)
    assert datasets.get(database, odd.id) == odd


def test_a_name_with_nul_is_refused(database: Database) -> None:
    with pytest.raises(InvalidRequest):
        insert(database, make_dataset(START, name="a\x00b"))


def test_pages_are_newest_first(database: Database) -> None:
    made = [insert(database, make_dataset(START, sha256=str(n) * 64)).id for n in range(5)]
    first = datasets.list_page(database, limit=3)
    second = datasets.list_page(database, limit=3, after=first.next)
    assert [one.id for one in first.items + second.items] == made[::-1]
    assert second.next is None


def test_a_page_has_no_more_columns_than_the_widest_dataset(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(datasets, "MAX_COLUMNS", 5)
    made = [insert(database, make_dataset(START, sha256=str(n) * 64)).id for n in range(5)]
    pages = [datasets.list_page(database)]
    while pages[-1].next is not None:
        pages.append(datasets.list_page(database, after=pages[-1].next))
    assert [len(page.items) for page in pages] == [2, 2, 1]
    assert [one.id for page in pages for one in page.items] == made[::-1]


def test_a_dataset_is_kept_while_a_job_uses_it(database: Database) -> None:
    clock = Clock()
    job_id = queue_fit(database, clock())
    dataset_id = jobs.get(database, job_id).dataset
    with pytest.raises(Conflict, match="uses the dataset"):
        datasets.delete(database, dataset_id)
    claim = jobs.claim(database, job_id, "worker", 30, clock())
    assert claim is not None
    with pytest.raises(Conflict):
        datasets.delete(database, dataset_id)
    jobs.fail(database, job_id, claim.token, JobError(type="x", detail="x"), clock())
    assert datasets.delete(database, dataset_id).resource.id == dataset_id
    with pytest.raises(NotFound):
        datasets.get(database, dataset_id)
    with pytest.raises(NotFound):
        datasets.delete(database, dataset_id)
    assert jobs.get(database, job_id).dataset == dataset_id


def test_a_validation_dataset_is_kept_likewise(database: Database) -> None:
    dataset_id, other_id = store_dataset(database, START), store_dataset(database, START, "b" * 64)
    request = FitRequest(dataset=dataset_id, target="price", task="regression", validation=Validation(dataset=other_id))
    with database.transaction() as session:
        jobs.insert_job(session, job_id="job_1", request=request, dataset_ids=[dataset_id, other_id], now=START)
    with pytest.raises(Conflict):
        datasets.delete(database, other_id)
    jobs.request_cancel(database, "job_1", START)
    datasets.delete(database, other_id)
    with pytest.raises(Conflict, match="deleted"):
        jobs.retry(database, "job_1", START)


def test_an_impossible_id_is_not_found(database: Database) -> None:
    for dataset_id in ("ds_none", "ds_\x00"):
        with pytest.raises(NotFound):
            datasets.get(database, dataset_id)
