"""From a claim to an order that the child can carry out without the database."""

from worker.contracts.errors import NotFound
from worker.contracts.messages import FitOrder, PredictOrder
from worker.contracts.specs import FitRequest
from worker.store.claims import Claim


def build_order(claim: Claim) -> FitOrder | PredictOrder:
    """Return everything that a run needs to know.

    Raises:
        NotFound: the job's task or model is missing from its row.
    """
    prefix = f"{claim.job_id}/{claim.token}"
    request = claim.request
    if isinstance(request, FitRequest):
        if claim.task is None:
            raise NotFound(f"the job {claim.job_id!r} was queued without its task")
        return FitOrder(
            job=claim.job_id,
            prefix=prefix,
            request=request,
            task=claim.task,
            table=claim.table,
            validation=claim.validation,
            checkpoint=claim.checkpoint,
        )
    if claim.model is None:
        raise NotFound(f"the model {request.model!r} of the job {claim.job_id!r} is gone")
    return PredictOrder(job=claim.job_id, prefix=prefix, request=request, model=claim.model, table=claim.table)
