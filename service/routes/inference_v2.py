"""The Open Inference Protocol (KServe, Triton): metadata, readiness and inference for its public clients."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from starlette.types import Scope

from service.errors import NotReady
from service.http.content_encoding import decoded, encoded
from service.http.pagination import MAX_NAME_LENGTH
from service.http.problems import problems
from service.http.request_body import whole_body
from service.http.request_headers import header
from service.inference import unknown_categories
from service.inference.direct_route import DirectRoute
from service.inference.open_inference.codec import Output, RequestedOutput, decode, encode
from service.inference.open_inference.schemas import (
    INFER_BODY,
    OCTETS,
    InferAnswer,
    ModelMetadata,
    ModelReady,
    ServerLive,
    ServerMetadata,
    ServerReady,
)
from service.inference.open_inference.tensors import (
    check_outputs,
    inputs_of,
    only_input,
    outputs_from,
    outputs_of,
    rows_from,
)
from service.runtime.context import Context, CurrentContext
from service.runtime.predictor import ModelEntry, PendingPrediction
from service.runtime.readiness import find_checks
from service.settings import ServiceSettings
from worker.contracts.errors import InvalidRequest
from worker.store import models
from worker.store.models import ModelRecord
from worker.tables.media import JSON
from worker.tables.rows.plain import Rows

if TYPE_CHECKING:
    from worker.serving.model import Answer


router = APIRouter(prefix="/v2", tags=["open inference protocol"])

PLATFORM = "factrfm"
MAX_VERSIONS = 200
LENGTH_HEADER = "Inference-Header-Content-Length"
LENGTH = re.compile("[0-9]{1,9}")

Name = Annotated[
    str,
    Path(
        description="A model's name (its default or newest version), name@version, or its id.",
        max_length=MAX_NAME_LENGTH,
    ),
]
Version = Annotated[str, Path(max_length=20)]
JSON_LENGTH: dict[str, Any] = {
    "name": LENGTH_HEADER,
    "in": "header",
    "description": "Length of the JSON when values follow it. 0: one input's bare values.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 999_999_999},
}
INFER: dict[str, Any] = {
    "response_model": InferAnswer,
    "response_model_exclude_none": True,
    "openapi_extra": {**INFER_BODY, "parameters": [JSON_LENGTH]},
    "responses": {
        200: {
            "description": "The outputs; binary ones follow the JSON, whose length the header then tells",
            "content": {OCTETS: {"schema": {"type": "string", "format": "binary"}}},
            "headers": {LENGTH_HEADER: {"schema": {"type": "integer"}}},
        },
        **problems(404, 415),
    },
}


@router.get("")
def server_metadata(request: Request) -> ServerMetadata:
    """Name the server and the extensions of the protocol that it speaks."""
    return ServerMetadata(
        name="factrfm", version=request.app.version, extensions=["binary_tensor_data", "classification"]
    )


@router.get("/health/live")
def server_live() -> ServerLive:
    """Answer as long as the process runs."""
    return ServerLive(live=True)


@router.get("/health/ready", responses=problems(503))
def server_ready(context: CurrentContext) -> ServerReady:
    """Reach the database, Redis and storage."""
    broken = [f"{name}: {check.detail}" for name, check in find_checks(context).items() if not check.ok]
    if broken:
        raise NotReady("; ".join(broken))
    return ServerReady(ready=True)


@router.get("/models/{name}", responses=problems(404, 422))
def model_metadata(context: CurrentContext, name: Name) -> ModelMetadata:
    """Show a model's versions and tensors: an input a column, by its name."""
    return _metadata(context, models.get(context.database, name))


@router.get("/models/{name}/versions/{version}", responses=problems(404, 422))
def model_version_metadata(context: CurrentContext, name: Name, version: Version) -> ModelMetadata:
    """Show the tensors of one version of a model."""
    return _metadata(context, models.get(context.database, name, version))


@router.get("/models/{name}/ready", responses=problems(404, 422))
def model_ready(context: CurrentContext, name: Name) -> ModelReady:
    """Tell that a model can be asked: any that there is."""
    return ModelReady(name=models.get(context.database, name).resource.name, ready=True)


@router.get("/models/{name}/versions/{version}/ready", responses=problems(404, 422))
def model_version_ready(context: CurrentContext, name: Name, version: Version) -> ModelReady:
    """Tell that one version of a model can be asked."""
    return ModelReady(name=models.get(context.database, name, version).resource.name, ready=True)


async def infer(context: CurrentContext, request: Request, name: Name) -> Response:
    """Answer rows: a tensor a column by name, or one matrix of all columns in the order of the model's inputs.

    Other inputs are ignored. Null, and NaN of a float type, is a missing value. Texts are UTF-8.
    """
    return await _infer(context, request, name, None)


router.add_api_route("/models/{name}/infer", infer, methods=["POST"], route_class_override=DirectRoute, **INFER)


@router.post("/models/{name}/versions/{version}/infer", **INFER)
async def infer_version(context: CurrentContext, request: Request, name: Name, version: Version) -> Response:
    """Answer rows by one version of a model."""
    return await _infer(context, request, name, version)


async def _infer(context: Context, request: Request, name: str, version: str | None) -> Response:
    length = _json_length(request.scope)
    with context.predictor.admission():
        body = await whole_body(request)
        inference = _Inference(context.settings, body, length, request.headers)
        pending = PendingPrediction(len(body), inference.read, inference.write)
        return await context.predictor.answer(context.database, name, pending, version)


def _json_length(scope: Scope) -> int | None:
    length = header(scope, LENGTH_HEADER.lower().encode())
    if length is not None and not LENGTH.fullmatch(length):
        raise InvalidRequest.at(
            f"header:{LENGTH_HEADER.lower()}",
            f"{LENGTH_HEADER} is a number of bytes with at most nine digits; got {length[:80]!r}",
        )
    return None if length is None else int(length)


class _Inference:
    """One request: ``read`` decodes its body and stores what ``write`` needs."""

    def __init__(self, settings: ServiceSettings, body: bytes, length: int | None, headers: Mapping[str, str]) -> None:
        self._settings = settings
        self._body = body
        self._length = length
        self._headers = headers
        self._id: str | None = None
        self._outputs: list[RequestedOutput] = []

    def read(self, entry: ModelEntry) -> Rows:
        model = entry.record.resource
        plain = decoded(self._body, self._headers.get("content-encoding"), self._settings.max_json_bytes)
        message = decode(plain, self._length, only_input(model))
        self._id = message.id
        self._outputs = check_outputs(message, model)
        max_rows = self._settings.max_predict_rows
        return rows_from(message.inputs, entry.reader, model.features, max_rows=max_rows)

    def write(self, record: ModelRecord, answer: "Answer") -> Response:
        model = record.resource
        head: dict[str, Any] = {"model_name": model.name, "model_version": str(model.version)}
        if answer.unknown_categories and (text := unknown_categories.as_text(answer.unknown)):
            head["parameters"] = {unknown_categories.PARAMETER: text}
        if self._id is not None:
            head["id"] = self._id
        return _response(head, outputs_from(answer, model, self._outputs), self._headers.get("accept-encoding"))


def _response(head: Mapping[str, Any], outputs: Sequence[Output], accept_encoding: str | None) -> Response:
    content, json_length = encode(head, outputs)
    content, encoding = encoded(content, accept_encoding)
    headers = {"Vary": "Accept-Encoding"}
    if json_length is not None:
        headers[LENGTH_HEADER] = str(json_length)
    if encoding is not None:
        headers["Content-Encoding"] = encoding
    return Response(content, headers=headers, media_type=JSON if json_length is None else OCTETS)


def _metadata(context: Context, record: ModelRecord) -> ModelMetadata:
    model = record.resource
    versions = models.list_page(context.database, limit=MAX_VERSIONS, name=model.name).items
    return ModelMetadata(
        name=model.name,
        versions=[str(listed.version) for listed in reversed(versions)],
        platform=PLATFORM,
        inputs=inputs_of(model),
        outputs=outputs_of(model),
    )
