"""A body with very many mistakes costs little: it is refused early, shortly, and not place by place."""

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from service.inference.open_inference.codec import decode
from worker.contracts.errors import InvalidRequest

FIT = {"kind": "fit", "dataset": "ds_01jd0000000000000000000000", "target": "price"}
FIELDS = {f"c{index}": 1 for index in range(5_000)}


def _sent(client: TestClient, method: str, path: str, body: Any) -> tuple[int, dict[str, Any], int]:
    answer = client.request(method, path, content=json.dumps(body), headers={"Content-Type": "application/json"})
    return answer.status_code, answer.json(), len(answer.content)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/jobs", {**FIT, **FIELDS}),
        ("POST", "/v1/jobs", {**FIT, "spec": FIELDS}),
        ("POST", "/v1/jobs", {**FIT, "features": [1] * 5_000}),
        ("POST", "/v1/jobs", {**FIT, "exclude": [1] * 25_000}),
        ("POST", "/v1/jobs", {**FIT, "kind": "tune", "search": {"space": {f"o{index}": 1 for index in range(5_000)}}}),
        ("PATCH", "/v1/models/any", FIELDS),
        ("POST", "/v1/batches", [{**FIT, **{name: 1}} for name in list(FIELDS)[:900]]),
        ("POST", "/v1/batches", {"base": FIT, "grid": {name: [1] for name in FIELDS}}),
    ],
)
def test_the_answer_names_a_few_of_them(client: TestClient, method: str, path: str, body: Any) -> None:
    status, problem, length = _sent(client, method, path, body)
    assert status == 422
    assert 1 <= len(problem["errors"]) <= 20
    assert length < 10_000


def test_a_description_of_one_job_may_not_be_as_long_as_rows(client: TestClient) -> None:
    status, problem, _ = _sent(client, "POST", "/v1/jobs", {**FIT, "exclude": ["x" * 2**20]})
    assert (status, problem["code"]) == (413, "body_too_large")


def test_jobs_of_a_batch_are_counted_before_they_are_read(client: TestClient) -> None:
    status, problem, _ = _sent(client, "POST", "/v1/batches", [{}] * 20_000)
    assert status == 422
    assert "1 to 1000 jobs, this one 20000" in problem["detail"]


def test_more_tensors_than_a_table_has_columns_are_refused() -> None:
    one = {"shape": [0], "datatype": "BOOL", "data": []}
    body = {"inputs": [{"name": f"x{index}", **one} for index in range(20_001)]}
    with pytest.raises(InvalidRequest, match="at most 20000"):
        decode(json.dumps(body).encode(), None)


@pytest.mark.parametrize("version", [0, 2**31, 2**63, 10**400])
def test_a_version_that_no_model_can_have_is_refused(client: TestClient, model: dict[str, Any], version: int) -> None:
    assert _sent(client, "PATCH", "/v1/models/prices", {"default_version": version})[0] == 422


@pytest.mark.parametrize("place", ["id", "name"])
def test_half_a_character_in_a_request_for_inference_is_refused(
    client: TestClient, model: dict[str, Any], place: str
) -> None:
    tensors = [
        {"name": "size", "shape": [1], "datatype": "FP64", "data": [1.0]},
        {"name": "city", "shape": [1], "datatype": "BYTES", "data": ["Bern"]},
    ]
    more = {"name": "\ud800a", "shape": [1], "datatype": "FP64", "data": [1.0]}
    body = {"inputs": tensors, "id": "\ud800"} if place == "id" else {"inputs": [*tensors, more]}
    status, problem, _ = _sent(client, "POST", "/v2/models/prices/infer", body)
    assert status == 422
    assert "half a character" in problem["detail"]


def test_a_model_is_not_named_like_an_id(client: TestClient, dataset: str) -> None:
    status, problem, _ = _sent(client, "POST", "/v1/jobs", {**FIT, "dataset": dataset, "model": "mdl_mine"})
    assert status == 422
    assert "would look like a model's id" in problem["detail"]
