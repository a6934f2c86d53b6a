"""Whatever happens to a job, in whatever order: it agrees with a model of a few lines, and its history is whole."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from sqlalchemy import select
from support.clock import Clock
from support.draws import examples
from support.stored import expire, fit_done, make_checkpoint, queue_fit

from worker.contracts.errors import Conflict, LeaseLost
from worker.contracts.events import LogData, StateData
from worker.contracts.resources import FINAL_STATES, JobError, Progress
from worker.store import jobs
from worker.store.database import Database
from worker.store.jobs.events import list_events
from worker.store.schema.tables import JobRow, ModelRow

LEASE = 10
MAX_LOST = 2


@dataclass
class Expected:
    """What a job should be."""

    job_id: str
    state: str = "queued"
    attempt: int = 0
    lost: int = 0
    owner: str | None = None
    expires_at: float = 0.0
    cancel: bool = False
    checkpoint: int | None = None
    model: str | None = None
    last_token: str | None = None
    states: list[tuple[str, int]] = field(default_factory=lambda: [("queued", 0)])
    events: int = 1

    def enter(self, state: str) -> None:
        self.state = state
        if state != "running":
            self.owner = None
        self.states.append((state, self.attempt))
        self.events += 1

    def lose(self) -> None:
        self.lost += 1
        self.enter("cancelled" if self.cancel else "failed" if self.lost >= MAX_LOST else "queued")


class JobMachine(RuleBasedStateMachine):
    """Two jobs, any number of workers of which many are late, one clock."""

    database: Database
    clock: Clock

    jobs_made: Bundle[Expected] = Bundle("jobs_made")
    tokens: Bundle[str] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self.expected: list[Expected] = []

    def now(self):  # type: ignore[no-untyped-def]
        return self.clock()

    @rule(target=jobs_made)
    def queue(self) -> Expected:
        if len(self.expected) >= 2:
            return self.expected[0]
        self.expected.append(Expected(queue_fit(self.database, self.now())))
        return self.expected[-1]

    @rule(seconds=st.sampled_from([0.5, LEASE / 2, LEASE, 3 * LEASE]))
    def wait(self, seconds: float) -> None:
        self.seconds += seconds
        self.clock.pass_seconds(seconds)

    @rule(target=tokens, job=jobs_made)
    def claim(self, job: Expected):  # type: ignore[no-untyped-def]
        claim = jobs.claim(self.database, job.job_id, "worker", LEASE, self.now(), MAX_LOST)
        expired = (
            job.state == "running" and job.expires_at <= self.seconds and not job.cancel and job.lost + 1 < MAX_LOST
        )
        assert (claim is not None) == (job.state == "queued" or expired)
        if claim is None:
            return multiple()
        job.lost += expired
        job.attempt += 1
        assert claim.attempt == job.attempt
        assert (None if claim.checkpoint is None else claim.checkpoint.iteration) == job.checkpoint
        job.owner = job.last_token = claim.token
        job.expires_at = self.seconds + LEASE
        job.enter("running")
        return claim.token

    @rule(job=jobs_made, token=tokens)
    def renew(self, job: Expected, token: str) -> None:
        renewal = jobs.renew(self.database, job.job_id, token, LEASE, self.now())
        assert renewal.owned == (job.owner == token)
        if renewal.owned:
            assert renewal.cancel_requested == job.cancel
            job.expires_at = self.seconds + LEASE

    @rule(job=jobs_made, token=tokens, count=st.integers(0, 3))
    def record(self, job: Expected, token: str, count: int) -> None:
        try:
            jobs.record(
                self.database,
                job.job_id,
                token,
                self.now(),
                progress=Progress(iteration=count),
                events=[LogData(message="x")] * count,
                checkpoint=make_checkpoint(count),
            )
        except LeaseLost:
            assert job.owner != token
        else:
            assert job.owner == token
            job.events += count
            job.checkpoint = count

    @rule(job=jobs_made, token=tokens)
    def succeed(self, job: Expected, token: str) -> None:
        try:
            model = jobs.succeed_fit(self.database, job.job_id, token, fit_done(), self.now())
        except LeaseLost:
            assert job.owner != token
            return
        if job.owner != token:
            assert job.last_token == token
            assert job.state in ("succeeded", "cancelled")
            assert model == job.model
        elif job.cancel:
            assert model is None
            job.enter("cancelled")
        else:
            assert model is not None
            job.model = model
            job.enter("succeeded")

    @rule(job=jobs_made, token=tokens)
    def fail(self, job: Expected, token: str) -> None:
        try:
            jobs.fail(self.database, job.job_id, token, JobError(type="x", detail="x"), self.now())
        except LeaseLost:
            assert job.owner != token
            return
        if job.owner == token:
            job.enter("failed")
        else:
            assert (job.state, job.last_token) == ("failed", token)

    @rule(job=jobs_made, token=tokens)
    def cancel_running(self, job: Expected, token: str) -> None:
        try:
            jobs.cancel_running(self.database, job.job_id, token, self.now())
        except LeaseLost:
            assert job.owner != token
            return
        if job.owner == token:
            job.enter("cancelled")
        else:
            assert (job.state, job.last_token) == ("cancelled", token)

    @rule(job=jobs_made, token=tokens)
    def release(self, job: Expected, token: str) -> None:
        try:
            jobs.release(self.database, job.job_id, token, self.now(), "stopped")
        except LeaseLost:
            assert job.owner != token
        else:
            assert job.owner == token
            job.enter("cancelled" if job.cancel else "queued")

    @rule(job=jobs_made, token=st.one_of(st.none(), tokens))
    def lose(self, job: Expected, token: str | None) -> None:
        try:
            outcome = jobs.lose(self.database, job.job_id, token, self.now(), "gone", MAX_LOST)
        except LeaseLost:
            assert job.owner is None or (token is not None and job.owner != token)
        else:
            assert job.owner is not None
            assert token in (None, job.owner)
            job.lose()
            assert outcome == job.state

    @rule()
    def expire(self) -> None:
        outcomes = dict(expire(self.database, self.now(), MAX_LOST))
        for job in self.expected:
            late = job.state == "running" and job.expires_at <= self.seconds
            assert (job.job_id in outcomes) == late
            if late:
                job.lose()
                assert outcomes[job.job_id] == job.state

    @rule(job=jobs_made)
    def request_cancel(self, job: Expected) -> None:
        try:
            jobs.request_cancel(self.database, job.job_id, self.now())
        except Conflict:
            assert job.state in FINAL_STATES
            return
        if job.state == "queued":
            job.enter("cancelled")
        else:
            assert job.state == "running"
            job.events += not job.cancel
            job.cancel = True

    @rule(job=jobs_made)
    def retry(self, job: Expected) -> None:
        try:
            jobs.retry(self.database, job.job_id, self.now())
        except Conflict:
            assert job.state not in ("failed", "cancelled")
            return
        assert job.state in ("failed", "cancelled")
        job.lost, job.cancel = 0, False
        job.last_token = None
        job.enter("queued")

    @invariant()
    def jobs_are_as_expected(self) -> None:
        for job in self.expected:
            with self.database.reading() as session:
                row = session.get_one(JobRow, job.job_id)
                models = session.scalars(select(ModelRow.id).where(ModelRow.job_id == job.job_id)).all()
            assert (row.state, row.attempt, row.lost_attempts) == (job.state, job.attempt, job.lost)
            assert row.cancel_requested == job.cancel
            assert (row.token if row.state == "running" else None) == job.owner
            assert (None if row.checkpoint is None else row.checkpoint["iteration"]) == job.checkpoint
            assert list(models) == ([job.model] if job.state == "succeeded" else [])
            assert row.model_id == job.model
            assert (row.finished_at is not None) == (job.state in FINAL_STATES)
            assert (row.held_dataset_id is None) == (job.state in FINAL_STATES)

    def teardown(self) -> None:
        """Every history is numbered from 1 without a gap and tells the states in order."""
        for job in self.expected:
            events = list_events(self.database, job.job_id, limit=1000)
            assert [event.seq for event in events] == list(range(1, job.events + 1))
            told = [(one.data.state, one.data.attempt) for one in events if isinstance(one.data, StateData)]
            assert told == job.states


def test_any_interleaving_of_changes_keeps_the_promises(database: Database) -> None:
    JobMachine.database = database
    JobMachine.clock = Clock()
    run_state_machine_as_test(
        JobMachine,
        settings=settings(
            max_examples=examples(60),
            stateful_step_count=40,
            deadline=None,
            database=None,
            # Shrinking on a real database would outlast the test's time limit and hide what was found.
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
