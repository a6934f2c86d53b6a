"""What waits and what runs is told of the projects that a database may see."""

from datetime import timedelta

from support.clock import START
from support.stored import queue_fit

from worker.store import jobs
from worker.store.database import Database
from worker.store.jobs import workload


def test_queues_are_told_by_project_and_only_to_those_who_may_see_it(database: Database) -> None:
    later = START + timedelta(seconds=9)
    ours, theirs = database.for_project("ours"), database.for_project("theirs")
    queue_fit(ours, later)
    queue_fit(ours, START)
    queue_fit(theirs, later)
    assert workload.waiting(ours) == [workload.Waiting("ours", 2, START)]
    assert workload.waiting(database) == [workload.Waiting("ours", 2, START), workload.Waiting("theirs", 1, later)]


def test_a_running_job_is_told_with_its_worker_and_its_lease(database: Database) -> None:
    job_id = queue_fit(database.for_project("ours"), START)
    assert workload.running(database) == []
    jobs.claim(database, job_id, "gpu-1", 30, START)
    [found] = workload.running(database)
    assert (found.job.id, found.worker) == (job_id, "gpu-1")
    assert found.lease_expires_at == START + timedelta(seconds=30)
    assert workload.waiting(database) == workload.running(database.for_project("theirs")) == []
