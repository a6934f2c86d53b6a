"""Models: named, versioned, immutable; and the features that they learned."""

import csv
import io
from collections.abc import Callable
from functools import partial
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Body, Depends, Header, Path, Query, Request, Response
from pydantic import Field

from service.http.downloads import ETAG, PARAMETERS, check_match, downloads, entity_tag, etag_matches, send_bytes
from service.http.json_route import JsonRoute
from service.http.negotiation import Spreadsheet, choose, json_only
from service.http.pagination import MAX_NAME_LENGTH, AfterModel, Filter, Limit
from service.http.problems import problems
from service.models import comparison, feature_matrix
from service.routes.parameters import PNG, SAFETENSORS, Accept, Columns, Folded, Ref
from service.runtime.context import CurrentContext
from worker.contracts.requests import MODEL_VERSION, TAG, ModelChange
from worker.contracts.resources import FeatureHistory, FeatureMatrix, Features, Model, Page
from worker.contracts.resources.comparison import Comparison
from worker.store import models
from worker.store.files.safetensors_io import pack
from worker.store.models import ModelRecord
from worker.tables.media import CSV, JSON, NPY
from worker.tables.spreadsheets import shown

router = APIRouter(prefix="/v1/models", tags=["models"], route_class=JsonRoute)

MATRIX_TYPES = (JSON, CSV, NPY, SAFETENSORS, PNG)

IfMatch = Annotated[
    str | None, Header(description="At most 100 ETags: 412 where the model has none of them, and nothing is changed.")
]
CHANGES = {
    "words": {"summary": "Say what it is", "value": {"description": "Prices of 2025", "tags": ["team=risk"]}},
    "promote": {"summary": "Have the name stand for version 3", "value": {"default_version": 3}},
}
Iteration = Annotated[int | None, Query(ge=0, le=9999, description="Default: the chosen one.")]


@router.get("", responses=problems(422))
def list_models(
    context: CurrentContext,
    name: Filter = None,
    tag: Annotated[str | None, Query(pattern=TAG)] = None,
    limit: Limit = 50,
    after: AfterModel = None,
) -> Page[Model]:
    """List models, newest first; all versions of one name with ``name``, those with a tag with ``tag``."""
    return models.list_page(context.database, limit=limit, after=after, name=name, tag=tag)


@router.get(
    "/{ref}",
    response_model=Model,
    responses={
        200: {"headers": ETAG},
        304: {"description": "It has not changed", "headers": ETAG},
        **problems(404, 422),
    },
)
def get_model(
    context: CurrentContext,
    request: Request,
    response: Response,
    ref: Ref,
    if_none_match: Annotated[str | None, Header(description="At most 100 ETags; 304 where it has one of them.")] = None,
) -> Model | Response:
    """Show a model. Its ETag is of all that is shown: also of what may change."""
    model = models.get(context.database, ref).resource
    tag = entity_tag(model.model_dump_json().encode())
    if etag_matches(request, tag):
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return model


@router.patch(
    "/{ref}",
    dependencies=[Depends(json_only)],
    responses={200: {"headers": ETAG}, **problems(404, 412, 413, 415, 422)},
)
def change_model(
    context: CurrentContext,
    request: Request,
    response: Response,
    ref: Ref,
    change: Annotated[ModelChange, Body(openapi_examples=CHANGES)],
    if_match: IfMatch = None,
) -> Model:
    """Change a model's description and tags, or which version its name alone stands for."""
    model = models.change(context.database, ref, change, partial(_check_match, request))
    response.headers["ETag"] = entity_tag(model.model_dump_json().encode())
    return model


def _check_match(request: Request, model: Model) -> None:
    check_match(request, entity_tag(model.model_dump_json().encode()), f"the model {model.name}@{model.version}")


@router.delete("/{ref}", status_code=204, responses=problems(404, 409, 412, 422))
def delete_model(
    context: CurrentContext,
    request: Request,
    ref: Annotated[str, Path(description="mdl_… or name@version.", max_length=MAX_NAME_LENGTH, pattern=MODEL_VERSION)],
    if_match: IfMatch = None,
) -> None:
    """Delete one version of a model: by its id or as name@version. Its version number is not given again.

    A name alone is refused: sent twice, it would delete two versions. A name that stood for the version stands for the
    newest one again.
    """
    record = models.delete(context.database, ref, partial(_check_match, request))
    context.predictor.forget(record.resource.id)
    for file in (record.model, record.matrices):
        context.artifacts.delete(file.key)


@router.get("/{ref}/compare", responses=problems(404, 422))
def compare_models(
    context: CurrentContext,
    ref: Ref,
    others: Annotated[
        list[Annotated[str, Field(max_length=MAX_NAME_LENGTH)]],
        Query(alias="with", min_length=1, max_length=comparison.MAX_COMPARED - 1, description="Other models."),
    ],
) -> Comparison:
    """Put models side by side: metrics, what differs in their specs, importance, how alike their matrices are."""

    def loaded(record: ModelRecord) -> tuple[ModelRecord, feature_matrix.LearnedMatrix]:
        return record, feature_matrix.load(feature_matrix.of_model(context, record))

    records, matrices = zip(*(models.use(context.database, name, loaded) for name in (ref, *others)), strict=True)
    return comparison.compare(records, matrices)


@router.get("/{ref}/features", responses=problems(404, 422))
def get_features(context: CurrentContext, ref: Ref, iteration: Iteration = None) -> Features:
    """Summarise what the model looks at, or looked at after an earlier iteration."""

    def shown(record: ModelRecord) -> Features:
        described = feature_matrix.describe(context, feature_matrix.of_model(context, record, iteration))
        return Features(model=record.resource.id, **dict(described))

    return models.use(context.database, ref, shown)


@router.get("/{ref}/features/history", responses=problems(404, 422))
def get_history(context: CurrentContext, ref: Ref) -> FeatureHistory:
    """Show every iteration of the fit."""
    return feature_matrix.history(models.get(context.database, ref))


@router.get(
    "/{ref}/features/matrix",
    response_model=FeatureMatrix,
    openapi_extra=PARAMETERS,
    responses={**downloads("The learned feature matrix M", MATRIX_TYPES), **problems(404, 406, 422)},
)
def get_matrix(
    context: CurrentContext,
    request: Request,
    ref: Ref,
    iteration: Iteration = None,
    fold: Folded = False,
    columns: Columns = [],  # noqa: B006 - FastAPI copies it
    accept: Accept = None,
    spreadsheet: Spreadsheet = False,
) -> Response:
    """Download the learned feature matrix, by Accept as JSON, CSV, NPY, safetensors or a heatmap."""
    kind = choose(accept, MATRIX_TYPES)

    def loaded(record: ModelRecord) -> tuple[Model, int, feature_matrix.LearnedMatrix | bytes]:
        source, model = feature_matrix.of_model(context, record, iteration), record.resource
        if kind == PNG:
            title = f"{model.name} v{model.version}: feature matrix, iteration {source.iteration}"
            return model, source.iteration, feature_matrix.picture(context, source, title, fold, columns)
        return model, source.iteration, feature_matrix.view(feature_matrix.load(source), fold, columns)

    model, shown_iteration, learned = models.use(context.database, ref, loaded)
    name = f"{model.name}-{model.version}-M{shown_iteration}"
    if isinstance(learned, bytes):
        return send_bytes(request, learned, PNG, f"{name}.png")
    if kind == CSV:
        return send_bytes(
            request, _as_csv(learned, shown if spreadsheet else str), f"{CSV}; charset=utf-8", f"{name}.csv"
        )
    if kind == NPY:
        return send_bytes(request, _as_npy(learned.M), NPY, f"{name}.npy")
    if kind == SAFETENSORS:
        body = pack({"M": learned.M}, {"names": learned.names, "iteration": learned.iteration})
        return send_bytes(request, body, SAFETENSORS, f"{name}.safetensors")
    document = FeatureMatrix(
        model=model.id, iteration=learned.iteration, names=learned.names, matrix=learned.M.tolist()
    )
    return send_bytes(request, document.model_dump_json().encode(), JSON, f"{name}.json")


def _as_csv(learned: feature_matrix.LearnedMatrix, written: Callable[[str], str]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", *map(written, learned.names)])
    writer.writerows([written(name), *row] for name, row in zip(learned.names, learned.M.tolist(), strict=True))
    return text.getvalue().encode()


def _as_npy(M: np.ndarray) -> bytes:
    target = io.BytesIO()
    np.save(target, M, allow_pickle=False)
    return target.getvalue()
