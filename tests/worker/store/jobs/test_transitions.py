"""What each change of a job does, step by step. The whole machine is walked in test_job_machine.py."""

import pytest
from sqlalchemy import update
from support.clock import Clock
from support.stored import (
    expire,
    fit_done,
    make_checkpoint,
    predict_done,
    queue_fit,
    queue_predict,
    ref,
    store_dataset,
    train_model,
)

from worker.contracts.errors import Conflict, LeaseLost, NotFound
from worker.contracts.events import IterationData, LogData, StateData
from worker.contracts.requests import FitRequest, Validation
from worker.contracts.resources import Estimate, Job, JobError, Progress
from worker.store import datasets, jobs, models
from worker.store.database import Database
from worker.store.ids import new_id
from worker.store.jobs.events import list_events
from worker.store.schema.tables import JobRow

LEASE = 30.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def claimed(database: Database, clock: Clock, job_id: str) -> jobs.Claim:
    claim = jobs.claim(database, job_id, "worker-1", LEASE, clock())
    assert claim is not None
    return claim


def states(database: Database, job_id: str) -> list[tuple[str, int, str | None]]:
    return [
        (event.data.state, event.data.attempt, event.data.reason)
        for event in list_events(database, job_id)
        if isinstance(event.data, StateData)
    ]


def test_a_queued_job_is_what_was_asked_for(database: Database, clock: Clock) -> None:
    dataset_id, other_id = store_dataset(database, clock()), store_dataset(database, clock(), "b" * 64)
    request = FitRequest(
        dataset=dataset_id, target="price", task="classification", validation=Validation(dataset=other_id)
    )
    job_id = new_id("job", clock())
    estimate = Estimate(bytes=2**40, flops=1e300)
    with database.transaction() as session:
        jobs.insert_job(
            session,
            job_id=job_id,
            request=request,
            dataset_ids=[dataset_id, other_id],
            estimate=estimate,
            now=clock(),
        )
    assert jobs.get(database, job_id) == Job(
        id=job_id,
        kind="fit",
        state="queued",
        attempt=0,
        progress=Progress(),
        validation_chose=["encoding", "feature_matrix", "ridge", "iteration"],
        dataset=dataset_id,
        request=request.model_dump(mode="json"),
        estimate=estimate,
        created_at=clock(),
    )
    claim = claimed(database, clock, job_id)
    assert claim.request == request
    assert claim.task == "classification"
    assert claim.table == datasets.get_record(database, dataset_id).table_ref
    assert claim.validation == datasets.get_record(database, other_id).table_ref
    assert (claim.attempt, claim.checkpoint, claim.cancel_requested, claim.model) == (1, None, False, None)


def test_a_fit_without_a_resolved_task_is_a_bug(database: Database, clock: Clock) -> None:
    dataset_id = store_dataset(database, clock())
    with pytest.raises(ValueError, match="resolved"), database.transaction() as session:
        jobs.insert_job(
            session,
            job_id="job_1",
            request=FitRequest(dataset=dataset_id, target="price"),
            dataset_ids=[dataset_id],
            now=clock(),
        )


def test_a_fit_goes_from_queued_to_its_model(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock(), model="house-prices")
    clock.pass_seconds(1)
    claim = claimed(database, clock, job_id)
    started = clock()
    data = IterationData(
        iteration=1, iterations=5, metrics={"loss": 0.1}, ridge=1, trace=1, effective_rank=1, top=["area"], seconds=1
    )
    jobs.record(
        database,
        job_id,
        claim.token,
        clock.pass_seconds(1),
        progress=Progress(iteration=1, iterations=5, fraction=0.2, stage="fit", eta_seconds=4),
        metrics={"loss": 0.1},
        events=[data, LogData(message="two\x00events")],
        checkpoint=make_checkpoint(1),
    )
    running = jobs.get(database, job_id)
    assert (running.state, running.progress.fraction, running.metrics) == ("running", 0.2, {"loss": 0.1})
    assert jobs.checkpoint(database, job_id) == make_checkpoint(1)

    model_id = jobs.succeed_fit(database, job_id, claim.token, fit_done(), clock.pass_seconds(1))

    job = jobs.get(database, job_id)
    assert (job.state, job.model, job.started_at, job.finished_at) == ("succeeded", model_id, started, clock())
    assert (job.progress.stage, job.progress.fraction, job.progress.eta_seconds) == ("succeeded", 1.0, None)
    assert model_id is not None
    record = models.get(database, model_id)
    assert (record.resource.name, record.resource.version, record.resource.job) == ("house-prices", 1, job_id)
    events = list_events(database, job_id)
    assert [event.seq for event in events] == [1, 2, 3, 4, 5]
    assert [event.data for event in events[2:4]] == [data, LogData(message="two\x00events")]
    assert events[-1].data == StateData(state="succeeded", attempt=1, model=model_id)


def test_a_report_that_is_repeated_is_written_once(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    claim = claimed(database, clock, job_id)
    for number in (1, 1, 2, 2):
        said = [LogData(message=f"report {number}")]
        jobs.record(database, job_id, claim.token, clock(), events=said, report=number)
    told = [event.data.message for event in list_events(database, job_id) if isinstance(event.data, LogData)]
    assert told == ["report 1", "report 2"]
    assert [event.seq for event in list_events(database, job_id)] == [1, 2, 3, 4]


def test_reports_are_counted_anew_in_each_attempt(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    for attempt in (1, 2):
        claim = claimed(database, clock, job_id)
        jobs.record(database, job_id, claim.token, clock(), events=[LogData(message=f"of {attempt}")], report=1)
        jobs.lose(database, job_id, claim.token, clock(), "gone")
    told = [event.data.message for event in list_events(database, job_id) if isinstance(event.data, LogData)]
    assert told == ["of 1", "of 2"]


def test_a_repeated_report_of_a_lost_attempt_is_refused(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    first = claimed(database, clock, job_id)
    jobs.record(database, job_id, first.token, clock(), events=[LogData(message="once")], report=1)
    jobs.lose(database, job_id, first.token, clock(), "gone")
    claimed(database, clock, job_id)
    with pytest.raises(LeaseLost):
        jobs.record(database, job_id, first.token, clock(), events=[LogData(message="once")], report=1)


def test_events_are_read_from_where_the_reader_stopped(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    claim = claimed(database, clock, job_id)
    jobs.record(database, job_id, claim.token, clock(), events=[LogData(message=str(n)) for n in range(10)])
    assert [event.seq for event in list_events(database, job_id, after_seq=4, limit=3)] == [5, 6, 7]
    assert list_events(database, "job_none") == []


def test_a_prediction_keeps_its_file(database: Database, clock: Clock) -> None:
    model_id = train_model(database, clock())
    job_id = queue_predict(database, clock(), model_id)
    claim = claimed(database, clock, job_id)
    assert claim.model == ref("models/m")
    assert jobs.result(database, job_id) is None
    assert jobs.succeed_with_file(database, job_id, claim.token, predict_done().file, clock())
    assert jobs.result(database, job_id) == predict_done().file
    assert jobs.get(database, job_id).model == model_id


def test_nothing_to_claim_is_no_error(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    claimed(database, clock, job_id)
    assert jobs.claim(database, job_id, "worker-2", LEASE, clock()) is None
    assert jobs.claim(database, "job_none", "worker-2", LEASE, clock()) is None
    assert jobs.claim(database, "job\x00", "worker-2", LEASE, clock()) is None


def test_an_expired_lease_passes_to_another_worker_with_the_checkpoint(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    first = claimed(database, clock, job_id)
    jobs.record(database, job_id, first.token, clock(), checkpoint=make_checkpoint(3))
    clock.pass_seconds(LEASE - 0.000001)
    assert jobs.claim(database, job_id, "worker-2", LEASE, clock()) is None
    clock.pass_seconds(0.000001)
    second = jobs.claim(database, job_id, "worker-2", LEASE, clock())
    assert second is not None
    assert (second.attempt, second.checkpoint) == (2, make_checkpoint(3))
    assert jobs.renew(database, job_id, first.token, LEASE, clock()) == jobs.Renewal(
        owned=False, cancel_requested=False
    )
    with pytest.raises(LeaseLost):
        jobs.succeed_fit(database, job_id, first.token, fit_done(), clock())
    assert states(database, job_id)[-1] == ("running", 2, "the lease of worker-1 expired")


def test_a_renewed_lease_does_not_expire(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    claim = claimed(database, clock, job_id)
    for _ in range(5):
        clock.pass_seconds(LEASE - 1)
        assert jobs.renew(database, job_id, claim.token, LEASE, clock()).owned
        assert expire(database, clock()) == []


def test_the_third_lost_attempt_fails_the_job_and_says_why(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    for expected in ("queued", "queued", "failed"):
        claim = claimed(database, clock, job_id)
        reason = "the training process ended with signal 9 (SIGKILL)"
        assert jobs.lose(database, job_id, claim.token, clock(), reason) == expected
    job = jobs.get(database, job_id)
    assert job.error == JobError(
        type="worker_lost",
        detail="3 attempts were lost; the last one: the training process ended with signal 9 (SIGKILL)",
    )
    assert job.attempt == 3


def test_takeovers_count_as_lost_attempts(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    for attempt in (1, 2, 3):
        assert claimed(database, clock, job_id).attempt == attempt
        clock.pass_seconds(LEASE)
    assert jobs.claim(database, job_id, "worker", LEASE, clock()) is None
    assert expire(database, clock()) == [(job_id, "failed")]
    error = jobs.get(database, job_id).error
    assert error is not None
    assert "silent" in error.detail


def test_a_released_job_is_not_a_lost_one(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    for _ in range(5):
        claim = claimed(database, clock, job_id)
        assert jobs.release(database, job_id, claim.token, clock(), "the worker was stopped") == "queued"
    assert states(database, job_id)[-1] == ("queued", 5, "the worker was stopped")


def test_a_queued_job_is_cancelled_at_once(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    job = jobs.request_cancel(database, job_id, clock())
    assert (job.state, job.finished_at, job.progress.stage) == ("cancelled", clock(), "cancelled")
    assert jobs.claim(database, job_id, "worker", LEASE, clock()) is None


def test_a_running_job_is_asked_to_stop_once(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    claim = claimed(database, clock, job_id)
    for _ in range(2):
        job = jobs.request_cancel(database, job_id, clock())
        assert (job.state, job.cancel_requested) == ("running", True)
    assert jobs.renew(database, job_id, claim.token, LEASE, clock()) == jobs.Renewal(owned=True, cancel_requested=True)
    assert len(list_events(database, job_id)) == 3
    jobs.cancel_running(database, job_id, claim.token, clock())
    assert jobs.get(database, job_id).state == "cancelled"
    with pytest.raises(Conflict, match="cancelled"):
        jobs.request_cancel(database, job_id, clock())


def test_a_cancel_wins_over_a_result_that_comes_later(database: Database, clock: Clock) -> None:
    model_id = train_model(database, clock())
    for job_id in (queue_fit(database, clock()), queue_predict(database, clock(), model_id)):
        claim = claimed(database, clock, job_id)
        jobs.request_cancel(database, job_id, clock())
        for _ in range(2):
            if claim.kind == "fit":
                assert jobs.succeed_fit(database, job_id, claim.token, fit_done(), clock()) is None
            else:
                assert not jobs.succeed_with_file(database, job_id, claim.token, predict_done().file, clock())
        assert jobs.get(database, job_id).state == "cancelled"
        assert jobs.result(database, job_id) is None
    assert [model.id for model in models.list_page(database).items] == [model_id]


@pytest.mark.parametrize("way", ["release", "lose", "expire"])
def test_a_job_that_loses_its_worker_after_a_cancel_is_cancelled(database: Database, clock: Clock, way: str) -> None:
    job_id = queue_fit(database, clock())
    claim = claimed(database, clock, job_id)
    jobs.request_cancel(database, job_id, clock())
    clock.pass_seconds(LEASE)
    if way == "release":
        assert jobs.release(database, job_id, claim.token, clock(), "stopped") == "cancelled"
    elif way == "lose":
        assert jobs.lose(database, job_id, None, clock(), "gone") == "cancelled"
    else:
        assert jobs.claim(database, job_id, "worker", LEASE, clock()) is None
        assert expire(database, clock()) == [(job_id, "cancelled")]
    assert jobs.get(database, job_id).state == "cancelled"


def test_a_repeated_last_write_is_answered_as_it_was(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    claim = claimed(database, clock, job_id)
    model_id = jobs.succeed_fit(database, job_id, claim.token, fit_done(), clock())
    assert jobs.succeed_fit(database, job_id, claim.token, fit_done(), clock()) == model_id
    with pytest.raises(LeaseLost):
        jobs.fail(database, job_id, claim.token, JobError(type="x", detail="x"), clock())
    failing = claimed(database, clock, queue_fit(database, clock()))
    for _ in range(2):
        jobs.fail(database, failing.job_id, failing.token, JobError(type="x", detail="a\x00b"), clock())
    assert [event.seq for event in list_events(database, failing.job_id)] == [1, 2, 3]
    assert jobs.get(database, failing.job_id).error == JobError(type="x", detail="a\x00b")


def test_a_retry_goes_on_from_the_checkpoint_with_a_clean_count(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    for _ in range(3):
        claim = claimed(database, clock, job_id)
        jobs.record(database, job_id, claim.token, clock(), checkpoint=make_checkpoint(claim.attempt))
        jobs.lose(database, job_id, claim.token, clock(), "gone")
    job = jobs.retry(database, job_id, clock.pass_seconds(9))
    assert (job.state, job.error, job.finished_at, job.started_at, job.attempt) == ("queued", None, None, None, 3)
    again = claimed(database, clock, job_id)
    assert (again.attempt, again.checkpoint) == (4, make_checkpoint(3))
    assert jobs.lose(database, job_id, again.token, clock(), "gone") == "queued"


def test_only_a_failed_or_cancelled_job_is_retried(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    with pytest.raises(Conflict, match="queued"):
        jobs.retry(database, job_id, clock())
    claim = claimed(database, clock, job_id)
    jobs.succeed_fit(database, job_id, claim.token, fit_done(), clock())
    with pytest.raises(Conflict, match="succeeded"):
        jobs.retry(database, job_id, clock())
    with pytest.raises(NotFound):
        jobs.retry(database, "job_none", clock())


def test_a_retry_needs_the_data_that_the_job_used(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    jobs.request_cancel(database, job_id, clock())
    datasets.delete(database, jobs.get(database, job_id).dataset)
    with pytest.raises(Conflict, match="deleted"):
        jobs.retry(database, job_id, clock())
    assert jobs.get(database, job_id).state == "cancelled"


def test_only_a_job_that_has_ended_is_deleted(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    with pytest.raises(Conflict):
        jobs.delete(database, job_id)
    claim = claimed(database, clock, job_id)
    with pytest.raises(Conflict):
        jobs.delete(database, job_id)
    jobs.fail(database, job_id, claim.token, JobError(type="x", detail="x"), clock())
    jobs.delete(database, job_id)
    assert list_events(database, job_id) == []
    with pytest.raises(NotFound):
        jobs.delete(database, job_id)


def test_a_job_on_deleted_data_is_not_queued(database: Database, clock: Clock) -> None:
    dataset_id = store_dataset(database, clock())
    datasets.delete(database, dataset_id)
    request = FitRequest(dataset=dataset_id, target="price", task="regression")
    with pytest.raises(Conflict), database.transaction() as session:
        jobs.insert_job(session, job_id="job_1", request=request, dataset_ids=[dataset_id], now=clock())
    assert jobs.list_page(database).items == []


def test_a_row_that_cannot_be_read_costs_the_job_and_not_the_worker(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    with database.transaction() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(request={"kind": "from the future"}))
    assert jobs.claim(database, job_id, "worker", LEASE, clock()) is None
    with database.reading() as session:
        row = session.get_one(JobRow, job_id)
        assert (row.state, row.attempt, row.error["type"]) == ("failed", 1, "internal")
        assert "from the future" in row.error["detail"]


def test_a_lost_message_is_found_and_repeated_with_growing_pauses(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    for pause in (10, 10, 20, 40, 80, 160, 320, 640, 640):
        assert jobs.unsent(database, clock.pass_seconds(pause - 0.001), 10) == []
        assert jobs.unsent(database, clock.pass_seconds(0.001), 10) == [job_id]
        jobs.mark_sent(database, job_id, clock())


def test_a_job_that_was_put_back_is_sent_at_once(database: Database, clock: Clock) -> None:
    job_id = queue_fit(database, clock())
    jobs.mark_sent(database, job_id, clock())
    claim = claimed(database, clock, job_id)
    assert jobs.unsent(database, clock.pass_seconds(1000), 10) == []
    jobs.release(database, job_id, claim.token, clock(), "stopped")
    assert jobs.unsent(database, clock(), 10) == [job_id]
    jobs.mark_sent(database, job_id, clock())
    assert jobs.unsent(database, clock(), 10) == []
