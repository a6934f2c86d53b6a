"""Models as files: safetensors, ONNX, and the model card."""

import contextlib
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Request, Response

from service.http.downloads import PARAMETERS, downloads, send_artifact, send_bytes
from service.http.negotiation import choose
from service.http.problems import problems
from service.models import feature_matrix, model_card
from service.routes.parameters import SAFETENSORS, Ref
from service.runtime.context import Context, CurrentContext
from worker import VERSION
from worker.contracts.errors import NotFound
from worker.contracts.resources import Dataset
from worker.store import datasets, models
from worker.store.jobs import queries
from worker.store.models import ModelRecord

router = APIRouter(prefix="/v1/models", tags=["models"])

ONNX = "application/onnx"
MARKDOWN = "text/markdown"
FORMATS = {"safetensors": SAFETENSORS, "onnx": ONNX}


@router.get(
    "/{ref}/export",
    response_class=Response,
    openapi_extra=PARAMETERS,
    responses={**downloads("The model", list(FORMATS.values())), **problems(404, 406, 422)},
)
def export_model(
    context: CurrentContext,
    request: Request,
    ref: Ref,
    form: Annotated[
        Literal["safetensors", "onnx"] | None,
        Query(alias="format", description="Default: by Accept, else safetensors."),
    ] = None,
    accept: Annotated[str | None, Header(include_in_schema=False)] = None,
) -> Response:
    """Download the whole model as one file: safetensors, or ONNX for other runtimes.

    ``worker.prediction.load`` reads safetensors. An ONNX file takes one input a column and computes in float64.
    """
    kind = choose(accept, list(FORMATS.values())) if form is None else FORMATS[form]
    return models.use(context.database, ref, lambda record: _exported(context, request, record, kind))


def _exported(context: Context, request: Request, record: ModelRecord, kind: str) -> Response:
    model = record.resource
    name = f"{model.name}-{model.version}"
    if kind == SAFETENSORS:
        return send_artifact(request, context.artifacts, record.model, kind, f"{name}.safetensors")
    from worker.serving.onnx.export import onnx_document  # see service.runtime.predictor

    description = model.description or f"FACT-RFM {model.task}, {model.name} version {model.version}"
    body = onnx_document(context.predictor.model(record), name, description, VERSION)
    return send_bytes(request, body, kind, f"{name}.onnx")


@router.get(
    "/{ref}/card",
    response_class=Response,
    openapi_extra=PARAMETERS,
    responses={**downloads("The card", [MARKDOWN]), **problems(404, 422)},
)
def get_card(context: CurrentContext, request: Request, ref: Ref) -> Response:
    """Download the model card, in Markdown: what the model reads and answers, how good it is, how to make it again."""

    def written(record: ModelRecord) -> Response:
        text = model_card.model_card(_facts(context, record))
        return send_bytes(request, text.encode(), f"{MARKDOWN}; charset=utf-8", f"{record.resource.name}.md")

    return models.use(context.database, ref, written)


def _facts(context: Context, record: ModelRecord) -> model_card.CardFacts:
    source, model = feature_matrix.of_model(context, record), record.resource
    dataset: Dataset | None = None
    request: dict[str, Any] | None = None
    # models outlive their datasets and their jobs
    with contextlib.suppress(NotFound):
        dataset = datasets.get(context.database, model.dataset)
    with contextlib.suppress(NotFound):
        request = queries.get(context.database, model.job).request
    # the title that GET …/features/matrix uses, so that the cached picture is shared
    title = f"{model.name} v{model.version}: feature matrix, iteration {source.iteration}"
    picture = feature_matrix.picture(context, source, title, False, ())
    return model_card.CardFacts(record, feature_matrix.describe(context, source), picture, dataset, request)
