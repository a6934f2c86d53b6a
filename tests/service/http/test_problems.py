import pytest
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from service.http.problems import status_of
from worker.contracts import errors

FIELDS = {"type", "title", "status", "detail", "instance", "code", "error"}


def _assert_problem(answer, status, code):
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert set(body) >= FIELDS
    assert (body["status"], body["code"], body["error"]) == (status, code, body["detail"])
    return body


def test_an_unknown_path_and_a_wrong_method_are_problems(client):
    _assert_problem(client.get("/v1/nothing"), 404, "not_found")
    _assert_problem(client.put("/v1/jobs"), 405, "method_not_allowed")


@pytest.mark.parametrize(
    ("path", "methods"),
    [("/v1/jobs", "GET, HEAD, POST"), ("/v1/models/a", "DELETE, GET, HEAD, PATCH"), ("/livez", "GET, HEAD")],
)
def test_a_wrong_method_is_told_every_right_one(client, path, methods):
    assert client.put(path).headers["allow"] == methods


def test_a_wrong_field_has_a_json_pointer_and_says_what_would_be_right(client):
    body = {"kind": "fit", "dataset": "ds_" + "0" * 26, "target": "y", "spec": {"ridge": -1, "layers": 3}}
    problem = _assert_problem(client.post("/v1/jobs", json=body), 422, "invalid_request")
    pointers = {one["pointer"] for one in problem["errors"]}
    assert any(pointer.startswith("/spec/ridge") for pointer in pointers)
    assert "/spec/layers" in pointers


def test_a_body_that_is_no_json_says_so(client):
    answer = client.post("/v1/jobs", content=b"{'a'", headers={"Content-Type": "application/json"})
    assert "not JSON" in _assert_problem(answer, 422, "invalid_request")["detail"]


def test_an_unexpected_error_shows_no_trace(client):
    @client.app.get("/boom")
    def boom():
        raise RuntimeError("a secret detail")

    answer = client.get("/boom")
    _assert_problem(answer, 500, "internal")
    assert "secret" not in answer.text


def test_a_database_out_of_reach_asks_to_come_back(client):
    @client.app.get("/away")
    def away():
        raise OperationalError("SELECT", {}, Exception("gone"))

    answer = client.get("/away")
    _assert_problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ColumnMismatch, 422),
        (errors.RequestInFlight, 409),
        (errors.QueueFull, 429),
        (errors.ArtifactCorrupt, 500),
        (errors.LeaseLost, 500),
    ],
)
def test_an_error_answers_as_its_nearest_listed_base(error, status):
    assert status_of(error("x")) == status


def test_every_documented_error_is_a_problem_document(client: TestClient):
    document = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path != "/readyz":
                    assert list(response["content"]) == ["application/problem+json"], (path, status)


CONTRACT = {
    "post /v1/datasets", "get /v1/datasets", "get /v1/datasets/{dataset_id}", "get /v1/datasets/{dataset_id}/rows",
    "get /v1/datasets/{dataset_id}/columns/{column}/histogram", "get /v1/datasets/{dataset_id}/content",
    "delete /v1/datasets/{dataset_id}",
    "post /v1/uploads", "get /v1/uploads", "get /v1/uploads/{upload_id}", "delete /v1/uploads/{upload_id}",
    "put /v1/uploads/{upload_id}/parts/{number}", "post /v1/uploads/{upload_id}/complete",
    "post /v1/jobs", "get /v1/jobs", "get /v1/jobs/{job_id}", "get /v1/jobs/{job_id}/events",
    "get /v1/jobs/{job_id}/features", "get /v1/jobs/{job_id}/features/matrix",
    "post /v1/jobs/{job_id}/cancel", "post /v1/jobs/{job_id}/retry", "get /v1/jobs/{job_id}/result",
    "get /v1/jobs/{job_id}/trials", "get /v1/jobs/{job_id}/parts",
    "delete /v1/jobs/{job_id}", "post /v1/batches", "get /v1/batches/{batch_id}", "post /v1/batches/{batch_id}/cancel",
    "get /v1/models", "get /v1/models/{ref}", "delete /v1/models/{ref}", "post /v1/models/{ref}/predict",
    "post /v1/models/{ref}/explain",
    "get /v1/models/{ref}/features", "get /v1/models/{ref}/features/matrix", "get /v1/models/{ref}/features/history",
    "get /v1/models/{ref}/export", "get /v1/models/{ref}/card", "patch /v1/models/{ref}",
    "get /v1/models/{ref}/compare", "get /v1/models/{ref}/leaves", "get /livez", "get /readyz", "get /metrics",
    "get /v2", "get /v2/health/live", "get /v2/health/ready", "get /v2/models/{name}", "get /v2/models/{name}/ready",
    "post /v2/models/{name}/infer", "get /v2/models/{name}/versions/{version}",
    "get /v2/models/{name}/versions/{version}/ready", "post /v2/models/{name}/versions/{version}/infer",
}  # fmt: skip


def test_the_document_has_every_call_of_the_contract_and_no_other(client: TestClient):
    paths = client.get("/openapi.json").json()["paths"]
    assert {f"{method} {path}" for path, operations in paths.items() for method in operations} == CONTRACT
