"""Batches: many jobs accepted together, all or none."""

from typing import Any, get_args

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from service.http.negotiation import content_type
from service.http.pagination import Id
from service.http.problems import problems
from service.http.validation_errors import field_errors, invalid_request
from service.jobs import submission
from service.openapi.document import LOCATION
from service.runtime.context import CurrentContext
from service.settings import ServiceSettings
from worker.contracts.errors import InvalidRequest
from worker.contracts.json_text import parse_json
from worker.contracts.requests import GRID_PATH, MAX_GRID_PATH_LENGTH, AnyRequest, BatchGrid
from worker.contracts.resources import Batch
from worker.contracts.search import MAX_OPTIONS
from worker.store.jobs import batches

router = APIRouter(prefix="/v1/batches", tags=["batches"])

JSON = "application/json"
JSONL = "application/jsonl"
JSONL_NAMES = (JSONL, "application/x-ndjson", "application/x-jsonlines")
JOB = {
    "oneOf": [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in get_args(AnyRequest)],
    "discriminator": {"propertyName": "kind"},
}
REQUEST_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "anyOf": [
                        {"type": "array", "items": JOB, "minItems": 1},
                        {
                            "type": "object",
                            "required": ["base", "grid"],
                            "properties": {
                                "base": {"type": "object"},
                                "grid": {
                                    "type": "object",
                                    "minProperties": 1,
                                    "maxProperties": MAX_OPTIONS,
                                    "propertyNames": {"pattern": GRID_PATH, "maxLength": MAX_GRID_PATH_LENGTH},
                                    "additionalProperties": {
                                        "type": "array",
                                        "items": {},
                                        "minItems": 1,
                                    },
                                },
                            },
                            "additionalProperties": False,
                        },
                    ]
                },
                "examples": {
                    "grid": {
                        "summary": "Every combination of the values is a job",
                        "value": {
                            "base": {"kind": "fit", "dataset": "ds_01jd0000000000000000000000", "target": "price"},
                            "grid": {"spec.ridge": [0.01, 0.1, 1], "spec.kernel": ["laplace", "gaussian"]},
                        },
                    },
                    "array": {
                        "summary": "The bodies of the jobs",
                        "value": [
                            {"kind": "fit", "dataset": "ds_01jd0000000000000000000000", "target": "price"},
                            {"kind": "fit", "dataset": "ds_01jd0000000000000000000000", "target": "rooms"},
                        ],
                    },
                },
            },
            JSONL: {"schema": {"type": "string", "description": "One job body a line."}},
        },
    }
}


@router.post("", status_code=202, openapi_extra=REQUEST_BODY, responses={202: {"headers": LOCATION}, **problems(415)})
async def create_batch(context: CurrentContext, request: Request, response: Response) -> Batch:
    """Queue many jobs: a JSON array of bodies, JSON Lines, or a base body and a grid of values."""
    kind = content_type(request, [JSON, *JSONL_NAMES])
    body = await request.body()
    batch_id = await to_thread.run_sync(_submit, context, body, kind)
    response.headers["Location"] = f"/v1/batches/{batch_id}"
    return await to_thread.run_sync(batches.get, context.database, batch_id)


@router.get("/{batch_id}", responses=problems(404))
def get_batch(context: CurrentContext, batch_id: Id) -> Batch:
    """Count a batch's jobs by state, with links to them."""
    return batches.get(context.database, batch_id)


@router.post("/{batch_id}/cancel", status_code=202, responses=problems(404))
def cancel_batch(context: CurrentContext, batch_id: Id) -> Batch:
    """Cancel every job of the batch that is not final."""
    return batches.cancel(context.database, batch_id, context.now())


def _submit(context: CurrentContext, body: bytes, kind: str) -> str:
    return submission.submit_batch(context, _parse(context.settings, body, kind))


def _parse(settings: ServiceSettings, body: bytes, kind: str) -> list[AnyRequest]:
    limit = settings.max_batch_jobs
    if kind != JSON:
        lines = [line for line in body.splitlines() if line.strip()]
        submission.check_count(len(lines), limit)
        return submission.parse_all([_document(line, f"/{index}") for index, line in enumerate(lines)])
    document = _document(body, "")
    if isinstance(document, list):
        submission.check_count(len(document), limit)
        return submission.parse_all(document)
    try:
        grid = BatchGrid.model_validate(document)
    except ValidationError as error:
        raise invalid_request(field_errors(document, error.errors(include_url=False))) from error
    return submission.expand_grid(grid, limit, settings.max_json_bytes)


def _document(text: bytes, pointer: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise InvalidRequest.at(pointer, f"not a JSON document: {error}") from error
