"""A batch tells how its jobs stand, in the order they were given."""

import pytest
from support.clock import START
from support.stored import queue_fit, store_dataset

from worker.contracts.errors import Conflict, NotFound
from worker.contracts.requests import FitRequest
from worker.contracts.resources import BatchCounts
from worker.store import jobs
from worker.store.database import Database
from worker.store.ids import new_id
from worker.store.jobs import batches


def queue_batch(database: Database, size: int) -> tuple[str, list[str]]:
    batch_id, job_ids = new_id("bat", START), [new_id("job", START) for _ in range(size)]
    dataset_id = store_dataset(database, START)
    request = FitRequest(dataset=dataset_id, target="price", task="regression")
    with database.transaction() as session:
        batches.insert(session, batch_id, total=size, now=START)
        for job_id in job_ids:
            jobs.insert_job(
                session, job_id=job_id, request=request, dataset_ids=[dataset_id], batch_id=batch_id, now=START
            )
    return batch_id, job_ids


def test_a_batch_links_to_its_jobs_in_order_and_counts_them(database: Database) -> None:
    batch_id, job_ids = queue_batch(database, 5)
    queue_fit(database, START)
    jobs.claim(database, job_ids[2], "worker", 30, START)
    batch = batches.get(database, batch_id)
    assert (batch.total, batch.created_at) == (5, START)
    assert batch.jobs == [f"/v1/jobs/{job_id}" for job_id in job_ids]
    assert batch.counts == BatchCounts(queued=4, running=1)
    assert batches.job_ids(database, batch_id) == job_ids
    assert {job.batch for job in jobs.list_page(database, batch=batch_id).items} == {batch_id}


def test_as_many_jobs_of_a_batch_run_at_once_as_there_are_workers(database: Database) -> None:
    batch_id, job_ids = queue_batch(database, 4)
    for worker in range(3):
        job_id = jobs.next_queued(database)
        assert job_id is not None
        assert jobs.claim(database, job_id, f"worker-{worker}", 30, START)
    assert batches.get(database, batch_id).counts == BatchCounts(queued=1, running=3)
    assert [lease.job_id for lease in jobs.leases(database)] == job_ids[:3]


def test_a_cancel_reaches_every_job_that_has_not_ended(database: Database) -> None:
    batch_id, job_ids = queue_batch(database, 4)
    jobs.claim(database, job_ids[0], "worker", 30, START)
    jobs.request_cancel(database, job_ids[1], START)
    for _ in range(2):
        assert batches.cancel(database, batch_id, START).counts == BatchCounts(running=1, cancelled=3)
    assert jobs.get(database, job_ids[0]).cancel_requested


def test_all_jobs_of_a_batch_are_queued_or_none(database: Database) -> None:
    batch_id = new_id("bat", START)
    good, bad = (
        FitRequest(dataset=dataset_id, target="price", task="regression")
        for dataset_id in (store_dataset(database, START), new_id("ds", START))
    )

    def queue_both() -> None:
        with database.transaction() as session:
            batches.insert(session, batch_id, total=2, now=START)
            for request in (good, bad):
                jobs.insert_job(
                    session,
                    job_id=new_id("job", START),
                    request=request,
                    dataset_ids=[request.dataset],
                    batch_id=batch_id,
                    now=START,
                )

    with pytest.raises(Conflict):
        queue_both()
    assert jobs.list_page(database).items == []
    for wrong in (batch_id, "bat_\x00"):
        with pytest.raises(NotFound):
            batches.get(database, wrong)
        with pytest.raises(NotFound):
            batches.cancel(database, wrong, START)


def test_batches_are_listed_newest_first_with_their_counts(database: Database) -> None:
    made = [queue_batch(database, size)[0] for size in (1, 2, 3)]
    first = batches.list_page(database, limit=2)
    assert [batch.id for batch in first.items] == made[:0:-1]
    assert [batch.counts for batch in first.items] == [BatchCounts(queued=3), BatchCounts(queued=2)]
    rest = batches.list_page(database, limit=2, after=first.next)
    assert ([batch.id for batch in rest.items], rest.next) == ([made[0]], None)
    assert batches.list_page(database.for_project("others")).items == []
