"""Build the order for the child, which has no database, from a claim."""

from typing import Any

from worker.contracts.artifacts import Checkpoint, NetworkCheckpoint, TuneCheckpoint
from worker.contracts.errors import NotFound
from worker.contracts.messages import AnyOrder, FitOrder, NetworkOrder, PredictOrder, TrialOrder, TuneOrder
from worker.contracts.requests import FitRequest, NetworkRequest, PredictRequest
from worker.store.jobs.claims import Claim


def build_order(claim: Claim) -> AnyOrder:
    """Return the order of a claimed job.

    Raises:
        NotFound: the job's task or model is missing from its row.
    """
    order: dict[str, Any] = {
        "job": claim.job_id,
        "attempt": claim.attempt,
        "origin": claim.origin,
        "prefix": f"{claim.job_id}/{claim.token}",
        "expected_seconds": claim.expected_seconds,
        "table": claim.table,
    }
    request, checkpoint = claim.request, claim.checkpoint
    if isinstance(request, PredictRequest):
        if claim.model is None:
            raise NotFound(f"the model {request.model!r} of the job {claim.job_id!r} is gone")
        return PredictOrder(**order, request=request, model=claim.model)
    if claim.task is None:
        raise NotFound(f"the job {claim.job_id!r} was queued without its task")
    order |= {"task": claim.task, "validation": claim.validation}
    if claim.work is not None:
        return TrialOrder(**order, request=request, work=claim.work)
    if isinstance(request, FitRequest):
        of_fit = checkpoint if isinstance(checkpoint, Checkpoint) else None
        return FitOrder(**order, request=request, checkpoint=of_fit)
    if isinstance(request, NetworkRequest):
        of_network = checkpoint if isinstance(checkpoint, NetworkCheckpoint) else None
        return NetworkOrder(**order, request=request, checkpoint=of_network)
    of_search = checkpoint if isinstance(checkpoint, TuneCheckpoint) else None
    return TuneOrder(**order, request=request, checkpoint=of_search, round=claim.round, outcomes=list(claim.outcomes))
