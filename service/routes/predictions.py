"""The route that predicts rows, in several media types."""

import io
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.ipc
from fastapi import APIRouter, Request, Response

from service.http.negotiation import Spreadsheet, choose
from service.http.problems import problems
from service.http.request_headers import header
from service.inference import unknown_categories
from service.inference.direct_route import DirectRoute
from service.inference.kept_columns import Keep, KeptColumns
from service.inference.request_rows import rows_of
from service.openapi.rows_body import BODY
from service.routes.parameters import HeaderOfRows, Ref
from service.runtime.context import CurrentContext
from service.runtime.predictor import PendingPrediction
from worker.contracts.errors import InvalidRequest
from worker.contracts.resources import Predictions
from worker.store.models import ModelRecord
from worker.tables.media import ARROW_STREAM, CSV, JSON, NPY
from worker.tables.spreadsheets import shown_table
from worker.tables.writers import beside, prediction_table

if TYPE_CHECKING:
    from worker.serving.model import Answer

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=DirectRoute)

ANSWER_TYPES = (JSON, CSV, ARROW_STREAM, NPY)


@router.post(
    "/{ref}/predict",
    response_model=Predictions,
    openapi_extra=BODY,
    responses={
        200: {
            "description": "The predictions",
            "content": {kind: {} for kind in ANSWER_TYPES if kind != JSON},
            "headers": {
                unknown_categories.HEADER: {
                    "description": "Only where rows hold categories that no training row had: a JSON object of columns "
                    "and in how many rows, as far as it fits.",
                    "schema": {"type": "string"},
                }
            },
        },
        **problems(404, 406, 415),
    },
)
async def predict(
    context: CurrentContext,
    request: Request,
    ref: Ref,
    spreadsheet: Spreadsheet = False,
    header_row: HeaderOfRows = None,
    keep: Keep = None,
) -> Response:
    """Predict rows. Columns are matched by name; others are ignored; null is a missing value.

    A category that no training row had counts as other; the header Unknown-Categories tells of them.

    CSV and Arrow answers have a column a target, and for classes ``probability:<class>``. An NPY answer holds outputs
    (n, targets), or the probabilities (n, classes) in the order of the model's classes.
    """
    form = choose(header(request.scope, b"accept"), ANSWER_TYPES)
    kept = KeptColumns(keep) if keep else None
    if kept is not None and form == NPY:
        raise InvalidRequest.at(
            "query:keep", "an npy answer holds numbers alone; accept JSON, CSV or Arrow to keep columns"
        )
    with context.predictor.admission():
        size, read = await rows_of(context, request, header_row, kept)
        pending = PendingPrediction(
            size, read, lambda record, answer: _response(record, answer, form, spreadsheet, kept)
        )
        return await context.predictor.answer(context.database, ref, pending)


def _response(
    record: ModelRecord, answer: "Answer", form: str, spreadsheet: bool, kept: KeptColumns | None
) -> Response:
    response = _encoded(record, answer, form, spreadsheet, kept)
    if answer.unknown_categories and (text := unknown_categories.as_text(answer.unknown)):
        response.headers[unknown_categories.HEADER] = text
    return response


def _encoded(record: ModelRecord, answer: "Answer", form: str, spreadsheet: bool, kept: KeptColumns | None) -> Response:
    if form == JSON:
        document = _document(record, answer)
        if kept is None:
            return Response(document.model_dump_json(exclude={"kept"}), media_type=JSON)
        return Response(document.model_copy(update={"kept": kept.cells()}).model_dump_json(), media_type=JSON)
    target = io.BytesIO()
    if form == NPY:
        values = answer.predictions if answer.probabilities is None else answer.probabilities
        np.save(target, values, allow_pickle=False)
        return Response(target.getvalue(), media_type=NPY)
    names = [column.name for column in record.resource.targets]
    table = prediction_table(names, record.resource.classes, answer.predictions, answer.probabilities)
    table = table if kept is None else beside(kept.table, table)
    if form == CSV:
        pa_csv.write_csv(shown_table(table) if spreadsheet else table, target)
        return Response(target.getvalue(), media_type=f"{CSV}; charset=utf-8")
    with pa.ipc.new_stream(target, table.schema) as writer:
        writer.write_table(table)
    return Response(target.getvalue(), media_type=ARROW_STREAM)


def _document(record: ModelRecord, answer: "Answer") -> Predictions:
    if answer.probabilities is not None:
        return Predictions(
            predictions=answer.predictions.tolist(),
            classes=record.resource.classes,
            probabilities=answer.probabilities.tolist(),
        )
    single = answer.predictions.shape[1] == 1
    return Predictions(predictions=(answer.predictions[:, 0] if single else answer.predictions).tolist())
