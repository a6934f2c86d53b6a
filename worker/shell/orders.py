"""Build the order for the child, which has no database, from a claim."""

from typing import Any

from worker.contracts.artifacts import (
    BlocksCheckpoint,
    Checkpoint,
    ChoosingCheckpoint,
    FoldsCheckpoint,
    NetworkCheckpoint,
    TuneCheckpoint,
)
from worker.contracts.errors import NotFound
from worker.contracts.messages import (
    AnyOrder,
    BlockOrder,
    BlocksOrder,
    CandidateOrder,
    FitOrder,
    FoldOrder,
    LeafOrder,
    MachineOrder,
    NetworkOrder,
    PredictOrder,
    RowsOrder,
    TrialOrder,
    TuneOrder,
)
from worker.contracts.parts import BlockWork, CandidateWork, FoldWork, LeafWork, MachineWork, RowsWork, TrialWork
from worker.contracts.requests import FitRequest, NetworkRequest, PredictRequest
from worker.store.jobs.claims import Claim


def build_order(claim: Claim, part_seconds: float | None = None) -> AnyOrder:
    """Return the order of a claimed job. ``part_seconds``: folds and rows that take longer may become parts.

    Raises:
        NotFound: the job's task or model is missing from its row.
    """
    order: dict[str, Any] = {
        "job": claim.job_id,
        "attempt": claim.attempt,
        "origin": claim.origin,
        "prefix": f"{claim.job_id}/{claim.token}",
        "expected_seconds": claim.expected_seconds,
    }
    if isinstance(claim.work, CandidateWork):
        return CandidateOrder(**order, work=claim.work)
    if isinstance(claim.work, BlockWork):
        return BlockOrder(**order, work=claim.work)
    if isinstance(claim.work, MachineWork):
        return MachineOrder(**order, work=claim.work)
    if isinstance(claim.work, LeafWork):
        return LeafOrder(**order, work=claim.work)
    order["table"] = claim.table
    request, checkpoint = claim.request, claim.checkpoint
    of_round: dict[str, Any] = {"round": claim.round, "outcomes": list(claim.outcomes)}
    if isinstance(request, PredictRequest):
        if claim.model is None:
            raise NotFound(f"the model {request.model!r} of the job {claim.job_id!r} is gone")
        order |= {"request": request, "model": claim.model}
        if isinstance(claim.work, RowsWork):
            return RowsOrder(**order, work=claim.work)
        return PredictOrder(**order, **of_round, part_seconds=part_seconds)
    if claim.task is None:
        raise NotFound(f"the job {claim.job_id!r} was queued without its task")
    order |= {"task": claim.task, "validation": claim.validation}
    if isinstance(claim.work, TrialWork):
        return TrialOrder(**order, request=request, work=claim.work)
    # a fit goes on by blocks also where memory was too small for it as a whole
    by_blocks = isinstance(checkpoint, BlocksCheckpoint | ChoosingCheckpoint)
    if isinstance(request, FitRequest) and (by_blocks or request.spec.solver == "blocks"):
        of_blocks = checkpoint if isinstance(checkpoint, BlocksCheckpoint | ChoosingCheckpoint) else None
        return BlocksOrder(**order, **of_round, request=request, checkpoint=of_blocks)
    if isinstance(request, FitRequest) and isinstance(claim.work, FoldWork):
        return FoldOrder(**order, request=request, work=claim.work)
    if isinstance(request, FitRequest):
        of_fit = checkpoint if isinstance(checkpoint, Checkpoint | FoldsCheckpoint) else None
        return FitOrder(**order, **of_round, request=request, checkpoint=of_fit, part_seconds=part_seconds)
    if isinstance(request, NetworkRequest):
        of_network = checkpoint if isinstance(checkpoint, NetworkCheckpoint) else None
        return NetworkOrder(**order, request=request, checkpoint=of_network)
    of_search = checkpoint if isinstance(checkpoint, TuneCheckpoint | ChoosingCheckpoint) else None
    return TuneOrder(**order, **of_round, request=request, checkpoint=of_search)
