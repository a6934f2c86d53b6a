"""Real tables through the whole system, by HTTP only."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split
from support.processes import System

from service.inference import unknown_categories

SEED = 0


def _split(bunch: Any, stratified: bool = True) -> list[np.ndarray]:
    return train_test_split(
        bunch.data, bunch.target, test_size=0.25, random_state=SEED, stratify=bunch.target if stratified else None
    )


def _fit(system: System, X: np.ndarray, y: np.ndarray, **body: Any) -> dict[str, Any]:
    job = system.wait(system.submit(dataset=system.upload(X, y), spec={}, **body))
    assert job["state"] == "succeeded", job
    return job


def test_breast_cancer_with_an_empty_spec_reaches_95_percent(shared_system: System) -> None:
    X, X_test, y, y_test = _split(load_breast_cancer())
    job = _fit(shared_system, X, y)
    answer = shared_system.predict(job["model"], X_test)
    assert np.mean(np.array(answer["predictions"]) == y_test) >= 0.95
    assert answer["classes"] == [0, 1]
    assert np.allclose(np.sum(answer["probabilities"], axis=1), 1)


def test_digits_with_an_empty_spec_reaches_97_percent(shared_system: System) -> None:
    X, X_test, y, y_test = _split(load_digits())
    job = _fit(shared_system, X, y)
    assert np.mean(np.array(shared_system.predict(job["model"], X_test)["predictions"]) == y_test) >= 0.97


def test_diabetes_with_an_empty_spec_is_within_5_points_of_ridge_regression(shared_system: System) -> None:
    X, X_test, y, y_test = _split(load_diabetes(), stratified=False)
    job = _fit(shared_system, X, y)
    ours = r2_score(y_test, shared_system.predict(job["model"], X_test)["predictions"])
    assert ours >= r2_score(y_test, Ridge().fit(X, y).predict(X_test)) - 0.05


def test_sparse_parity_is_learned_and_its_three_columns_are_named(shared_system: System) -> None:
    rng = np.random.default_rng(SEED)
    X = rng.choice([-1.0, 1.0], size=(3000, 50))
    support = [7, 23, 41]
    y = X[:, support].prod(axis=1).astype(int)
    dataset = shared_system.upload(X[:2000], y[:2000])
    spec = {"kernel": "gaussian", "bandwidth": 5.0, "ridge": 1e-3, "iterations": 4}
    job = shared_system.wait(shared_system.submit(dataset=dataset, spec=spec, validation=None))
    answer = shared_system.predict(job["model"], X[2000:])
    assert answer["classes"] == [-1, 1]
    assert (np.array(answer["predictions"]) == y[2000:]).all()
    features = shared_system.client.get(f"/v1/models/{job['model']}/features").json()
    assert {one["feature"] for one in features["importance"][:3]} == {f"x{index}" for index in support}
    assert features["importance"][2]["share"] >= 10 * features["importance"][3]["share"]


def test_a_table_of_texts_and_gaps_is_learned_on_both_databases(
    start_system: Callable[..., System], empty_database_url: str
) -> None:
    system = start_system(empty_database_url)
    rng = np.random.default_rng(SEED)
    cities = ["Bern", "Basel", "Chur"]
    rows = []
    for index in range(300):
        city, rooms = cities[rng.integers(3)], rng.integers(1, 7)
        price = 100 * rooms + 250 * (city == "Basel") + rng.normal(0, 5)
        rows.append(f"{city if index % 17 else ''},{rooms if index % 23 else 'NA'},{rooms > 3},{price:.2f}")
    body = "city,rooms,large,price\n" + "\n".join(rows) + "\n"
    answer = system.client.post("/v1/datasets", content=body, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    dataset = answer.json()["id"]
    job = system.wait(system.submit(dataset=dataset, target="price", model="prices"))
    assert job["state"] == "succeeded", job
    assert job["metrics"]["validation_r2"] > 0.9
    rows_to_ask = {
        "rows": [{"city": "Basel", "rooms": 4, "large": True}, {"city": "Rome", "rooms": None, "large": None}]
    }
    answer = system.client.post("/v1/models/prices/predict", json=rows_to_ask)
    assert answer.status_code == 200, answer.text
    assert 500 < answer.json()["predictions"][0] < 800
    batch = system.wait(
        system.client.post("/v1/jobs", json={"kind": "predict", "model": "prices", "dataset": dataset, "format": "csv"})
        .raise_for_status()
        .json()["id"]
    )
    assert batch["state"] == "succeeded", batch
    result = system.client.get(f"/v1/jobs/{batch['id']}/result")
    assert len(result.text.splitlines()) == 301


def test_a_predict_job_answers_the_texts_of_a_file_as_a_request_does(shared_system: System) -> None:
    texts = ["1.5", "1.50", "NA", "true", "TRUE"]
    rng = np.random.default_rng(SEED)
    codes = rng.integers(len(texts), size=200)
    sink = pa.BufferOutputStream()
    trained = pa.table({"c": pa.array(texts).take(pa.array(codes)).dictionary_encode(), "y": 10.5 * codes})
    with pa.ipc.new_file(sink, trained.schema) as writer:
        writer.write_table(trained)
    client = shared_system.client
    told = {"Content-Type": "application/vnd.apache.arrow.file"}
    dataset = client.post("/v1/datasets", content=sink.getvalue().to_pybytes(), headers=told).raise_for_status().json()
    job = shared_system.wait(shared_system.submit(dataset=dataset["id"], target="y"))
    for cells, unknown in (
        (["1.5", "1.50", "2", "NA"], 1),
        (["true", "TRUE", " TRUE", "?"], 0),
        (["NA", "?", "NA"], 0),
    ):
        body, csv = "c\n" + "\n".join(cells) + "\n", {"Content-Type": "text/csv"}
        asked = client.post(f"/v1/models/{job['model']}/predict", content=body, headers=csv).raise_for_status()
        assert (unknown_categories.HEADER in asked.headers) == bool(unknown)
        uploaded = client.post("/v1/datasets", content=body, headers=csv).raise_for_status().json()["id"]
        order = {"kind": "predict", "model": job["model"], "dataset": uploaded, "format": "csv"}
        batch = shared_system.wait(client.post("/v1/jobs", json=order).raise_for_status().json()["id"])
        assert batch["state"] == "succeeded", batch
        lines = client.get(f"/v1/jobs/{batch['id']}/result").text.splitlines()[1:]
        assert np.allclose([float(line) for line in lines], asked.json()["predictions"], rtol=1e-9, atol=1e-9)
        warned = [event["data"]["message"] for event in shared_system.events(batch["id"]) if event["type"] == "log"]
        assert any("no training row had: c (1)" in line for line in warned) == bool(unknown)


def test_cross_validation_chooses_and_all_rows_train(shared_system: System) -> None:
    X, X_test, y, y_test = _split(load_breast_cancer())
    job = _fit(shared_system, X, y, validation={"folds": 3})
    model = shared_system.client.get(f"/v1/models/{job['model']}").json()
    assert model["training_rows"] == len(X)
    assert np.mean(np.array(shared_system.predict(job["model"], X_test)["predictions"]) == y_test) >= 0.95
    folds = {event["data"]["fold"] for event in shared_system.events(job["id"]) if event["type"] == "iteration"}
    assert folds == {1, 2, 3, None}


def test_events_follow_a_job_live_and_resume_without_a_gap(shared_system: System) -> None:
    rng = np.random.default_rng(SEED)
    X = rng.normal(size=(600, 20))
    job = shared_system.submit(dataset=shared_system.upload(X, X[:, 0] * X[:, 1]), spec={"iterations": 6})
    headers = {"Accept": "text/event-stream"}
    seen: list[int] = []
    with shared_system.client.stream("GET", f"/v1/jobs/{job}/events", headers=headers, timeout=60) as stream:
        for line in stream.iter_lines():
            if line.startswith("id:"):
                seen.append(int(line.removeprefix("id:")))
            if len(seen) == 3:
                break
    with shared_system.client.stream(
        "GET", f"/v1/jobs/{job}/events", headers={**headers, "Last-Event-ID": str(seen[-1])}, timeout=60
    ) as stream:
        last = {}
        for line in stream.iter_lines():
            if line.startswith("data:"):
                last = json.loads(line.removeprefix("data:"))
                seen.append(last["seq"])
    assert seen == list(range(1, len(seen) + 1))
    assert last["data"]["state"] == "succeeded"


def test_a_fit_that_cannot_fit_in_memory_fails_with_both_figures(start_system: Callable[..., System]) -> None:
    system = start_system(memory_bytes="1000000")
    X = np.random.default_rng(SEED).normal(size=(2000, 5))
    job = system.wait(system.submit(dataset=system.upload(X, X[:, 0])))
    assert job["state"] == "failed"
    assert job["error"]["type"] == "does_not_fit"
    assert "GiB" in job["error"]["detail"]


@pytest.mark.parametrize("kernel", ["laplace", "gaussian", "generalized", "quadratic", "exponential"])
def test_every_kernel_trains(shared_system: System, kernel: str) -> None:
    rng = np.random.default_rng(SEED)
    X = rng.normal(size=(200, 4))
    spec = {"kernel": kernel, "iterations": 2}
    job = shared_system.wait(shared_system.submit(dataset=shared_system.upload(X, X[:, 0] * X[:, 1]), spec=spec))
    assert job["state"] == "succeeded", job
