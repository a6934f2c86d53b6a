"""A job of several parts waits without a worker, goes on when the last part has ended, and does so once."""

from contextlib import suppress
from functools import partial
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, update
from support.clock import START, Clock
from support.draws import examples
from support.stored import at_once, expire, fit_done, queue_fit

from worker.contracts.artifacts import ArtifactRef, TuneCheckpoint
from worker.contracts.errors import Conflict, LeaseLost, NotFound
from worker.contracts.events import StateData, TrialData
from worker.contracts.messages import PartDone, RoundPlanned
from worker.contracts.parts import TrialResult, TrialWork
from worker.contracts.resources import FINAL_STATES, JobError, PartCounts, Progress
from worker.store import jobs
from worker.store.database import Database
from worker.store.jobs import parts
from worker.store.jobs.events import list_events, list_trials
from worker.store.schema.tables import JobRow

NOW = START


def _planned(round_: int = 1, count_: int = 3) -> RoundPlanned:
    progress = Progress(
        stage="trials", fraction=0.2, parts=PartCounts(done=0, running=0, total=count_, fraction_after=0.8)
    )
    works = [TrialWork(trial=number + 1, params={"ridge": float(number)}) for number in range(count_)]
    return RoundPlanned(round=round_, parts=works, progress=progress, checkpoint=None)


def _trials() -> TuneCheckpoint:
    return TuneCheckpoint(trials=ArtifactRef(key="jobs/x/trials.json", sha256="0", bytes=1), centred=True)


def _done(number: int) -> PartDone:
    data = TrialData(trial=number + 1, trials=3, state="complete", params={}, iterations=0, losses=[(1.0,)], seconds=1)
    return PartDone(result=TrialResult(data=data))


def _claimed(database: Database, row_id: str, worker: str = "w", now=NOW) -> jobs.Claim:
    claim = jobs.claim(database, row_id, worker, 30, now)
    assert claim is not None
    return claim


def _waiting(database: Database, count_: int = 3) -> tuple[str, list[str]]:
    job_id = queue_fit(database, NOW)
    return job_id, parts.plan_round(database, job_id, _claimed(database, job_id).token, _planned(count_=count_), NOW)


def _states(database: Database, job_id: str) -> list[str]:
    return [part.state for part in parts.list_parts(database, job_id).items]


def _stored_state(database: Database, row_id: str) -> str:
    with database.reading() as session:
        return session.scalars(select(JobRow.state).where(JobRow.id == row_id)).one()


def test_a_job_waits_for_its_parts_without_a_worker_and_goes_on_with_what_they_made(database: Database) -> None:
    job_id, ids = _waiting(database)
    job = jobs.get(database, job_id)
    assert (job.state, job.attempt, job.progress.fraction) == ("running", 1, 0.2)
    assert jobs.claim(database, job_id, "w", 30, NOW) is None
    assert [lease.job_id for lease in jobs.leases(database)] == []
    ready = []
    for number in (2, 0, 1):
        claim = _claimed(database, ids[number])
        assert (claim.job_id, claim.row_id, claim.kind) == (job_id, ids[number], "trial")
        ready.append(parts.succeed_part(database, ids[number], claim.token, _done(number), NOW))
    assert ready == [None, None, job_id]
    assert jobs.get(database, job_id).state == "running"
    claim = _claimed(database, job_id)
    assert (claim.round, claim.attempt) == (1, 1)
    assert jobs.get(database, job_id).progress.stage == "trials"
    assert [outcome.result.data.trial for outcome in claim.outcomes] == [1, 2, 3]
    assert [trial.trial for trial in list_trials(database, job_id)] == [1, 2, 3]
    shown = [(event.data.state, event.data.attempt) for event in list_events(database, job_id) if event.type == "state"]
    assert shown == [("queued", 0), ("running", 1)], "callers see no rounds"


def test_progress_counts_the_parts_that_have_succeeded(database: Database) -> None:
    job_id, ids = _waiting(database)
    running = _claimed(database, ids[1])
    parts.succeed_part(database, ids[0], _claimed(database, ids[0]).token, _done(0), NOW)
    for job in (jobs.get(database, job_id), jobs.list_page(database).items[0]):
        assert job.progress.parts == PartCounts(done=1, running=1, total=3, fraction_after=0.8)
        assert job.progress.fraction == pytest.approx(0.4)
    jobs.record(database, ids[1], running.token, NOW, progress=Progress(fraction=0.5))
    assert jobs.get(database, job_id).progress.fraction == pytest.approx(0.5), "half of a part more"


def test_the_last_of_many_parts_that_end_at_once_wakes_the_job_once(database: Database) -> None:
    job_id, ids = _waiting(database, 12)
    claims = [_claimed(database, row_id) for row_id in ids]
    steps = [
        partial(parts.succeed_part, database, claim.row_id, claim.token, _done(number), NOW)
        for number, claim in enumerate(claims)
    ]
    woken = at_once(steps)
    assert not [one for one in woken if isinstance(one, Exception)]
    assert woken.count(job_id) >= 1
    assert _stored_state(database, job_id) == "ready"
    taken = at_once([partial(jobs.claim, database, job_id, f"w{n}", 30, NOW) for n in range(8)])
    assert len([one for one in taken if isinstance(one, jobs.Claim)]) == 1


def test_an_end_that_is_told_again_is_answered_as_it_was(database: Database) -> None:
    _, ids = _waiting(database)
    claim = _claimed(database, ids[0])
    for _ in range(3):
        assert parts.succeed_part(database, ids[0], claim.token, _done(0), NOW) is None
    assert _states(database, claim.job_id) == ["succeeded", "queued", "queued"]
    assert len(list_trials(database, claim.job_id)) == 1


def test_a_part_that_fails_fails_its_job_which_names_it_and_ends_the_others(database: Database) -> None:
    job_id, ids = _waiting(database)
    running = _claimed(database, ids[1])
    claim = _claimed(database, ids[2])
    jobs.fail(database, ids[2], claim.token, JobError(type="invalid_request", detail="no"), NOW)
    job = jobs.get(database, job_id)
    assert job.state == "failed"
    assert job.error == JobError(type="invalid_request", detail="part 2 of round 1 (trial) failed: no")
    assert _states(database, job_id) == ["cancelled", "running", "failed"]
    assert jobs.renew(database, ids[1], running.token, 30, NOW).cancel_requested
    jobs.cancel_running(database, ids[1], running.token, NOW)
    assert jobs.next_queued(database) is None


def test_a_part_that_is_lost_is_done_again_alone_and_the_third_loss_fails_the_job(database: Database) -> None:
    job_id, ids = _waiting(database, 1)
    clock = Clock()
    for lost in range(3):
        assert jobs.get(database, job_id).state == "running"
        claim = _claimed(database, ids[0], now=clock())
        assert claim.attempt == lost + 1
        expire(database, clock.pass_seconds(31))
        with pytest.raises(LeaseLost):
            parts.succeed_part(database, ids[0], claim.token, _done(0), clock())
    error = jobs.get(database, job_id).error
    assert error is not None
    assert (error.type, "part 0 of round 1" in error.detail) == ("worker_lost", True)


def test_a_cancelled_job_takes_its_parts_along_and_a_retry_does_only_what_is_left(database: Database) -> None:
    job_id, ids = _waiting(database)
    parts.succeed_part(database, ids[0], _claimed(database, ids[0]).token, _done(0), NOW)
    late = _claimed(database, ids[1])
    assert jobs.request_cancel(database, job_id, NOW).state == "cancelled"
    assert _states(database, job_id) == ["succeeded", "running", "cancelled"]
    jobs.retry(database, job_id, NOW)
    claim = _claimed(database, job_id)
    assert (claim.round, [outcome.number for outcome in claim.outcomes]) == (1, [0])
    left = parts.plan_round(database, job_id, claim.token, _planned(), NOW)
    assert left == ids[1:], "what still runs is waited for"
    jobs.cancel_running(database, ids[1], late.token, NOW)
    parts.succeed_part(database, ids[2], _claimed(database, ids[2]).token, _done(2), NOW)
    claim = _claimed(database, job_id)
    assert [outcome.number for outcome in claim.outcomes] == [0, 2]
    assert parts.plan_round(database, job_id, claim.token, _planned(), NOW) == ids[1:2]
    assert parts.succeed_part(database, ids[1], _claimed(database, ids[1]).token, _done(1), NOW) == job_id


def test_a_job_whose_parts_were_ended_without_a_word_to_it_is_woken_once(database: Database) -> None:
    job_id, ids = _waiting(database)
    assert parts.wake_stranded(database, NOW) == []
    parts.succeed_part(database, ids[0], _claimed(database, ids[0]).token, _done(0), NOW)
    with database.transaction() as session:
        # as a worker of a version before parts does it
        ended = {"state": "failed", "finished_at": NOW, "held_dataset_id": None}
        session.execute(update(JobRow).where(JobRow.id.in_(ids[1:])).values(ended))
    assert parts.wake_stranded(database, NOW) == [job_id]
    assert parts.wake_stranded(database, NOW) == []
    claim = _claimed(database, job_id)
    assert parts.plan_round(database, job_id, claim.token, _planned(), NOW) == ids[1:]


def test_workers_of_versions_before_parts_see_none_that_is_queued(database: Database) -> None:
    _, ids = _waiting(database)
    jobs.release(database, ids[0], _claimed(database, ids[0]).token, NOW, "stop")
    jobs.lose(database, ids[1], _claimed(database, ids[1]).token, NOW, "gone")
    assert {_stored_state(database, row_id) for row_id in ids} == {"ready"}
    assert [claim.attempt for claim in map(partial(_claimed, database), ids)] == [2, 2, 1]


def test_programs_of_before_can_read_what_is_stored_of_jobs_without_parts(database: Database) -> None:
    job_id = queue_fit(database, NOW)
    claim = _claimed(database, job_id)
    jobs.record(database, job_id, claim.token, NOW, progress=Progress(stage="fitting"))
    with database.reading() as session:
        row = session.get_one(JobRow, job_id)
    assert "parts" not in row.progress
    assert "blocks" not in row.request["spec"]


def test_what_a_part_of_an_earlier_try_meets_does_not_fail_the_next_one(database: Database) -> None:
    job_id, ids = _waiting(database)
    late = _claimed(database, ids[0])
    jobs.request_cancel(database, job_id, NOW)
    jobs.retry(database, job_id, NOW)
    parts.plan_round(database, job_id, _claimed(database, job_id).token, _planned(), NOW)
    for _ in range(2):
        jobs.fail(database, ids[0], late.token, JobError(type="out_of_memory", detail="no"), NOW)
    assert _states(database, job_id) == ["cancelled", "queued", "queued"]
    assert jobs.get(database, job_id).state == "running"


def test_a_job_whose_part_missed_a_file_begins_afresh_when_it_is_tried_again(database: Database) -> None:
    job_id, ids = _waiting(database)
    with database.transaction() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values(checkpoint=_trials().model_dump(mode="json")))
    claim = _claimed(database, ids[0])
    jobs.fail(database, ids[0], claim.token, JobError(type="artifact_missing", detail="gone"), NOW)
    jobs.retry(database, job_id, NOW)
    assert jobs.checkpoint(database, job_id) is None


def test_progress_does_not_go_back_between_rounds(database: Database) -> None:
    job_id, ids = _waiting(database, 2)
    seen = []
    for number, row_id in enumerate(ids):
        parts.succeed_part(database, row_id, _claimed(database, row_id).token, _done(number), NOW)
        seen.append(jobs.get(database, job_id).progress.fraction)
    _claimed(database, job_id)
    seen.append(jobs.get(database, job_id).progress.fraction)
    assert seen == pytest.approx([0.5, 0.8, 0.8])


def test_a_cancel_that_came_before_the_round_ends_the_job(database: Database) -> None:
    job_id = queue_fit(database, NOW)
    claim = _claimed(database, job_id)
    jobs.request_cancel(database, job_id, NOW)
    assert parts.plan_round(database, job_id, claim.token, _planned(), NOW) == []
    assert jobs.get(database, job_id).state == "cancelled"
    assert parts.list_parts(database, job_id).items == []


def test_parts_are_no_jobs(database: Database) -> None:
    job_id, ids = _waiting(database)
    assert [job.id for job in jobs.list_page(database).items] == [job_id]
    assert [job.id for job in jobs.list_page(database, state="running").items] == [job_id]
    assert jobs.counts(database).model_dump() == {
        "queued": 0,
        "running": 1,
        "succeeded": 0,
        "failed": 0,
        "cancelled": 0,
    }
    for call in (jobs.get, jobs.result, jobs.checkpoint, jobs.delete):
        with pytest.raises(NotFound):
            call(database, ids[0])
    for call in (jobs.request_cancel, jobs.retry):
        with pytest.raises(NotFound):
            call(database, ids[0], NOW)
    with database.reading() as session:
        assert jobs.count_waiting(session, "default") == (0, 0)
    jobs.request_cancel(database, job_id, NOW)
    jobs.delete(database, job_id)
    with database.reading() as session:
        assert session.scalars(select(JobRow)).all() == []


def test_parts_come_before_later_jobs_and_other_projects_have_their_turns(database: Database) -> None:
    _, ids = _waiting(database)
    later = queue_fit(database, NOW)
    other = queue_fit(database.for_project("other"), NOW)
    order = []
    for _ in range(5):
        row_id = jobs.next_queued(database)
        assert row_id is not None
        order.append(row_id)
        _claimed(database, row_id)
    assert set(order) == {*ids, later, other}
    assert other in order[:2], "a project is never more than one part away from its turn"
    assert [row_id for row_id in order if row_id != other] == [*ids, later]


ACTIONS = ("claim", "succeed", "fail", "lose", "cancel", "retry", "plan", "release", "finish")


@settings(
    max_examples=examples(60),
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_whatever_happens_a_job_waits_only_for_parts_that_will_end(database: Database, data) -> None:
    job_id = queue_fit(database, NOW)
    held: dict[str, jobs.Claim] = {}
    numbers = count()
    for _ in range(data.draw(st.integers(5, 40))):
        with database.reading() as session:
            rows = {row.id: row.state for row in session.scalars(select(JobRow).where(_of(job_id)))}
        row_id = data.draw(st.sampled_from(sorted(rows)))
        _act(database, data.draw(st.sampled_from(ACTIONS)), row_id, held, next(numbers))
        _check(database, job_id)


def _of(job_id: str):
    return (JobRow.id == job_id) | (JobRow.parent_id == job_id)


def _act(database: Database, action: str, row_id: str, held: dict[str, jobs.Claim], number: int) -> None:
    is_part = "." in row_id
    if action == "claim":
        claim = jobs.claim(database, row_id, "w", 30, NOW)
        if claim is not None:
            held[row_id] = claim
        return
    if action in ("cancel", "retry") and not is_part:
        call = jobs.request_cancel if action == "cancel" else jobs.retry
        with suppress(Conflict):
            call(database, row_id, NOW)
        return
    claim = held.get(row_id)
    if claim is None:
        return
    steps = {
        "succeed": lambda: parts.succeed_part(database, row_id, claim.token, _done(number % 3), NOW),
        "fail": lambda: jobs.fail(database, row_id, claim.token, JobError(type="x", detail="y"), NOW),
        "lose": lambda: jobs.lose(database, row_id, claim.token, NOW, "gone"),
        "release": lambda: jobs.release(database, row_id, claim.token, NOW, "stop"),
        "plan": lambda: parts.plan_round(database, row_id, claim.token, _planned(claim.round + number % 2), NOW),
        "finish": lambda: jobs.succeed_fit(database, row_id, claim.token, fit_done(), NOW),
    }
    if action not in steps or ((action == "succeed") != is_part and action in ("succeed", "plan", "finish")):
        return
    if action in ("plan", "finish") and is_part:
        return
    if action == "plan" and claim.round + number % 2 == 0:
        return
    try:
        steps[action]()
    except LeaseLost:
        held.pop(row_id)


def _check(database: Database, job_id: str) -> None:
    with database.reading() as session:
        job = session.get_one(JobRow, job_id)
        rows = session.scalars(select(JobRow).where(JobRow.parent_id == job_id)).all()
    going_on = [part for part in rows if part.state not in FINAL_STATES]
    of_round = [part for part in going_on if part.round == job.round]
    if job.state == "waiting":
        assert of_round, "nobody would wake the job"
    if job.state in FINAL_STATES:
        assert all(part.state == "running" and part.cancel_requested for part in going_on)
    if job.state in ("waiting", "ready"):
        assert job.token is None
    states = [event.data for event in list_events(database, job_id) if isinstance(event.data, StateData)]
    assert states[-1].state == {"waiting": "running", "ready": "running"}.get(job.state, job.state)
