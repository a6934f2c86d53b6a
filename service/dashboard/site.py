"""Installation of the dashboard: pages, scripts and styles."""

from pathlib import Path

from fastapi import FastAPI

from service.dashboard import comparison, data, learned, overview, signing, work
from service.dashboard.pages import Static

STATIC = Path(__file__).parent / "static"


def install(app: FastAPI) -> None:
    """Add the dashboard to ``app``."""
    for module in (signing, overview, data, work, learned, comparison):
        app.include_router(module.router)
    app.mount("/static", Static(directory=STATIC), name="static")
