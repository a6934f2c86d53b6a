from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

SPEC = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "precision": "float32", "exponent": 1}


@pytest.fixture
def things(
    client: TestClient, dataset: str, model: dict[str, Any], run_job: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """One of everything: a table, a fit and its model, a search, a network, a prediction, a batch that half waits."""
    common = {"dataset": dataset, "target": "price"}
    bodies = {
        "tune": {"kind": "tune", **common, "spec": SPEC, "search": {"trials": 2}},
        "network": {"kind": "network", **common, "spec": {"steps": 20, "report_every": 10, "hidden": [4]}},
        "predict": {"kind": "predict", "model": "prices", "dataset": dataset},
    }
    found = {name: client.post("/v1/jobs", json=body).json() for name, body in bodies.items()}
    for job in found.values():
        run_job(job["id"])
    grid = {"base": {"kind": "fit", **common, "spec": SPEC}, "grid": {"spec.ridge": [0.1, 1.0]}}
    batch = client.post("/v1/batches", json=grid).json()
    run_job(batch["jobs"][0].rsplit("/", 1)[1])
    fit = {"id": model["job"]}
    return {**found, "dataset": {"id": dataset}, "model": model, "fit": fit, "batch": batch}
