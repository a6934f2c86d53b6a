"""No route shows or changes what belongs to another project, or does what a key's scopes do not allow."""

import pytest
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from benchmarks.isolation import walk
from service.runtime.context import Context
from worker.contracts.keys import Scope
from worker.store import keys

MAKES_ITS_OWN = {"POST /v1/datasets": 201, "POST /v1/uploads": 201}
LISTS = {"GET /v1/datasets", "GET /v1/jobs", "GET /v1/models", "GET /v1/uploads"}
NAMES_A_DATASET = {"POST /v1/jobs", "POST /v1/batches"}
ASKS = {
    "POST /v1/models/{ref}/predict",
    "POST /v1/models/{ref}/explain",
    "POST /v2/models/{name}/infer",
    "POST /v2/models/{name}/versions/{version}/infer",
}
ABOUT_THE_SERVICE = {"GET /v2": 200, "GET /v2/health/live": 200, "GET /v2/health/ready": 503}
NOTHING_TO_SHOW = dict.fromkeys(
    (
        "GET /v1/jobs/{job_id}/result",
        "GET /v1/jobs/{job_id}/trials",
        "GET /v1/jobs/{job_id}/features",
        "GET /v1/jobs/{job_id}/features/matrix",
        "GET /v1/models/{ref}/leaves",
    ),
    409,
)


def test_every_route_keeps_projects_and_scopes_apart(client: TestClient, context: Context) -> None:
    for call, stranger, reader, nobody, wrong in walk(client, context.database):
        assert (nobody, wrong) == (401, 401), call
        method, _, path = str(call).partition(" ")
        if path == "/metrics":
            assert (stranger, reader) == (200, 403), "the stranger has the scope admin"
            continue
        if call in ABOUT_THE_SERVICE:
            assert stranger == reader == ABOUT_THE_SERVICE[str(call)], call
            continue
        if call in LISTS:
            expected = "empty"
        elif call in MAKES_ITS_OWN:
            expected = MAKES_ITS_OWN[call]
        else:
            expected = 422 if call in NAMES_A_DATASET else 404
        assert stranger == expected, call
        allowed = method == "GET" or call in ASKS
        assert reader == (NOTHING_TO_SHOW.get(str(call), 200) if allowed else 403), call


def test_a_service_is_open_until_a_key_is_made_and_never_again(
    client: TestClient, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.http.middleware.authentication.KEPT_SECONDS", 0.0)
    assert client.get("/v1/jobs").status_code == 200
    key, text = keys.create(context.database, project="lab", name="", scopes=[Scope.READ], now=context.now())
    assert client.get("/v1/jobs").status_code == 401
    bearer = {"Authorization": f"Bearer {text}"}
    assert client.get("/v1/jobs", headers=bearer).status_code == 200
    keys.revoke(context.database, key.id, context.now())
    assert client.get("/v1/jobs", headers=bearer).status_code == 401
    assert client.get("/v1/jobs").status_code == 401


def test_what_was_made_before_the_first_key_belongs_to_the_project_default(
    client: TestClient, context: Context, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.http.middleware.authentication.KEPT_SECONDS", 0.0)
    for project, status in (("default", 200), ("lab", 404)):
        _, text = keys.create(context.database, project=project, name="", scopes=[Scope.READ], now=context.now())
        answer = client.get(f"/v1/datasets/{dataset}", headers={"Authorization": f"Bearer {text}"})
        assert answer.status_code == status


def test_a_database_that_is_away_is_said_before_a_key_is_refused(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise OperationalError("SELECT", None, Exception("gone"))

    monkeypatch.setattr("service.http.middleware.authentication.keys.find", away)
    answer = client.get("/v1/jobs", headers={"Authorization": "Bearer key_x.y"})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
