from dataclasses import replace
from datetime import timedelta

import pytest
from support.clock import Clock

from service.context import utc_now
from service.reconciler import Reconciler
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


def test_an_expired_lease_puts_the_job_back_and_the_third_fails_it(client, later, clock, job):
    reconciler = Reconciler(later)
    for attempt in (1, 2, 3):
        assert jobs.claim(later.database, job, "gone", 10, clock()) is not None
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
