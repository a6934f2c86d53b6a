import json
from dataclasses import replace

import pytest
from starlette.testclient import TestClient
from support.stored import at_once

from service.app import create_app
from service.jobs import submission
from worker.contracts.errors import QueueFull
from worker.contracts.requests import FitRequest
from worker.contracts.resources import Job
from worker.store import jobs


@pytest.fixture
def body(dataset):
    return {"kind": "fit", "dataset": dataset, "target": "price", "spec": {"iterations": 1}}


def _submit(client, body):
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def test_a_job_is_accepted_with_its_place_and_every_default_resolved(client, body):
    answer = client.post("/v1/jobs", json=body)
    job = answer.json()
    assert (answer.status_code, answer.headers["location"]) == (202, f"/v1/jobs/{job['id']}")
    assert (job["state"], job["attempt"], job["progress"]["stage"]) == ("queued", 0, "queued")
    assert job["request"]["task"] == "regression"
    assert job["request"]["features"] == ["size", "city"]
    spec = job["request"]["spec"]
    assert (spec["exponent"], spec["encoding"], spec["feature_matrix"]) == ("auto", "auto", "auto")
    assert spec["bandwidth_factor"] == 3
    assert job["estimate"]["bytes"] > 0


def test_a_dry_run_queues_nothing(client, body):
    answer = client.post("/v1/jobs?dry_run=true", json=body)
    assert answer.status_code == 200
    assert {"request", "encoded_columns", "estimate", "rows", "outputs"} <= set(answer.json())
    # size, its rank and eight bins, three cities and the bucket of other ones
    assert answer.json()["encoded_columns"] == 14
    plain = {**body, "spec": {**body["spec"], "encoding": "plain"}}
    assert client.post("/v1/jobs?dry_run=true", json=plain).json()["encoded_columns"] == 5
    assert client.get("/v1/jobs").json()["items"] == []


def test_a_dry_run_counts_the_last_solve_of_all_rows(client, body):
    def needed(**spec):
        own = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "exponent": 1, **spec}
        answer = client.post("/v1/jobs?dry_run=true", json={**body, "spec": own})
        return answer.json()["estimate"]

    with_refit, without = needed(ridge=0.1), needed(ridge=0.1, refit=False)
    assert with_refit["flops"] > without["flops"]
    assert with_refit["bytes"] > without["bytes"]


@pytest.mark.parametrize(
    ("change", "place", "words"),
    [
        ({"taget": "y"}, "/taget", "did you mean 'target'?"),
        ({"spec": {"kernal": "laplace"}}, "/spec/kernal", "did you mean 'kernel'?"),
        ({"kernel": "laplace"}, "/kernel", "it belongs in 'spec'"),
        ({"zzzzzz": 1}, "/zzzzzz", "there is no such field here"),
    ],
)
def test_a_field_that_is_none_is_answered_with_the_one_that_is_meant(client, body, change, place, words):
    answer = client.post("/v1/jobs", json={**body, **change})
    assert answer.status_code == 422
    told = {one["pointer"]: one["message"] for one in answer.json()["errors"]}
    assert words in told[place]
    assert f"mean {place.rpartition('/')[2]!r}" not in told[place]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_of_another_type_is_refused(client, body, kind):
    headers = {} if kind is None else {"Content-Type": kind}
    answer = client.post("/v1/jobs", content=json.dumps(body).encode(), headers=headers)
    assert answer.status_code == 415


@pytest.mark.parametrize("content", [b'{"a":' * 5000, b'{"kind": ' + b"9" * 5000 + b"}", b"\xff", b""])
def test_a_body_that_breaks_a_reader_is_refused(client, content):
    answer = client.post("/v1/jobs", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text


def test_waiting_ends_when_it_was_said_to(client, body):
    answer = client.post("/v1/jobs", json=body, headers={"Prefer": "respond-async, wait=1"})
    assert answer.headers["preference-applied"] == "wait=1"
    assert answer.json()["state"] == "queued"


def test_a_queued_job_is_cancelled_at_once_and_retried(client, body, run_job):
    job = _submit(client, body)
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 409
    answer = client.post(f"/v1/jobs/{job}/retry")
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    run_job(job)
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded"
    assert client.post(f"/v1/jobs/{job}/retry").status_code == 409


def test_only_an_ended_job_can_be_deleted_and_its_model_stays(client, body, run_job):
    job = _submit(client, {**body, "model": "stays"})
    assert client.delete(f"/v1/jobs/{job}").status_code == 409
    run_job(job)
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.get(f"/v1/jobs/{job}").status_code == 404
    assert client.get("/v1/models/stays").status_code == 200


def test_events_are_a_list_or_a_stream_that_ends(client, body, context):
    job = _submit(client, body)
    jobs.request_cancel(context.database, job, context.now())
    url = f"/v1/jobs/{job}/events"
    listed = client.get(url).json()
    assert [(one["seq"], one["data"]["state"]) for one in listed] == [(1, "queued"), (2, "cancelled")]
    assert [one["seq"] for one in client.get(url, headers={"Last-Event-ID": "1"}).json()] == [2]
    stream = client.get(url, headers={"Accept": "text/event-stream", "Last-Event-ID": "1"})
    assert stream.headers["content-type"].startswith("text/event-stream")
    assert "id: 2\nevent: state\ndata: {" in stream.text
    assert "id: 1\n" not in stream.text
    assert client.get(url, headers={"Accept": "text/html"}).status_code == 406
    for wrong in ("abc", "-1", "9" * 30):
        assert client.get(url, headers={"Last-Event-ID": wrong}).status_code == 422


def test_lists_are_filtered(client, body):
    named = _submit(client, {**body, "model": "one"})
    other = _submit(client, body)
    client.post(f"/v1/jobs/{other}/cancel")

    def ids(query):
        return [job["id"] for job in client.get(f"/v1/jobs?{query}").json()["items"]]

    assert ids("") == [other, named]
    assert ids("state=queued") == [named]
    assert ids("model=one") == [named]
    assert ids("kind=predict") == []
    assert client.get("/v1/jobs?state=asleep").status_code == 422


def test_a_predict_job_has_a_file_and_a_fit_has_none(client, model, dataset, run_job):
    assert client.get(f"/v1/jobs/{model['job']}/result").status_code == 409
    job = _submit(client, {"kind": "predict", "model": "prices@1", "dataset": dataset, "format": "csv"})
    assert client.get(f"/v1/jobs/{job}/result").status_code == 409
    run_job(job)
    result = client.get(f"/v1/jobs/{job}/result")
    assert result.headers["content-type"].startswith("text/csv")
    assert len(result.text.splitlines()) == 41
    assert client.get(f"/v1/jobs/{job}/result", headers={"If-None-Match": result.headers["etag"]}).status_code == 304


def test_a_predict_job_needs_its_model_and_columns(client, model, dataset):
    unknown = client.post("/v1/jobs", json={"kind": "predict", "model": "nobody", "dataset": dataset})
    assert (unknown.status_code, unknown.json()["errors"][0]["pointer"]) == (422, "/model")
    other = client.post("/v1/datasets", content=b"size\n1\n", headers={"Content-Type": "text/csv"}).json()["id"]
    lacking = client.post("/v1/jobs", json={"kind": "predict", "model": "prices", "dataset": other})
    assert (lacking.status_code, lacking.json()["code"]) == (422, "column_mismatch")
    assert "city" in lacking.json()["detail"]


@pytest.mark.parametrize("limit", ["max_queued_jobs", "max_queued_jobs_per_project"])
def test_a_full_queue_asks_to_come_back_and_keeps_nothing(settings, limit):
    with TestClient(create_app(settings.model_copy(update={limit: 2}))) as client:
        uploaded = client.post(
            "/v1/datasets", content="a,y\n1,2\n2,3\n3,5\n4,4\n", headers={"Content-Type": "text/csv"}
        )
        body = {"kind": "fit", "dataset": uploaded.json()["id"], "target": "y"}
        assert client.post("/v1/batches", json=[body] * 3).status_code == 429
        first = client.post("/v1/jobs", json=body).json()["id"]
        assert client.post("/v1/jobs", json=body).status_code == 202
        answer = client.post("/v1/jobs", json=body)
        assert (answer.status_code, answer.json()["code"]) == (429, "queue_full")
        assert answer.headers["retry-after"]
        assert len(client.get("/v1/jobs").json()["items"]) == 2
        client.post(f"/v1/jobs/{first}/cancel")
        assert client.post(f"/v1/jobs/{first}/retry").status_code == 202
        assert client.post("/v1/jobs", json=body).status_code == 429


def test_requests_that_come_at_once_do_not_share_the_last_place(context, client, dataset):
    limited = replace(context, settings=context.settings.model_copy(update={"max_queued_jobs": 5}))
    request = FitRequest(dataset=dataset, target="price")

    def submit():
        return submission.submit(limited, request)

    outcomes = at_once([submit] * 12)
    assert sum(isinstance(outcome, Job) for outcome in outcomes) == 5
    assert sum(isinstance(outcome, QueueFull) for outcome in outcomes) == 7


@pytest.mark.parametrize(
    ("content", "kind", "count"),
    [
        (lambda one: json.dumps([one, one]), "application/json", 2),
        (lambda one: f"{json.dumps(one)}\n\n{json.dumps(one)}\n", "application/jsonl", 2),
        (lambda one: json.dumps({"base": one, "grid": {"spec.ridge": [0.1, 1], "spec.scale": ["max"]}}),
         "application/json", 2),
    ],
)  # fmt: skip
def test_every_form_of_a_batch_is_taken(client, body, content, kind, count):
    answer = client.post("/v1/batches", content=content(body), headers={"Content-Type": kind})
    assert answer.status_code == 202, answer.text
    batch = answer.json()
    assert answer.headers["location"] == f"/v1/batches/{batch['id']}"
    assert (batch["total"], batch["counts"]["queued"], len(batch["jobs"])) == (count, count, count)
    cancelled = client.post(f"/v1/batches/{batch['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()["counts"]["cancelled"]) == (202, count)


@pytest.mark.parametrize(
    ("change", "pointer"),
    [({"target": "nothing"}, "/1/target"), ({"spec": {"ridge": -1}}, "/1/spec/ridge"), ({"kind": "bake"}, "/1")],
)
def test_a_batch_with_one_wrong_job_is_refused_whole(client, body, change, pointer):
    answer = client.post("/v1/batches", json=[body, {**body, **change}])
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith(pointer)
    assert client.get("/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(
    "content",
    ["[]", "3", "{", "", '{"base": {}, "grid": {}}', '{"base": {}, "grid": {"a": []}}',
     '{"base": {"target": "y"}, "grid": {"target.x": [1]}}'],
)  # fmt: skip
def test_what_is_no_batch_is_refused(client, content):
    answer = client.post("/v1/batches", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("call", ["cancel", "retry"])
def test_an_id_in_any_script_is_not_there(client, call):
    assert client.post(f"/v1/jobs/работа/{call}").status_code == 404


STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
def ended(client, dataset):
    """A cancelled job's events."""
    job = client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "price"}).json()["id"]
    assert client.post(f"/v1/jobs/{job}/cancel").json()["state"] == "cancelled"
    return f"/v1/jobs/{job}/events"


@pytest.mark.parametrize("further", [0, 1, 90])
def test_a_stream_behind_the_end_is_nothing_so_that_browsers_do_not_come_back(client, ended, further):
    last = client.get(ended).json()[-1]["seq"]
    answer = client.get(ended, headers={**STREAM, "Last-Event-ID": str(last + further)})
    assert (answer.status_code, answer.content) == (204, b"")
    assert client.get(ended, headers={"Last-Event-ID": str(last + further)}).json() == []


@pytest.mark.parametrize("headers", [{}, {"Last-Event-ID": ""}, {"Last-Event-ID": "0"}])
def test_a_stream_without_a_last_event_begins_at_the_first(client, ended, headers):
    events = client.get(ended, headers=headers).json()
    answer = client.get(ended, headers={**STREAM, **headers})
    assert answer.status_code == 200
    assert answer.text.count("\nid: ") + answer.text.startswith("id: ") == len(events) > 0


@pytest.mark.parametrize("given", ["a", "-1", "+1", "1.0", "1_0", "0x1", "1 2", "9" * 11, "4294967296", "null", "é"])
@pytest.mark.parametrize("accept", [{}, STREAM])
def test_a_last_event_that_is_none_is_named_as_wrong(client, ended, accept, given):
    answer = client.get(ended, headers={**accept, "Last-Event-ID": given.encode()})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "header:last-event-id"
