"""The dashboard as a whole: its pages, scripts and styles."""

from pathlib import Path

from fastapi import FastAPI

from service.dashboard import comparison, data, learned, overview, signing, work
from service.dashboard.pages import Static

STATIC = Path(__file__).parent / "static"


def install(app: FastAPI) -> None:
    """Have ``app`` answer the dashboard's pages."""
    for part in (signing, overview, data, work, learned, comparison):
        app.include_router(part.router)
    app.mount("/static", Static(directory=STATIC), name="static")
