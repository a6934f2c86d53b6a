"""A network through the whole system: seen while it trains, killed, and what its layers say of the theorem."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer
from support.processes import System, wait_until

Start = Callable[..., System]


def _submit(system: System, dataset: str, **body: Any) -> str:
    return system.submit(**{"kind": "network", "dataset": dataset, **body})


def _steps(system: System, job: str) -> list[dict[str, Any]]:
    return [event["data"] for event in system.events(job) if event["type"] == "step"]


def _report(system: System, job: str) -> dict[str, Any]:
    answer = system.client.get(f"/v1/jobs/{job}/result")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    return dict(answer.json())


def _untimed(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in step.items() if "seconds" not in name} for step in steps]


def test_fact_comes_to_agree_with_the_weights_and_the_report_shows_it(shared_system: System) -> None:
    cancer = load_breast_cancer()
    dataset = shared_system.upload(cancer.data, cancer.target)
    # smooth: where relus bend, a gradient never comes to rest, and how far from it differs from processor to processor
    spec = {"hidden": [32, 32], "loss": "cross_entropy", "activation": "tanh", "weight_decay": 0.02, "momentum": 0.95}
    spec |= {"learning_rate": 0.2, "steps": 2000, "report_every": 500}
    job = _submit(shared_system, dataset, spec=spec)
    ended = shared_system.wait(job)
    assert ended["state"] == "succeeded", ended
    assert ended["model"] is None
    report = _report(shared_system, job)
    assert _untimed(report["steps"]) == _untimed(_steps(shared_system, job))
    assert [step["step"] for step in report["steps"]] == [0, 500, 1000, 1500, 2000]
    first, last = report["steps"][0], report["steps"][-1]
    assert last["metrics"] == ended["metrics"]
    assert last["metrics"]["validation_accuracy"] > 0.9
    assert last["loss"] + last["penalty"] < first["loss"] + first["penalty"]
    assert [(layer["layer"], layer["inputs"], layer["outputs"]) for layer in last["layers"]] == [
        (1, 30, 32), (2, 32, 32), (3, 32, 2),
    ]  # fmt: skip
    for layer in last["layers"]:
        assert min(layer["fact"], layer["fact_symmetrised"], layer["bfact"]) > 0.99, layer
        assert layer["residual_gradient"] < 0.03
    assert all(layer["residual_gradient"] > 1 for layer in first["layers"])
    assert report["features"] == [f"x{index}" for index in range(30)]
    assert report["rows"] + round(0.2 * 569) == 569
    assert shared_system.client.get("/v1/models").json()["items"] == []


def test_a_killed_worker_goes_on_bit_for_bit(start_system: Start, empty_database_url: str) -> None:
    system = start_system(empty_database_url, workers=1)
    rng = np.random.default_rng(1)
    X = rng.normal(size=(1000, 20))
    dataset = system.upload(X, X[:, 0] * X[:, 1])
    spec = {"hidden": [128, 128], "steps": 600, "report_every": 30, "activation": "tanh"}
    undisturbed = _submit(system, dataset, spec=spec)
    first = system.wait(undisturbed)
    assert first["state"] == "succeeded", first
    job = _submit(system, dataset, spec=spec)
    wait_until(lambda: len(_steps(system, job)) >= 4, 60, "four reports")
    running = system.job(job)
    assert running["state"] == "running"
    assert "train_rmse" in running["metrics"]
    system.workers[0].kill()
    system.start_worker()
    ended = system.wait(job)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 2), ended
    assert [step["step"] for step in _steps(system, job)] == list(range(0, 601, 30)), "no report came twice"
    found, expected = _report(system, job), _report(system, undisturbed)
    assert _untimed(found["steps"]) == _untimed(expected["steps"])


def test_a_network_is_cancelled_while_it_trains(shared_system: System) -> None:
    X = np.random.default_rng(1).normal(size=(1000, 20))
    dataset = shared_system.upload(X, X[:, 0])
    job = _submit(shared_system, dataset, spec={"steps": 100_000, "report_every": 100, "learning_rate": 0.01})
    wait_until(lambda: len(_steps(shared_system, job)) >= 1, 60, "a report")
    assert shared_system.client.post(f"/v1/jobs/{job}/cancel").status_code == 202
    ended = shared_system.wait(job, 5)
    assert ended["state"] == "cancelled", ended["error"]
    assert shared_system.client.get(f"/v1/jobs/{job}/result").status_code == 409


@pytest.mark.parametrize(
    "change",
    [{"learning_rate": 1000, "momentum": 0.99, "max_gradient_norm": None}, {"learning_rate": 1000, "momentum": 0.99}],
)
def test_a_training_that_diverges_fails_with_advice(shared_system: System, change: dict[str, Any]) -> None:
    X = np.random.default_rng(1).normal(size=(100, 5))
    spec = {"steps": 400, "report_every": 10, **change}
    job = shared_system.wait(_submit(shared_system, shared_system.upload(X, X[:, 0]), spec=spec))
    assert (job["state"], job["error"]["type"]) == ("failed", "numerical_failure")
    assert "learning_rate" in job["error"]["detail"]
