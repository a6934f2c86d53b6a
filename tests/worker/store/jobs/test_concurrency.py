"""Many threads, each with its own connection, want the same thing at the same moment."""

from collections.abc import Callable
from functools import partial

import pytest
from support.clock import START, Clock
from support.stored import at_once, expire, fit_done, queue_fit, queue_predict, store_dataset, train_model

from worker.contracts.errors import Conflict, LeaseLost, RequestInFlight
from worker.contracts.events import LogData
from worker.contracts.resources import FINAL_STATES
from worker.store import datasets, idempotency, jobs, locks, models
from worker.store.database import Database
from worker.store.jobs import events, queries

NOW = START


def test_one_of_twenty_workers_claims_a_job(database: Database) -> None:
    job_id = queue_fit(database, NOW)
    claims = at_once([partial(jobs.claim, database, job_id, f"worker-{n}", 30, NOW) for n in range(20)])
    won = [claim for claim in claims if isinstance(claim, jobs.Claim)]
    assert len(won) == 1
    assert claims.count(None) == 19
    assert jobs.get(database, job_id).attempt == 1


def test_one_of_twenty_workers_takes_over_an_expired_job(database: Database) -> None:
    job_id = queue_fit(database, NOW)
    clock = Clock()
    jobs.claim(database, job_id, "first", 30, NOW)
    later = clock.pass_seconds(31)
    steps: list[Callable[[], object]] = [
        partial(jobs.claim, database, job_id, f"worker-{n}", 30, later) for n in range(10)
    ]
    steps += [partial(expire, database, later) for _ in range(10)]
    outcomes = at_once(steps)
    assert not [one for one in outcomes if isinstance(one, Exception)]
    assert len([one for one in outcomes if isinstance(one, jobs.Claim)]) <= 2
    with database.reading() as session:
        assert queries.find(session, job_id).lost_attempts == 1


def test_models_of_one_name_get_consecutive_versions(database: Database) -> None:
    claims = [jobs.claim(database, queue_fit(database, NOW, model="m"), "worker", 30, NOW) for _ in range(16)]
    steps = [
        partial(jobs.succeed_fit, database, claim.job_id, claim.token, fit_done(), NOW) for claim in claims if claim
    ]
    made = at_once(steps)
    assert all(isinstance(model_id, str) for model_id in made)
    versions = [model.version for model in models.list_page(database, name="m").items]
    assert sorted(versions) == list(range(1, 17))


def test_one_attempt_that_says_success_often_makes_one_model(database: Database) -> None:
    claim = jobs.claim(database, queue_fit(database, NOW), "worker", 30, NOW)
    assert claim is not None
    made = at_once([partial(jobs.succeed_fit, database, claim.job_id, claim.token, fit_done(), NOW)] * 10)
    assert len(set(made)) == 1
    assert [model.id for model in models.list_page(database).items] == made[:1]


def test_events_that_come_at_once_have_no_gaps(database: Database) -> None:
    job_id = queue_fit(database, NOW)
    claim = jobs.claim(database, job_id, "worker", 30, NOW)
    assert claim is not None

    def record(number: int) -> None:
        for _ in range(5):
            jobs.record(database, job_id, claim.token, NOW, events=[LogData(message=str(number))] * 2)

    assert at_once([partial(record, n) for n in range(10)]) == [None] * 10
    assert [one.seq for one in events.list_events(database, job_id, limit=1000)] == list(range(1, 103))


def test_a_cancel_and_a_result_at_once_agree(database: Database) -> None:
    for _ in range(10):
        job_id = queue_fit(database, NOW)
        claim = jobs.claim(database, job_id, "worker", 30, NOW)
        assert claim is not None
        cancelled, model_id = at_once(
            [
                partial(jobs.request_cancel, database, job_id, NOW),
                partial(jobs.succeed_fit, database, job_id, claim.token, fit_done(), NOW),
            ]
        )
        job = jobs.get(database, job_id)
        assert job.state in FINAL_STATES
        assert (job.state == "succeeded") == isinstance(cancelled, Conflict) == isinstance(model_id, str)


def test_an_owner_and_the_reconciler_at_once_agree(database: Database) -> None:
    clock = Clock()
    for _ in range(10):
        job_id = queue_fit(database, clock())
        claim = jobs.claim(database, job_id, "worker", 30, clock())
        assert claim is not None
        late = clock.pass_seconds(31)
        expired, model_id = at_once(
            [
                partial(expire, database, late),
                partial(jobs.succeed_fit, database, job_id, claim.token, fit_done(), late),
            ]
        )
        if isinstance(model_id, LeaseLost):
            assert expired == [(job_id, "queued")]
            assert jobs.get(database, job_id).model is None
        else:
            assert expired == []
            assert jobs.get(database, job_id).model == model_id


def test_a_request_that_comes_often_at_once_starts_once(database: Database) -> None:
    outcomes = at_once([partial(idempotency.begin, database, "key", "body", NOW)] * 20)
    assert len([one for one in outcomes if isinstance(one, idempotency.Started)]) == 1
    assert len([one for one in outcomes if isinstance(one, RequestInFlight)]) == 19


def test_one_of_many_gets_the_lock(database: Database) -> None:
    outcomes = at_once([partial(locks.try_lock, database, "name", f"owner-{n}", 10, NOW) for n in range(20)])
    assert outcomes.count(True) == 1
    assert outcomes.count(False) == 19


def test_the_same_bytes_at_once_are_one_dataset(database: Database) -> None:
    ids = at_once([partial(store_dataset, database, NOW)] * 10)
    assert len(set(ids)) == 1
    assert len(datasets.list_page(database).items) == 1


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_what_a_job_uses_is_deleted_before_it_is_queued_or_not_at_all(database: Database, kind: str) -> None:
    for _ in range(8):
        model_id = train_model(database, NOW)
        dataset_id = store_dataset(database, NOW)
        remove: Callable[[], object] = (
            partial(datasets.delete, database, dataset_id)
            if kind == "dataset"
            else partial(models.delete, database, model_id)
        )
        removed, job_id = at_once([remove, partial(queue_predict, database, NOW, model_id)])
        if isinstance(job_id, str) and kind == "dataset" and not isinstance(removed, Exception):
            # The upload came after the delete and made the dataset anew.
            assert jobs.get(database, job_id).dataset != dataset_id
        else:
            assert isinstance(removed, Conflict) == isinstance(job_id, str)
            assert isinstance(removed, Conflict) or isinstance(job_id, Conflict)
        if isinstance(job_id, str):
            assert jobs.claim(database, job_id, "worker", 30, NOW) is not None
            jobs.lose(database, job_id, None, NOW, "gone", max_lost=1)
