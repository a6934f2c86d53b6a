"""A job says how far it is from the moment that a worker has it, also while nothing is measured yet."""

from typing import Any

import numpy as np
import pytest
from support.processes import FINAL, System, wait_until

SLOW = {"encoding": "plain", "feature_matrix": "full", "exponent": 1, "iterations": 20}
BODIES: dict[str, dict[str, Any]] = {
    "fit": {"kind": "fit", "spec": SLOW},
    "auto": {"kind": "fit", "spec": {}},
    "folds": {"kind": "fit", "spec": SLOW, "validation": {"folds": 3}},
    "tune": {"kind": "tune", "spec": SLOW, "search": {"trials": 3}},
    "blocks": {"kind": "fit", "spec": {"solver": "blocks"}},
    "open tune": {"kind": "tune", "spec": {}, "search": {"trials": 3}},
    "network": {"kind": "network", "spec": {"hidden": [256, 256], "steps": 2000, "report_every": 1000}},
}


@pytest.fixture(scope="module")
def dataset(shared_system: System) -> str:
    X = np.random.default_rng(0).normal(size=(9000, 20))
    return shared_system.upload(X, X[:, 0] * X[:, 1])


@pytest.mark.parametrize("kind", BODIES)
def test_a_running_job_says_what_it_does_and_moves_before_it_has_measured_anything(
    shared_system: System, dataset: str, kind: str
) -> None:
    body = {"dataset": dataset, "target": "y", **BODIES[kind]}
    plan = shared_system.client.post("/v1/jobs?dry_run=true", json=body).json()
    assert plan["estimate"]["seconds"] > 0
    job = shared_system.submit(**body)
    seen: list[dict[str, Any]] = []

    def enough() -> bool:
        now = shared_system.job(job)
        assert now["state"] not in FINAL, now
        assert now["estimate"]["seconds"] == plan["estimate"]["seconds"]
        assert now["progress"]["eta_seconds"] >= 0
        if now["state"] == "running":
            seen.append(now["progress"])
        fractions = {one["fraction"] for one in seen if one["stage"] != "starting"}
        return len(fractions) > 3

    wait_until(enough, 90, f"{kind} moves")
    shared_system.client.post(f"/v1/jobs/{job}/cancel")
    shared_system.wait(job)
    assert "queued" not in {one["stage"] for one in seen}
    unmeasured = [one["fraction"] for one in seen if one["iteration"] in (None, 0) and one["stage"] != "starting"]
    assert unmeasured == sorted(unmeasured)
    assert len(set(unmeasured)) > 3
    assert unmeasured[-1] < 0.95


def test_a_prediction_says_how_long_it_takes(shared_system: System, dataset: str) -> None:
    made = shared_system.wait(
        shared_system.submit(kind="fit", dataset=dataset, model="quick", spec={**SLOW, "iterations": 0, "ridge": 0.1})
    )
    assert made["state"] == "succeeded"
    assert made["progress"]["iteration"] == 0
    body = {"kind": "predict", "model": "quick", "dataset": dataset}
    assert shared_system.client.post("/v1/jobs?dry_run=true", json=body).json()["estimate"]["seconds"] > 0
    job = shared_system.client.post("/v1/jobs", json=body).json()
    assert job["estimate"]["seconds"] > 0
    assert job["progress"]["eta_seconds"] > 0
    assert shared_system.wait(job["id"])["progress"]["eta_seconds"] is None
