"""Pages of datasets: the list, and what the columns of one look like."""

from typing import Any

from fastapi import Request, Response

from service.dashboard.pages import page_router, render
from service.datasets.uploads import SUFFIXES
from service.datasets.warnings import remarks
from service.http.pagination import AfterDataset
from service.runtime.context import CurrentContext
from service.settings import ServiceSettings
from worker.store import datasets

router = page_router()

PAGE = 50


@router.get("/datasets")
def list_datasets(context: CurrentContext, request: Request, after: AfterDataset = None) -> Response:
    """List datasets, newest first, with a place to drop a file."""
    page = datasets.list_page(context.database, limit=PAGE, after=after)
    return render(request, "datasets.html", page=page, **upload_hints(context.settings))


@router.get("/datasets/{dataset_id}")
def show_dataset(context: CurrentContext, request: Request, dataset_id: str) -> Response:
    """Show the columns of a dataset and how their values spread."""
    dataset = datasets.get(context.database, dataset_id)
    return render(request, "dataset.html", dataset=dataset, remarks=remarks(dataset))


def upload_hints(settings: ServiceSettings) -> dict[str, Any]:
    """Return what the place to drop a file says."""
    return {"suffixes": list(SUFFIXES), "most_bytes": settings.max_body_bytes}
