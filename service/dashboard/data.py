"""Pages of datasets: the list, and the columns of one dataset."""

from typing import Any

from fastapi import Request, Response

from service.dashboard.pages import page_router, render
from service.datasets.uploads import SUFFIXES
from service.datasets.warnings import reading_text, table_warnings, warning_of_each
from service.http.pagination import AfterDataset
from service.runtime.context import CurrentContext
from service.settings import ServiceSettings
from worker.store import datasets
from worker.tables.media import COMPRESSED

router = page_router()

PAGE = 50


@router.get("/datasets")
def list_datasets(context: CurrentContext, request: Request, after: AfterDataset = None) -> Response:
    """List datasets, newest first, with an upload area."""
    page = datasets.list_page(context.database, limit=PAGE, after=after)
    return render(request, "datasets.html", page=page, **upload_hints(context.settings))


@router.get("/datasets/{dataset_id}")
def show_dataset(context: CurrentContext, request: Request, dataset_id: str) -> Response:
    """Show the columns of a dataset and the distributions of their values."""
    dataset = datasets.get(context.database, dataset_id)
    told = None if dataset.reading is None else reading_text(dataset.reading)
    warnings, notes = table_warnings(dataset), warning_of_each(dataset)
    return render(request, "dataset.html", dataset=dataset, warnings=warnings, notes=notes, reading=told)


def upload_hints(settings: ServiceSettings) -> dict[str, Any]:
    """Return the file types and the size limit for the upload area."""
    return {"suffixes": [*SUFFIXES, *COMPRESSED], "most_bytes": settings.max_body_bytes}
