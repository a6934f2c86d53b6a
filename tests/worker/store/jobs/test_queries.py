"""Jobs are listed newest first, page by page, and by what they are."""

import pytest
from support.clock import Clock
from support.stored import queue_fit, queue_predict, train_model

from worker.contracts.errors import InvalidRequest, NotFound
from worker.contracts.resources import BatchCounts, JobError
from worker.store import jobs
from worker.store.database import Database


def test_pages_show_every_job_once_newest_first(database: Database) -> None:
    clock = Clock()
    made = [queue_fit(database, clock()) for _ in range(7)]
    made += [queue_fit(database, clock.pass_seconds(0.001)) for _ in range(4)]
    seen: list[str] = []
    after = None
    while True:
        page = jobs.list_page(database, limit=4, after=after)
        seen += [job.id for job in page.items]
        after = page.next
        if after is None:
            break
    assert seen == made[::-1]


def test_a_full_last_page_has_no_next(database: Database) -> None:
    for _ in range(3):
        queue_fit(database, Clock()())
    assert jobs.list_page(database, limit=3).next is None


def test_jobs_are_found_by_state_kind_and_model(database: Database) -> None:
    now = Clock()()
    model_id = train_model(database, now, name="first")
    trained = jobs.list_page(database).items[0].id
    predicting = queue_predict(database, now, model_id)
    waiting = queue_fit(database, now, model="second")

    def ids(**wanted: str) -> list[str]:
        return [job.id for job in jobs.list_page(database, **wanted).items]  # type: ignore[arg-type]

    assert ids(state="queued") == [waiting, predicting]
    assert ids(kind="fit") == [waiting, trained]
    assert ids(model=model_id) == [predicting, trained]
    assert ids(model="second") == [waiting]
    assert ids(state="succeeded", kind="predict") == []
    assert jobs.counts(database) == BatchCounts(queued=2, succeeded=1)


def test_an_impossible_id_is_not_found_and_an_impossible_filter_is_refused(database: Database) -> None:
    for job_id in ("job_none", "job_\x00", "job_\ud800"):
        with pytest.raises(NotFound):
            jobs.get(database, job_id)
    with pytest.raises(InvalidRequest, match="NUL"):
        jobs.list_page(database, model="a\x00b")


def test_within_a_project_the_job_that_waits_longest_is_next(database: Database) -> None:
    now = Clock()()
    assert jobs.next_queued(database) is None
    first, second = queue_fit(database, now), queue_fit(database, now)
    assert jobs.next_queued(database) == first
    claim = jobs.claim(database, first, "worker", 30, now)
    assert claim is not None
    assert jobs.next_queued(database) == second
    jobs.release(database, first, claim.token, now, "stopped")
    assert jobs.next_queued(database) == first


def test_projects_take_turns(database: Database) -> None:
    clock = Clock()
    many = [queue_fit(database.for_project("many"), clock(), model=f"m{index}") for index in range(6)]
    few = [queue_fit(database.for_project("few"), clock(), model=f"f{index}") for index in range(2)]
    order = []
    while (wanted := jobs.next_queued(database)) is not None:
        clock.pass_seconds(1)
        claim = jobs.claim(database, wanted, "worker", 30, clock())
        assert claim is not None
        order.append(wanted)
        jobs.fail(database, wanted, claim.token, JobError(type="x", detail="x"), clock())
    assert order == [many[0], few[0], many[1], few[1], *many[2:]]


def test_a_project_with_fewer_running_jobs_is_next(database: Database) -> None:
    clock = Clock()
    busy = [queue_fit(database.for_project("busy"), clock(), model=f"m{index}") for index in range(3)]
    late = queue_fit(database.for_project("late"), clock())
    clock.pass_seconds(1)
    assert jobs.claim(database, busy[0], "first", 30, clock()) is not None
    clock.pass_seconds(1)
    assert jobs.next_queued(database) == late
    assert jobs.claim(database, late, "second", 30, clock()) is not None
    assert jobs.next_queued(database) == busy[1], "both have one; the turn of busy was longer ago"
