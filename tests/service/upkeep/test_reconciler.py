import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from support.clock import Clock

from service.runtime.context import utc_now
from service.upkeep.reconciler import Reconciler
from worker.store import idempotency, jobs


class _Queue:
    """Remembers what is sent; ``reachable`` says whether the broker takes it."""

    def __init__(self):
        self.sent = []
        self.reachable = True

    def send(self, job_id):
        if self.reachable:
            self.sent.append(job_id)
        return self.reachable


@pytest.fixture
def queue():
    return _Queue()


@pytest.fixture
def clock():
    """An hour ahead, so that what is queued now has waited."""
    return Clock(utc_now() + timedelta(hours=1))


@pytest.fixture
def later(context, queue, clock):
    """The context, with that clock and a queue that can be looked at."""
    return replace(context, queue=queue, now=clock)


@pytest.fixture
def job(client, dataset):
    return client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "price"}).json()["id"]


def test_a_job_whose_message_was_lost_is_sent_again_with_growing_pauses(later, queue, job):
    reconciler = Reconciler(later)
    reconciler.look()
    reconciler.look()
    assert queue.sent == [job]


def test_a_broker_out_of_reach_is_asked_again(later, queue, job):
    reconciler = Reconciler(later)
    queue.reachable = False
    reconciler.look()
    queue.reachable = True
    reconciler.look()
    assert queue.sent == [job]


class _Passed:
    """Time that passes when it is told to."""

    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def test_an_expired_lease_puts_the_job_back_and_the_third_fails_it(client, later, clock, job):
    passed = _Passed()
    reconciler = Reconciler(later, passed)
    for attempt in (1, 2, 3):
        assert jobs.claim(later.database, job, "gone", 10, clock()) is not None
        reconciler.look()
        passed.seconds += 11
        clock.pass_seconds(11)
        reconciler.look()
        state = client.get(f"/v1/jobs/{job}").json()["state"]
        assert state == ("queued" if attempt < 3 else "failed")
    error = client.get(f"/v1/jobs/{job}").json()["error"]
    assert error["type"] == "worker_lost"
    assert "gone" in error["detail"]


def test_one_reconciler_works_at_a_time(later, queue, job):
    first, second = Reconciler(later), Reconciler(later)
    first.look()
    queue.sent.clear()
    second.look()
    assert queue.sent == []


def test_old_idempotency_keys_are_forgotten(context, later):
    idempotency.begin(context.database, "old", "x", context.now() - timedelta(days=3))
    Reconciler(later).look()
    assert isinstance(idempotency.begin(context.database, "old", "y", context.now()), idempotency.Started)


def test_a_clock_that_jumps_takes_no_job_from_a_worker_that_renews(later, clock, job):
    passed = _Passed()
    reconciler = Reconciler(later, passed)
    claim = jobs.claim(later.database, job, "alive", 10, clock())
    for jump in (0, 7200, -14400, 7200):
        clock.pass_seconds(jump)
        assert jobs.renew(later.database, job, claim.token, 10, utc_now() + timedelta(seconds=passed.seconds)).owned
        reconciler.look()
        passed.seconds += 2
    assert jobs.get(later.database, job).state == "running"


@pytest.mark.parametrize("ahead", [-7200, 0, 7200])
def test_a_worker_that_died_with_a_wrong_clock_keeps_no_job(later, clock, job, ahead):
    passed = _Passed()
    reconciler = Reconciler(later, passed)
    jobs.claim(later.database, job, "dead", 10, clock() + timedelta(seconds=ahead))
    for _ in range(8):
        reconciler.look()
        passed.seconds += 5
        clock.pass_seconds(5)
    assert jobs.get(later.database, job).state == "queued"


def test_a_look_that_fails_is_not_the_last(later, monkeypatch):
    reconciler = Reconciler(replace(later, settings=later.settings.model_copy(update={"reconcile_seconds": 0.01})))
    again, tries = threading.Event(), []

    def look():
        tries.append(1)
        if len(tries) == 1:
            raise RuntimeError("what nobody thought of")
        again.set()

    monkeypatch.setattr(reconciler, "look", look)
    reconciler.start()
    assert again.wait(10)
    reconciler.stop()


def test_a_file_without_a_row_is_deleted_after_a_while_and_one_with_a_row_never(later, client, dataset):
    passed = _Passed()
    reconciler = Reconciler(later, passed)
    later.artifacts.put_bytes("jobs/job_gone/token/state.safetensors", b"left behind")
    for _ in range(4):
        assert client.get(f"/v1/datasets/{dataset}/content").status_code == 200
        reconciler.look()
        passed.seconds += later.settings.orphan_seconds
    assert later.artifacts.list_folders("jobs") == []
    assert client.get(f"/v1/datasets/{dataset}/content").status_code == 200
