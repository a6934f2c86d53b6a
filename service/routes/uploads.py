"""Uploads in parts, for what a connection does not carry at once."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response

from service.datasets import part_uploads
from service.datasets.part_uploads import DIGEST, UploadRequest
from service.datasets.warnings import dataset_warnings
from service.http.json_route import JsonRoute
from service.http.pagination import AfterUpload, Id, Limit
from service.http.problems import problems
from service.openapi.document import LOCATION
from service.runtime.context import CurrentContext
from worker.contracts.resources import MAX_PARTS, Dataset, Page, Upload, UploadPart
from worker.store import uploads

router = APIRouter(prefix="/v1/uploads", tags=["datasets"], route_class=JsonRoute)

Number = Annotated[int, Path(ge=1, le=MAX_PARTS, description="From 1.")]
PART: dict[str, Any] = {
    "parameters": [
        {
            "name": DIGEST,
            "in": "header",
            "description": "The checksum of the part (RFC 9530), as sha-256=:…:, checked before the part is stored.",
            "schema": {"type": "string", "pattern": "^sha-256=:[A-Za-z0-9+/]{43}=:$"},
        }
    ],
    "requestBody": {
        "required": True,
        "description": "The bytes of the file from (number - 1) × part_bytes on: part_bytes of them, or the rest.",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    },
}


@router.post("", status_code=201, responses={201: {"headers": LOCATION}})
def create_upload(context: CurrentContext, response: Response, body: UploadRequest) -> Upload:
    """Begin an upload in parts. The parts may be sent in any order, and several at once."""
    upload = part_uploads.begin(context, body)
    response.headers["Location"] = f"/v1/uploads/{upload.id}"
    return upload


@router.get("", responses=problems(422))
def list_uploads(context: CurrentContext, limit: Limit = 50, after: AfterUpload = None) -> Page[Upload]:
    """List uploads in parts, newest first."""
    return uploads.list_page(context.database, context.now(), limit=limit, after=after)


@router.get("/{upload_id}", responses=problems(404))
def get_upload(context: CurrentContext, upload_id: Id) -> Upload:
    """Show an upload and which of its parts are there."""
    return uploads.get(context.database, upload_id, context.now()).resource


@router.put(
    "/{upload_id}/parts/{number}",
    status_code=201,
    openapi_extra=PART,
    responses={
        200: {"model": UploadPart, "description": "The part is there already"},
        **problems(404, 409, 415, 507),
    },
)
async def put_part(
    context: CurrentContext, request: Request, response: Response, upload_id: Id, number: Number
) -> UploadPart:
    """Send a part. It is stored once this is answered; the same bytes again change nothing."""
    part, new = await part_uploads.take_part(context, request, upload_id, number)
    response.status_code = 201 if new else 200
    return part


@router.post(
    "/{upload_id}/complete",
    status_code=201,
    responses={
        200: {"model": Dataset, "description": "The same bytes are a dataset already", "headers": LOCATION},
        201: {"headers": LOCATION},
        **problems(404),
    },
)
async def complete_upload(context: CurrentContext, response: Response, upload_id: Id) -> Dataset:
    """Make the dataset of all parts. It is made also if the connection ends: complete again, and get it."""
    dataset, new = await part_uploads.complete(context, upload_id)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    return dataset.model_copy(update={"remarks": dataset_warnings(dataset)})


@router.delete("/{upload_id}", status_code=204, responses=problems(404, 409))
def delete_upload(context: CurrentContext, upload_id: Id) -> None:
    """Delete an upload with its parts. The dataset of a complete one stays."""
    part_uploads.delete(context, upload_id)
