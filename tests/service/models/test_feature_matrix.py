"""What pages and answers about a feature matrix cost, and what they say where nothing was learned."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from service.models import feature_matrix
from service.models.feature_matrix import LearnedMatrix
from worker.store.files.safetensors_io import unpack


@pytest.fixture
def plain(client: TestClient, dataset: str, run_job: Any) -> dict[str, Any]:
    """A model named ``plain`` that learned nothing of its columns, by ``update: none``."""
    body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "plain", "spec": {"update": "none"}}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    return dict(client.get("/v1/models/plain").json())


def test_shares_are_those_of_the_model_s_own_rows(client: TestClient, model: dict[str, Any]) -> None:
    stored, _ = unpack(client.get("/v1/models/prices/export").content)
    document = client.get("/v1/models/prices/features/matrix").json()
    parts = np.diagonal(np.array(document["matrix"])) * stored["X"].astype(float).var(axis=0)
    found = client.get("/v1/models/prices/features").json()
    assert {one["feature"]: one["share"] for one in found["encoded_importance"]} == pytest.approx(
        dict(zip(document["names"], parts / parts.sum(), strict=True)), rel=1e-5
    )
    [compared] = [
        one
        for one in client.get("/v1/models/prices/compare?with=prices@1").json()["features"]
        if one["feature"] == "size"
    ]
    [size] = [one for one in found["importance"] if one["feature"] == "size"]
    assert compared["shares"] == [size["share"]] * 2
    assert compared["trace_shares"] == [size["trace_share"]] * 2
    assert size["share"] > size["trace_share"], "the city has four columns that hardly vary"


def test_a_model_that_learned_nothing_of_its_columns_says_so_wherever_importance_is_shown(
    client: TestClient, model: dict[str, Any], plain: dict[str, Any]
) -> None:
    assert client.get("/v1/models/prices/features").json()["features_learned"]
    assert not client.get("/v1/models/plain/features").json()["features_learned"]
    assert not client.get("/v1/models/prices/features?iteration=0").json()["features_learned"]
    assert not client.get(f"/v1/jobs/{plain['job']}/features").json()["features_learned"]
    assert client.get("/v1/models/prices/compare?with=plain").json()["features_learned"] == [True, False]
    for path, count in (
        ("/models/plain", 1),
        ("/models/prices", 0),
        ("/compare?ref=prices&ref=plain", 1),
        ("/", 1),
        ("/v1/models/plain/card", 1),
        ("/v1/models/prices/card", 0),
    ):
        page = client.get(path).text
        assert len(re.findall("othing was learned of the columns|learned nothing of its columns", page)) == count, path


def test_nothing_is_decomposed_twice_and_a_diagonal_matrix_never(
    client: TestClient, model: dict[str, Any], plain: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    eigh = torch.linalg.eigh

    def counted(*arguments: Any) -> Any:
        calls.append(1)
        return eigh(*arguments)

    monkeypatch.setattr(torch.linalg, "eigh", counted)
    shown = [
        "/v1/models/{}/features",
        "/v1/jobs/{}/features",
        "/v1/models/{}/card",
        "/models/{}",
        "/compare?ref=plain&ref={}",
        "/v1/models/{}/features/matrix",
        "/",
    ]
    for _ in range(3):
        for path in shown:
            assert client.get(path.format(model["job" if "jobs" in path else "id"])).status_code == 200
            assert client.get(path.format(plain["job" if "jobs" in path else "id"])).status_code == 200
    assert len(calls) == 1


def test_a_picture_is_drawn_once(
    client: TestClient, model: dict[str, Any], context: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []
    heatmap = feature_matrix.heatmap

    def counted(*arguments: Any) -> bytes:
        drawn.append(1)
        return heatmap(*arguments)

    monkeypatch.setattr(feature_matrix, "heatmap", counted)
    path, png = "/v1/models/prices/features/matrix", {"Accept": "image/png"}
    pictures = [client.get(path, headers=png).content for _ in range(3)]
    assert len(set(pictures)) == len(drawn) == 1
    assert client.get(f"{path}?iteration=1", headers=png).content != pictures[0]
    assert client.get(f"{path}?fold=true", headers=png).content != pictures[0]
    assert len(drawn) == 3


def test_folding_sums_the_squares_of_each_block_and_keeps_the_sign_of_single_numbers() -> None:
    generator = np.random.default_rng(0)
    A = generator.normal(size=(6, 6))
    sources = ["b", "a", "b", "c", "b", "a"]
    learned = LearnedMatrix(1, list("uvwxyz"), sources, ["a", "constant", "b", "c", "d"], A + A.T, None)
    learned.sources[:] = ["b", "a", "b", "c", "b", "d"]
    folded = feature_matrix.fold(learned)
    for i, one in enumerate(folded.names):
        for j, other in enumerate(folded.names):
            rows, columns = ([k for k, name in enumerate(learned.sources) if name == who] for who in (one, other))
            block = learned.M[np.ix_(rows, columns)]
            expected = block[0, 0] if block.size == 1 else np.linalg.norm(block)
            assert folded.M[i, j] == pytest.approx(expected, rel=1e-6)
