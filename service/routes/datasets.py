"""Datasets: immutable tables."""

import itertools
from copy import deepcopy
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Path, Query, Request, Response

from service.datasets import uploads
from service.datasets.upload_folder import upload_folder
from service.datasets.upload_options import (
    MAX_SHEET_LENGTH,
    Decimal,
    HeaderRow,
    Missing,
    Name,
    Separator,
    Sheet,
    TextEncoding,
    UploadOptions,
)
from service.datasets.warnings import dataset_warnings
from service.http.downloads import PARAMETERS, downloads, send_artifact
from service.http.pagination import AfterDataset, Id, Limit
from service.http.problems import problems
from service.openapi.document import LOCATION
from service.openapi.rows_body import TABLE
from service.runtime.context import CurrentContext
from worker.contracts.errors import InvalidRequest, NotFound
from worker.contracts.resources import Dataset, DatasetRows, Histogram, Page
from worker.store import datasets
from worker.tables import values
from worker.tables.close_names import did_you_mean, shown
from worker.tables.files.raw_table import MAX_NAME_LENGTH
from worker.tables.histogram import histogram
from worker.tables.media import DATASET_TYPES
from worker.tables.storage import iter_column, iter_tables, open_table

router = APIRouter(prefix="/v1/datasets", tags=["datasets"])

MAX_ROWS = 1000
ColumnInPath = Annotated[str, Path(max_length=MAX_NAME_LENGTH)]
CSV_EXAMPLE = "rooms,city,price\n3,Bern,510\n5,Basel,730\n"
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The file itself, plain or with Content-Encoding gzip or zstd.",
        "content": {
            **{
                kind: {"schema": {"type": "string", "format": "binary"}}
                for kind in DATASET_TYPES
                if kind not in ("text/csv", "application/json")
            },
            "text/csv": {"schema": {"type": "string"}, "example": CSV_EXAMPLE},
            "application/json": {
                "schema": deepcopy(TABLE),
                "example": {"columns": ["rooms", "city", "price"], "rows": [[3, "Bern", 510], [5, "Basel", 730]]},
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "additionalProperties": False,
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "name": {"type": "string", "minLength": 1, "maxLength": 200, "description": "As in the query."},
                        "header": {"type": "boolean", "description": "As in the query."},
                        "separator": {"type": "string", "maxLength": 3, "description": "As in the query."},
                        "decimal": {"enum": [".", ","], "description": "As in the query."},
                        "encoding": {"type": "string", "maxLength": 40, "description": "As in the query."},
                        "sheet": {
                            "type": "string",
                            "minLength": 1,
                            "maxLength": MAX_SHEET_LENGTH,
                            "description": "As in the query.",
                        },
                        "missing": {
                            "type": "array",
                            "items": {"type": "string", "maxLength": 50},
                            "maxItems": 20,
                            "description": "As in the query.",
                        },
                    },
                },
                "encoding": {"file": {"contentType": ", ".join(DATASET_TYPES)}},
            },
        },
    }
}


@router.post(
    "",
    status_code=201,
    openapi_extra=BODY,
    responses={
        200: {"model": Dataset, "description": "The same bytes are a dataset already", "headers": LOCATION},
        201: {"headers": LOCATION},
        **problems(400, 415, 507),
    },
)
async def upload_dataset(
    context: CurrentContext,
    request: Request,
    response: Response,
    name: Name = None,
    header: HeaderRow = None,
    missing: Missing = None,
    separator: Separator = None,
    decimal: Decimal = None,
    encoding: TextEncoding = None,
    sheet: Sheet = None,
) -> Dataset:
    """Upload a table. The same bytes again give the dataset that they made first."""
    compression = uploads.check_encoding(request)
    options = UploadOptions(
        name=name,
        header=header,
        missing=missing,
        separator=separator,
        decimal=decimal,
        encoding=encoding,
        sheet=sheet,
    )
    with upload_folder(context.settings.home) as folder:
        received = await uploads.receive(request, folder, options)
        dataset, new = await context.readers.run(
            lambda: uploads.store(context, received, compression), request, context.database.project
        )
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/datasets/{dataset.id}"
    return _with_warnings(dataset)


@router.get("", responses=problems(422))
def list_datasets(context: CurrentContext, limit: Limit = 50, after: AfterDataset = None) -> Page[Dataset]:
    """List datasets, newest first."""
    return datasets.list_page(context.database, limit=limit, after=after)


@router.get("/{dataset_id}", responses=problems(404))
def get_dataset(context: CurrentContext, dataset_id: Id) -> Dataset:
    """Show a dataset and what its columns look like."""
    return _with_warnings(datasets.get(context.database, dataset_id))


def _with_warnings(dataset: Dataset) -> Dataset:
    return dataset.model_copy(update={"remarks": dataset_warnings(dataset)})


@router.get("/{dataset_id}/rows", responses=problems(404, 422))
def get_rows(
    context: CurrentContext, dataset_id: Id, limit: Annotated[int, Query(ge=1, le=MAX_ROWS)] = 20
) -> DatasetRows:
    """Show the first rows."""
    record = datasets.get_record(context.database, dataset_id)
    with context.artifacts.open_part(record.table) as source:
        table = values.shown(pa.concat_tables(itertools.islice(iter_tables(source, None, limit), 1)).slice(0, limit))
    columns = [[_finite(value) for value in column.to_pylist()] for column in table.columns]
    return DatasetRows(columns=table.column_names, rows=[list(row) for row in zip(*columns, strict=True)])


@router.get("/{dataset_id}/columns/{column:path}/histogram", responses=problems(404, 422))
def get_histogram(
    context: CurrentContext, dataset_id: Id, column: ColumnInPath, bins: Annotated[int, Query(ge=1, le=200)] = 30
) -> Histogram:
    """Count the values of a numeric column by size. Those of other columns are counted in the dataset's ``top``."""
    record = datasets.get_record(context.database, dataset_id)
    by_name = {stats.name: stats for stats in record.resource.columns}
    if column not in by_name:
        raise NotFound(f"dataset {dataset_id} has no column {shown(column)!r}{did_you_mean(column, list(by_name))}")
    stats = by_name[column]
    if stats.type != "numeric":
        raise InvalidRequest(f"the column {column[:200]!r} is {stats.type}: its values are counted in its 'top'")
    edges: list[float] = []
    counts: list[int] = []
    if isinstance(stats.min, float) and isinstance(stats.max, float):
        with context.artifacts.open_part(record.table) as source, open_table(source) as file:
            edges, counts = histogram(iter_column(file, column), stats.min, stats.max, bins, integer=stats.integer)
    return Histogram(column=column, edges=edges, counts=counts, missing=stats.missing, infinite=stats.infinite)


@router.get(
    "/{dataset_id}/content",
    response_class=Response,
    openapi_extra=PARAMETERS,
    responses={**downloads("The original bytes", DATASET_TYPES), **problems(404)},
)
def get_content(context: CurrentContext, request: Request, dataset_id: Id) -> Response:
    """Download the original bytes."""
    record = datasets.get_record(context.database, dataset_id)
    form = record.resource.media_type.partition(";")[0]
    suffix = next(suffix for suffix, kind in uploads.SUFFIXES.items() if kind == form)
    return send_artifact(
        request, context.artifacts, record.content, record.resource.media_type, f"{dataset_id}{suffix}"
    )


@router.delete("/{dataset_id}", status_code=204, responses=problems(404, 409))
def delete_dataset(context: CurrentContext, dataset_id: Id) -> None:
    """Delete a dataset that no queued or running job uses. Models that were trained on it stay."""
    datasets.delete(context.database, dataset_id)
    context.artifacts.delete_prefix(f"datasets/{dataset_id}")


def _finite(value: Any) -> Any:
    """Return whole numbers as int, and NaN and infinities, which JSON lacks, as None."""
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return None
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    return value
