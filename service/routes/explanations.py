"""The route that explains predictions."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from service.http.problems import problems
from service.inference.request_rows import rows_of
from service.models.explanations import explain_all
from service.openapi.rows_body import BODY
from service.routes.parameters import HeaderOfRows, Ref
from service.runtime.context import CurrentContext
from worker.contracts.explanation import Explanations

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.post("/{ref}/explain", openapi_extra=BODY, responses=problems(404, 415))
async def explain(
    context: CurrentContext,
    request: Request,
    ref: Ref,
    neighbours: Annotated[int, Query(ge=0, le=50, description="Training rows to name for each row.")] = 5,
    header_row: HeaderOfRows = None,
) -> Explanations:
    """Predict up to 20 rows, in any form that a prediction takes, and say why.

    Each has the training rows nearest to it under the learned metric, and how much the answer changes with each column.
    """
    with context.predictor.admission():
        _, read = await rows_of(context, request, header_row)
        return await context.predictor.use(
            context.database,
            ref,
            lambda entry, model: explain_all(context, entry.record, model, entry.reader.table(read(entry)), neighbours),
        )
