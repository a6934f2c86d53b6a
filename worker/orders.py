"""From a claim to an order that the child can carry out without the database."""

from worker.contracts.artifacts import Checkpoint, NetworkCheckpoint, TuneCheckpoint
from worker.contracts.errors import NotFound
from worker.contracts.messages import AnyOrder, FitOrder, NetworkOrder, PredictOrder, TuneOrder
from worker.contracts.requests import FitRequest, NetworkRequest, PredictRequest
from worker.store.claims import Claim


def build_order(claim: Claim) -> AnyOrder:
    """Return everything that a run needs to know.

    Raises:
        NotFound: the job's task or model is missing from its row.
    """
    prefix = f"{claim.job_id}/{claim.token}"
    request = claim.request
    if isinstance(request, PredictRequest):
        if claim.model is None:
            raise NotFound(f"the model {request.model!r} of the job {claim.job_id!r} is gone")
        return PredictOrder(
            job=claim.job_id,
            attempt=claim.attempt,
            origin=claim.origin,
            prefix=prefix,
            request=request,
            model=claim.model,
            table=claim.table,
        )
    if claim.task is None:
        raise NotFound(f"the job {claim.job_id!r} was queued without its task")
    checkpoint = claim.checkpoint
    if isinstance(request, FitRequest):
        return FitOrder(
            job=claim.job_id,
            attempt=claim.attempt,
            origin=claim.origin,
            prefix=prefix,
            request=request,
            task=claim.task,
            table=claim.table,
            validation=claim.validation,
            checkpoint=checkpoint if isinstance(checkpoint, Checkpoint) else None,
        )
    if isinstance(request, NetworkRequest):
        return NetworkOrder(
            job=claim.job_id,
            attempt=claim.attempt,
            origin=claim.origin,
            prefix=prefix,
            request=request,
            task=claim.task,
            table=claim.table,
            validation=claim.validation,
            checkpoint=checkpoint if isinstance(checkpoint, NetworkCheckpoint) else None,
        )
    return TuneOrder(
        job=claim.job_id,
        prefix=prefix,
        request=request,
        task=claim.task,
        table=claim.table,
        validation=claim.validation,
        checkpoint=checkpoint if isinstance(checkpoint, TuneCheckpoint) else None,
    )
