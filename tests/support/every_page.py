"""Every page of the dashboard."""

from typing import Any


def all_pages(things: dict[str, dict[str, Any]]) -> list[str]:
    """Return the paths of all pages about one of everything, by what it is."""
    ids = {name: one["id"] for name, one in things.items()}
    return [
        "/",
        "/datasets",
        f"/datasets/{ids['dataset']}",
        "/jobs",
        "/jobs?state=succeeded&kind=fit",
        *(f"/jobs/{ids[kind]}" for kind in ("fit", "tune", "network", "predict")),
        "/jobs/new",
        *(f"/jobs/new?dataset={ids['dataset']}&kind={kind}" for kind in ("fit", "tune", "network")),
        *(f"/jobs/new?like={ids[kind]}" for kind in ("fit", "tune", "network")),
        "/models",
        "/models?name=prices",
        f"/models/{ids['model']}",
        "/compare",
        f"/compare?ref={ids['model']}&ref={ids['tune']}&ref={ids['network']}",
        "/batches",
        f"/batches/{ids['batch']}",
        "/queue",
    ]
