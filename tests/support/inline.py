"""Does a queued job's work in this process, as a worker would."""

from typing import Any

import torch

from service.runtime.context import Context
from support.threads import THREADS
from worker.contracts.messages import FitDone, NetworkDone, PredictDone, TuneDone
from worker.runs.fit import fit
from worker.runs.network import network
from worker.runs.predict import predict
from worker.runs.tune import tune
from worker.shell.orders import build_order
from worker.store import jobs
from worker.training.machine import Machine

RUNS: dict[str, Any] = {"fit": fit, "tune": tune, "network": network, "predict": predict}


def run_job(context: Context, job_id: str) -> None:
    """Claim the job, run it, and write down what came of it."""
    torch.set_num_threads(THREADS)
    claim = jobs.claim(context.database, job_id, "test", 60, context.now())
    assert claim is not None
    order = build_order(claim)
    machine = Machine.find("cpu", None)
    done: Any = RUNS[order.kind](order, context.artifacts, machine, lambda _: None)
    if isinstance(done, TuneDone):
        jobs.succeed_fit(context.database, job_id, claim.token, done.fit, context.now(), done.file)
    elif isinstance(done, FitDone):
        jobs.succeed_fit(context.database, job_id, claim.token, done, context.now())
    else:
        assert isinstance(done, PredictDone | NetworkDone)
        jobs.succeed_with_file(context.database, job_id, claim.token, done.file, context.now())
