"""What a fit has learned is shown while it runs, and after its end as its model has it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from service.models import feature_matrix
from service.runtime.context import Context
from worker.contracts.messages import FitOrder, IterationReport
from worker.runs.fit import fit
from worker.shell.orders import build_order
from worker.store import jobs
from worker.store.files.safetensors_io import unpack
from worker.training.machine import Machine

SPEC = {"iterations": 2, "encoding": "plain", "feature_matrix": "full", "precision": "float32"}


@pytest.fixture
def under_way(client: TestClient, context: Context, dataset: str) -> str:
    """A running fit that has reported all of its iterations and has not ended."""
    body = {"kind": "fit", "dataset": dataset, "target": "price", "spec": SPEC}
    job_id = client.post("/v1/jobs", json=body).json()["id"]
    assert client.get(f"/v1/jobs/{job_id}/features/matrix").status_code == 409
    claim = jobs.claim(context.database, job_id, "test", 60, context.now())
    assert claim is not None
    order = build_order(claim)
    assert isinstance(order, FitOrder)

    def report(one: Any) -> None:
        if isinstance(one, IterationReport):
            jobs.record(context.database, job_id, claim.token, context.now(), checkpoint=one.checkpoint)

    fit(order, context.artifacts, Machine.find("cpu", None), report)
    return job_id


def _matrix(client: TestClient, path: str, **query: Any) -> tuple[list[str], np.ndarray, int]:
    answer = client.get(f"{path}/features/matrix", params=query)
    assert answer.status_code == 200, answer.text
    document = answer.json()
    return document["names"], np.array(document["matrix"]), document["iteration"]


def test_a_running_fit_shows_the_matrix_of_every_iteration(client: TestClient, under_way: str) -> None:
    path = f"/v1/jobs/{under_way}"
    first, newest = _matrix(client, path, iteration=0), _matrix(client, path)
    assert first[0] == newest[0]
    assert (first[2], newest[2]) == (0, 2)
    assert first[1] == pytest.approx(np.eye(len(first[0])))
    assert np.linalg.eigvalsh(newest[1]).min() > -1e-6
    assert client.get(f"{path}/features/matrix", params={"iteration": 3}).status_code == 404
    found = client.get(f"{path}/features").json()
    assert sum(one["share"] for one in found["importance"]) == pytest.approx(1.0)
    assert {one["feature"] for one in found["importance"]} == {"size", "city"}
    picture = client.get(f"{path}/features/matrix", headers={"Accept": "image/png"})
    assert picture.content.startswith(b"\x89PNG")


def test_shares_are_of_the_distance_between_the_rows_that_train(client: TestClient, under_way: str) -> None:
    path = f"/v1/jobs/{under_way}"
    names, M, _ = _matrix(client, path)
    found = client.get(f"{path}/features").json()
    shares = {one["feature"]: one["share"] for one in found["encoded_importance"]}
    # a column of a category is 1 in p of the rows, and its variance is p (1 − p); numbers have deviation 1
    assert shares["city:other"] == 0
    city = [name for name in names if name.startswith("city=")]
    kept = {name: shares[name] / M[names.index(name), names.index(name)] for name in ["size", *city]}
    assert all(0.15 < kept[name] / kept["size"] < 0.25 for name in city)
    assert found["features_learned"]
    assert not client.get(f"{path}/features", params={"iteration": 0}).json()["features_learned"]


def test_a_fit_of_an_older_version_shows_no_share_that_it_cannot_know(
    client: TestClient, under_way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_before(document: bytes) -> Any:
        matrices, metadata = unpack(document)
        return matrices, {name: value for name, value in metadata.items() if name != "variances"}

    monkeypatch.setattr(feature_matrix, "unpack", of_before)
    found = client.get(f"/v1/jobs/{under_way}/features").json()
    assert {one["share"] for one in found["importance"]} == {None}
    traces = [one["trace_share"] for one in found["importance"]]
    assert traces == sorted(traces, reverse=True)
    assert sum(traces) == pytest.approx(1)


def test_folding_keeps_the_size_of_every_block(client: TestClient, under_way: str) -> None:
    path = f"/v1/jobs/{under_way}"
    names, M, _ = _matrix(client, path)
    columns, folded, _ = _matrix(client, path, fold=True)
    assert columns == ["size", "city"]
    size = names.index("size")
    city = [index for index in range(len(names)) if index != size]
    assert folded[0, 0] == pytest.approx(M[size, size], rel=1e-5)
    assert folded[0, 1] == pytest.approx(np.linalg.norm(M[size, city]), rel=1e-5)
    assert np.linalg.norm(folded) == pytest.approx(np.linalg.norm(M), rel=1e-5)


def test_some_columns_are_shown_in_the_order_asked_for(client: TestClient, model: dict[str, Any]) -> None:
    path = f"/v1/models/{model['id']}"
    names, M, _ = _matrix(client, path)
    chosen, part, _ = _matrix(client, path, columns=names[::-1])
    assert chosen == names[::-1]
    assert part == pytest.approx(M[::-1, ::-1])
    answer = client.get(f"{path}/features/matrix", params={"columns": "nobody"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "query:columns")


def test_after_its_end_a_fit_shows_what_its_model_shows(client: TestClient, model: dict[str, Any]) -> None:
    job, own = f"/v1/jobs/{model['job']}", f"/v1/models/{model['id']}"
    for iteration in (None, 0, 1):
        query = {} if iteration is None else {"iteration": iteration}
        shown, learned = _matrix(client, job, **query), _matrix(client, own, **query)
        assert (shown[0], shown[2]) == (learned[0], learned[2])
        assert (shown[1] == learned[1]).all()
    described = client.get(f"{own}/features", params={"iteration": 0}).json()
    assert described["effective_rank"] == pytest.approx(model["encoded_features"], rel=1e-5)


def test_a_network_has_no_feature_matrix(client: TestClient, dataset: str, run_job: Callable[[str], None]) -> None:
    body = {"kind": "network", "dataset": dataset, "target": "price", "spec": {"hidden": [4], "steps": 10}}
    job_id = client.post("/v1/jobs", json=body).json()["id"]
    run_job(job_id)
    answer = client.get(f"/v1/jobs/{job_id}/features")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
