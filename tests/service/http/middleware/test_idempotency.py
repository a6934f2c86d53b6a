import asyncio
import json
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from starlette.responses import Response

from service.http.middleware.idempotency import Idempotency
from service.jobs import submission
from service.runtime.context import Context
from worker.store import idempotency
from worker.store.schema.tables import IdempotencyRow

KEY = {"Idempotency-Key": "k-1"}


@pytest.fixture
def body(dataset):
    return {"kind": "fit", "dataset": dataset, "target": "price"}


def test_the_same_request_again_gets_the_same_answer_and_makes_nothing(client, body):
    first = client.post("/v1/jobs", json=body, headers=KEY)
    again = client.post("/v1/jobs", json=body, headers=KEY)
    assert first.status_code == again.status_code == 202
    assert first.json()["id"] == again.json()["id"]
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert len(client.get("/v1/jobs").json()["items"]) == 1


def test_another_body_with_the_same_key_is_refused(client, body):
    client.post("/v1/jobs", json=body, headers=KEY)
    answer = client.post("/v1/jobs", json={**body, "target": "size"}, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_key_reused")


def test_a_refusal_is_repeated_too(client, body):
    wrong = {**body, "target": "nothing"}
    assert client.post("/v1/jobs", json=wrong, headers=KEY).status_code == 422
    assert client.post("/v1/jobs", json=wrong, headers=KEY).headers["idempotency-replayed"] == "true"


def _is_replayed(client, path, **sent):
    answers = [client.post(path, **sent) for _ in range(2)]
    assert answers[0].status_code == answers[1].status_code
    assert "idempotency-replayed" not in answers[0].headers
    return "idempotency-replayed" in answers[1].headers


@pytest.mark.parametrize("body", [{"kind": "none"}, {"kind": "fit"}, {"kind": "fit", "dataset": "x", "target": "y"}])
def test_a_body_that_is_wrong_at_any_time_is_not_judged_twice(client, body):
    assert _is_replayed(client, "/v1/jobs", json=body, headers=KEY)


def test_a_form_that_is_wrong_at_any_time_is_not_judged_twice(client):
    assert _is_replayed(client, "/v1/datasets", content=b"a", headers={**KEY, "Content-Type": "text/plain"})


NOWHERE = "ds_01jd0000000000000000000000"
HELD_OUT = {"kind": "fit", "target": "price", "validation": {"dataset": NOWHERE}}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/jobs", {"kind": "fit", "dataset": NOWHERE, "target": "price"}, 422),
        ("/v1/jobs", {"kind": "predict", "model": "none", "dataset": NOWHERE}, 422),
        ("/v1/jobs", {**HELD_OUT, "dataset": "{dataset}"}, 422),
        ("/v1/batches", [{"kind": "fit", "dataset": NOWHERE, "target": "price"}], 422),
        ("/v1/batches", {"base": {"kind": "fit", "target": "price"}, "grid": {"dataset": [NOWHERE]}}, 422),
        ("/v1/jobs/job_none/cancel", None, 404),
        ("/v1/jobs/job_none/retry", None, 404),
        ("/v1/models/none/predict", {"rows": [{"size": 1}]}, 404),
        ("/v2/models/none/infer", {"inputs": []}, 404),
        ("/v1/nothing", {}, 404),
        ("/livez", {}, 405),
    ],
)
def test_a_refusal_for_something_that_is_missing_is_not_kept(client, dataset, path, body, status):
    content = json.dumps(body).replace("{dataset}", dataset)
    headers = {**KEY, "Content-Type": "application/json"}
    assert client.post(path, content=content, headers=headers).status_code == status
    assert not _is_replayed(client, path, content=content, headers=headers)


def test_what_was_missing_is_found_at_the_next_try(client, model):
    rows = {"rows": [{"size": 1, "city": "Bern"}]}
    assert client.post("/v1/models/later/predict", json=rows, headers=KEY).status_code == 404
    assert client.post("/v1/models/prices/predict", json={"rows": [{"size": 1}]}, headers=KEY).status_code == 422
    assert client.post("/v1/models/prices/predict", json=rows, headers=KEY).status_code == 200
    job = model["job"]
    assert client.post(f"/v1/jobs/{job}/retry", headers={"Idempotency-Key": "k-3"}).status_code == 409
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.post(f"/v1/jobs/{job}/retry", headers={"Idempotency-Key": "k-3"}).status_code == 404


def test_a_table_that_could_not_be_read_is_read_again(client):
    assert not _is_replayed(
        client, "/v1/datasets", content=b"PAR1", headers={**KEY, "Content-Type": "application/vnd.apache.parquet"}
    )


def test_a_request_in_flight_asks_to_come_back(client, context: Context, body, monkeypatch):
    started = idempotency.begin(context.database, "k-1", "x", context.now())
    assert isinstance(started, idempotency.Started)
    with context.database.transaction() as session:
        session.connection().exec_driver_sql("UPDATE idempotency_keys SET fingerprint = 'any'")
    monkeypatch.setattr("service.http.middleware.idempotency._spool", _fingerprint_any)
    answer = client.post("/v1/jobs", json=body, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (409, "request_in_flight")
    assert answer.headers["retry-after"]


async def _fingerprint_any(scope, receive, body):
    return "any"


def test_the_answer_is_stored_with_the_job_so_that_a_crash_between_cannot_double_it(client, body, monkeypatch):
    # the process dies after the commit and before it could answer: nothing after the insert runs
    monkeypatch.setattr("service.jobs.submission._send", _die)
    assert client.post("/v1/jobs", json=body, headers=KEY).status_code == 500
    monkeypatch.undo()
    again = client.post("/v1/jobs", json=body, headers=KEY)
    assert again.status_code == 202
    assert len(client.get("/v1/jobs").json()["items"]) == 1


def _die(context, job_ids):
    raise RuntimeError("the process dies here")


def test_uploads_and_batches_are_covered(client, body):
    batch = [body, {**body, "spec": {"iterations": 1}}]
    first, again = (client.post("/v1/batches", json=batch, headers=KEY) for _ in range(2))
    assert first.json() == again.json()
    upload = {"content": b"a,b\n1,2\n", "headers": {"Content-Type": "text/csv", "Idempotency-Key": "k-2"}}
    first, again = (client.post("/v1/datasets", **upload) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()


@pytest.mark.parametrize("key", ["", "k" * 300])
def test_a_key_without_sense_is_refused(client, body, key):
    assert client.post("/v1/jobs", json=body, headers={"Idempotency-Key": key}).status_code == 422


def _away(*_):
    raise OperationalError("COMMIT", None, Exception("database or disk is full"))


def test_a_database_that_is_away_before_the_request_begins_is_said(client, body, monkeypatch):
    monkeypatch.setattr("service.http.middleware.idempotency.idempotency.begin", _away)
    answer = client.post("/v1/jobs", json=body, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    monkeypatch.undo()
    assert client.post("/v1/jobs", json=body, headers=KEY).status_code == 202


def test_a_database_that_goes_away_after_the_answer_changes_none(client, monkeypatch):
    monkeypatch.setattr("service.http.middleware.idempotency.idempotency.finish", _away)
    csv = {"content": b"a,b\n1,2\n3,4\n", "headers": {**KEY, "Content-Type": "text/csv"}}
    assert client.post("/v1/datasets", **csv).status_code == 201
    monkeypatch.setattr("service.http.middleware.idempotency.idempotency.abandon", _away)
    assert client.post("/v1/jobs", json={"wrong": 1}, headers={"Idempotency-Key": "k-2"}).status_code == 422


def test_a_request_that_lost_its_key_while_its_process_slept_makes_nothing(client, body, monkeypatch):
    insert = submission.jobs.insert_job

    def sleep_first(*arguments, **values):
        # the client's next try came to another process meanwhile, and found this one dead
        monkeypatch.undo()
        arguments[0].execute(text("UPDATE idempotency_keys SET token = 'of the other'"))
        insert(*arguments, **values)

    monkeypatch.setattr("service.jobs.submission.jobs.insert_job", sleep_first)
    answer = client.post("/v1/jobs", json=body, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (409, "request_in_flight")
    assert client.get("/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(("status", "kept"), [(200, True), (202, True), (422, True), (404, False), (503, False)])
def test_a_key_is_settled_before_the_answer_ends(context: Context, status, kept):
    """A caller who has the whole answer may send the same again at once, and is never told that the first one runs."""
    settled = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        if message["type"] == "http.response.body" and not message.get("more_body"):
            with context.database.transaction() as session:
                settled.extend(session.scalars(select(IdempotencyRow.status)))

    app = Idempotency(Response(b"answered", status), lambda request: context.database, lambda: datetime.now(UTC))
    scope = {"type": "http", "method": "POST", "path": "/v1/x", "headers": [(b"idempotency-key", b"k")]}
    asyncio.run(app(scope, receive, send))
    assert settled == ([status] if kept else [])
