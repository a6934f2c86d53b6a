"""Does a queued job's work in this process, as a worker would."""

from collections.abc import Callable
from typing import Any

import torch
from starlette.testclient import TestClient

from service.runtime.context import Context
from support.threads import THREADS
from worker.contracts.messages import AnyReport, FitDone, NetworkDone, PartDone, PredictDone, RoundPlanned, TuneDone
from worker.runs.__main__ import carry_out
from worker.shell.orders import build_order
from worker.store import jobs
from worker.store.jobs import parts
from worker.training.machine import Machine


def run_job(context: Context, job_id: str, part_seconds: float | None = None) -> None:
    """Run a job to its end, with the parts that it plans, one after another. ``part_seconds``: of ``build_order``."""
    wanted = [job_id]
    while wanted:
        wanted += run_once(context, wanted.pop(0), part_seconds=part_seconds)


def run_once(
    context: Context,
    row_id: str,
    report: Callable[[AnyReport], None] = lambda _: None,
    machine: Machine | None = None,
    *,
    part_seconds: float | None = None,
) -> list[str]:
    """Claim a job or a part, run it, and write down what came of it. Returns what wants a worker then."""
    torch.set_num_threads(THREADS)
    claim = jobs.claim(context.database, row_id, "test", 60, context.now())
    assert claim is not None
    done = carry_out(build_order(claim, part_seconds), context.artifacts, machine or Machine.find("cpu", None), report)
    return _written_down(context, row_id, claim.token, done)


def _written_down(context: Context, row_id: str, token: str, done: AnyReport) -> list[str]:
    """Return what wants a worker now."""
    if isinstance(done, RoundPlanned):
        return parts.plan_round(context.database, row_id, token, done, context.now())
    if isinstance(done, PartDone):
        ready = parts.succeed_part(context.database, row_id, token, done, context.now())
        return [] if ready is None else [ready]
    if isinstance(done, TuneDone):
        jobs.succeed_fit(context.database, row_id, token, done.fit, context.now(), done.file)
    elif isinstance(done, FitDone):
        jobs.succeed_fit(context.database, row_id, token, done, context.now())
    else:
        assert isinstance(done, PredictDone | NetworkDone)
        jobs.succeed_with_file(context.database, row_id, token, done.file, context.now())
    return []


def fitted_model(client: TestClient, run_job: Callable[[str], None], body: dict[str, Any]) -> dict[str, Any]:
    """Train by the body of a job, which must succeed, and return the model. ``run_job``: runs a job of the client."""
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    run_job(answer.json()["id"])
    job = client.get(f"/v1/jobs/{answer.json()['id']}").json()
    assert job["state"] == "succeeded", job["error"]
    return dict(client.get(f"/v1/models/{job['model']}").json())
