"""The supervisor writes down what its child reports, once, whatever the database and storage do meanwhile."""

import errno
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from support.clock import Clock
from support.stored import expire, fit_done, make_checkpoint, queue_fit

from worker.contracts.artifacts import TuneCheckpoint
from worker.contracts.events import IterationData, LogData
from worker.contracts.messages import AnyReport, Failed, Interrupted, IterationReport, LogReport, RoundPlanned
from worker.contracts.parts import TrialWork
from worker.contracts.resources import JobError, Progress
from worker.settings import WorkerSettings
from worker.shell import attempt
from worker.shell import supervisor as supervisor_module
from worker.shell.supervisor import Supervisor
from worker.store import jobs
from worker.store.database import Database
from worker.store.files.artifacts import Artifacts
from worker.store.jobs import parts
from worker.store.jobs.events import list_events
from worker.store.schema.tables import JobRow


class ScriptedChild:
    """Answers every order with the next list of reports."""

    def __init__(self, *scripts: list[AnyReport]) -> None:
        self.scripts = deque(scripts)
        self.orders: list[Any] = []
        self.ended = False
        self._answers: deque[AnyReport] = deque()

    def alive(self) -> bool:
        return not self.ended

    def order(self, order: Any) -> None:
        self.orders.append(order)
        self._answers.extend(self.scripts.popleft())

    def receive(self, timeout: float) -> AnyReport | None:
        return self._answers.popleft() if self._answers else None

    def resident_bytes(self) -> int:
        return 0

    def end(self, patience: float) -> None:
        self.ended = True


class BrokenCommits:
    """Has the answer to chosen commits get lost: the rows are written, and the caller sees a broken connection."""

    def __init__(self, database: Database) -> None:
        self._transaction = database.transaction
        self.armed = False
        self.broken = 0

    @contextmanager
    def __call__(self) -> Iterator[Any]:
        with self._transaction() as session:
            yield session
        if self.armed:
            self.armed = False
            self.broken += 1
            raise OperationalError("COMMIT", None, ConnectionError("server closed the connection unexpectedly"))


@pytest.fixture
def supervisor(database: Database, tmp_path: Path) -> Supervisor:
    settings = WorkerSettings(home=tmp_path, lease_seconds=60, stop_seconds=1)
    return Supervisor(settings, database, Artifacts(str(tmp_path / "artifacts")), worker="test")


def now() -> datetime:
    return datetime.now(UTC)


def iteration(number: int) -> IterationReport:
    data = IterationData(
        iteration=number, iterations=3, metrics={}, ridge=1, trace=1, effective_rank=1, top=["area"], seconds=1
    )
    return IterationReport(
        progress=Progress(iteration=number, iterations=3, fraction=0.5, stage="fitting"),
        data=data,
        checkpoint=make_checkpoint(number),
    )


def test_a_report_whose_commit_was_not_answered_is_written_once(
    supervisor: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = queue_fit(database, now())
    commits = BrokenCommits(database)
    monkeypatch.setattr(database, "transaction", commits)
    monkeypatch.setattr(attempt, "RETRY_SECONDS", 0.01)
    record = jobs.record

    def arm(*arguments: Any, **changes: Any) -> None:
        # the first try of each report is answered by a broken connection, after its commit
        commits.armed = changes["report"] > commits.broken
        record(*arguments, **changes)

    monkeypatch.setattr(jobs, "record", arm)
    child = ScriptedChild([iteration(0), iteration(1), LogReport(data=LogData(message="storing")), fit_done()])
    monkeypatch.setattr(supervisor, "_child", child)
    supervisor.look_at(job_id)
    assert commits.broken == 3
    assert [event.type for event in list_events(database, job_id)] == [
        "state",
        "state",
        "iteration",
        "iteration",
        "log",
        "state",
    ]
    assert jobs.get(database, job_id).state == "succeeded"


def test_a_round_that_a_cancel_overtook_deletes_nothing_that_its_job_still_names(
    supervisor: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = queue_fit(database, now())
    kept = supervisor.artifacts.put_bytes(f"jobs/{job_id}/x/trials.json", b"[]")
    before = TuneCheckpoint(trials=kept, centred=True)
    with database.transaction() as session:
        session.execute(update(JobRow).values(checkpoint=before.model_dump(mode="json")))
    after = before.model_copy(update={"trials": kept.model_copy(update={"key": f"jobs/{job_id}/y/trials.json"})})
    planned = RoundPlanned(round=1, parts=[TrialWork(trial=1, params={})], progress=Progress(), checkpoint=after)
    monkeypatch.setattr(supervisor, "_child", ScriptedChild([planned]))
    plan_round = parts.plan_round

    def cancelled_first(*arguments: Any) -> list[str]:
        jobs.request_cancel(database, job_id, now())
        return plan_round(*arguments)

    monkeypatch.setattr(parts, "plan_round", cancelled_first)
    supervisor.look_at(job_id)
    assert jobs.get(database, job_id).state == "cancelled"
    assert jobs.checkpoint(database, job_id) == before
    assert supervisor.artifacts.read_bytes(kept) == b"[]"


def test_a_round_asks_a_broker_that_is_away_once(
    supervisor: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id, asked = queue_fit(database, now()), []

    def away(row_id: str) -> bool:
        asked.append(row_id)
        supervisor.stop()
        return False

    works = [TrialWork(trial=number, params={}) for number in range(1, 4)]
    planned = RoundPlanned(round=1, parts=works, progress=Progress(), checkpoint=None)
    monkeypatch.setattr(supervisor, "_child", ScriptedChild([planned]))
    monkeypatch.setattr(supervisor, "announce", away)
    supervisor.look_at(job_id)
    assert len(asked) == 1


def test_a_job_that_storage_had_no_room_for_is_tried_again_and_then_fails_of_that(
    supervisor: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "POSTPONE_SECONDS", 0.01)
    full = Interrupted(error=JobError(type="storage_full", detail="there is no room left on the disk"))
    saved, lost = queue_fit(database, now()), queue_fit(database, now())
    child = ScriptedChild([full], [fit_done()], [full], [full], [full])
    monkeypatch.setattr(supervisor, "_child", child)
    supervisor.look_at(saved)
    assert (jobs.get(database, saved).state, jobs.get(database, saved).attempt) == ("succeeded", 2)
    error = jobs.get(database, lost).error
    assert error is not None
    assert (error.type, "no room left" in error.detail) == ("storage_full", True)


def test_storage_that_deletes_nothing_costs_no_job(
    supervisor: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EIO, "storage is away")

    monkeypatch.setattr(supervisor.artifacts, "delete", fail)
    monkeypatch.setattr(supervisor.artifacts, "delete_prefix", fail)
    job_id = queue_fit(database, now())
    monkeypatch.setattr(supervisor, "_child", ScriptedChild([iteration(0), iteration(1), fit_done()]))
    supervisor.look_at(job_id)
    assert (jobs.get(database, job_id).state, jobs.get(database, job_id).attempt) == ("succeeded", 1)


def test_an_error_that_nobody_thought_of_ends_the_child_so_that_its_reports_reach_no_other_job(
    supervisor: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("nobody thought of this")

    first = queue_fit(database, now())
    child = ScriptedChild([iteration(0), iteration(1), iteration(2)])
    monkeypatch.setattr(supervisor, "_child", child)
    monkeypatch.setattr(jobs, "record", fail)
    with pytest.raises(RuntimeError, match="nobody thought"):
        supervisor.look_at(first)
    assert child.ended
    assert supervisor._child is None


def test_a_mistake_of_the_program_is_final_and_ends_the_child(
    supervisor: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = queue_fit(database, now())
    child = ScriptedChild([Failed(error=JobError.internal(KeyError("secret")))])
    monkeypatch.setattr(supervisor, "_child", child)
    supervisor.look_at(job_id)
    ended = jobs.get(database, job_id)
    assert (ended.state, ended.attempt) == ("failed", 1)
    assert ended.error is not None
    assert (ended.error.type, "secret" in ended.error.detail) == ("internal", False)
    assert child.ended, "nobody knows what state it is in"


@pytest.mark.parametrize(
    ("column", "value"),
    [("request", {"kind": "fit", "spec": {"ridge": -1}}), ("checkpoint", {"kind": "fit", "iteration": "many"})],
)
def test_a_job_whose_row_no_contract_allows_fails_at_once_and_is_not_in_the_way(
    supervisor: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch, column: str, value: dict[str, Any]
) -> None:
    job_id = queue_fit(database, now())
    with database.transaction() as session:
        session.execute(update(JobRow).where(JobRow.id == job_id).values({column: value}))
    other = queue_fit(database, now())
    monkeypatch.setattr(supervisor, "_child", ScriptedChild([fit_done()]))
    supervisor.look_at(job_id)
    with database.reading() as session:
        row = session.get_one(JobRow, job_id)
        assert (row.state, row.attempt) == ("failed", 1)
        assert row.error["type"] == "internal"
        assert "ValidationError" in row.error["detail"]
    assert jobs.get(database, other).state == "succeeded"


def test_a_lease_that_was_lost_and_the_write_that_found_it_out_are_counted(
    supervisor: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> list[float]:
        names = ("factrfm_lease_losses_total", "factrfm_fenced_writes_total", "factrfm_attempts_total")
        labels = {"factrfm_attempts_total": {"kind": "fit", "outcome": "lease lost"}}
        return [REGISTRY.get_sample_value(name, labels.get(name, {})) or 0.0 for name in names]

    class Robbed(ScriptedChild):
        def order(self, order: Any) -> None:
            super().order(order)
            expire(database, now() + timedelta(hours=1), max_lost=1)

    job_id = queue_fit(database, now())
    monkeypatch.setattr(supervisor, "_child", Robbed([iteration(0), fit_done()]))
    before = told()
    supervisor.look_at(job_id)
    assert [after - was for after, was in zip(told(), before, strict=True)] == [1, 1, 1]
    assert jobs.get(database, job_id).state == "failed"


def test_a_job_that_is_not_looked_at_any_more_is_a_fault_and_a_database_that_is_silent_is_none(
    supervisor: Supervisor, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(supervisor, "_clock", lambda: clock().timestamp())
    child = ScriptedChild([iteration(0), fit_done()])
    monkeypatch.setattr(supervisor, "_child", child)
    receive, faults = child.receive, []

    def look_on(timeout: float) -> AnyReport | None:
        faults.append(supervisor.fault())
        clock.pass_seconds(supervisor_module.MAX_STILL_SECONDS + 1)
        faults.append(supervisor.fault())
        assert supervisor._lease is not None
        with monkeypatch.context() as patch:
            patch.setattr(supervisor._lease, "waits", lambda: True)
            faults.append(supervisor.fault())
        return receive(timeout)

    monkeypatch.setattr(child, "receive", look_on)
    supervisor.look_at(queue_fit(database, now()))
    assert faults[:3] == [None, "it has not looked at its job for 301 s", None]
    assert faults[3:6] == faults[:3], "the next look ends it"
    clock.pass_seconds(10_000)
    assert supervisor.fault() is None, "without a job there is nothing to look at"
