"""What Prometheus is told: by route, of every job, of models and predictions, and also without the database."""

from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs
from support.clock import Clock
from support.stored import fit_done, queue_fit

from service.upkeep.reconciler import Reconciler
from worker.contracts.resources import JobError
from worker.store import jobs
from worker.store.jobs.tallies import tallies


def scrape(client, **headers):
    answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.text
    families = text_string_to_metric_families(answer.text)
    return {(one.name, *sorted(one.labels.values())): one.value for family in families for one in family.samples}


def rise(before, after, *key):
    return after.get(key, 0) - before.get(key, 0)


def test_paths_and_methods_that_a_caller_makes_up_share_one_label(client):
    for number in range(3):
        client.get(f"/nowhere/{number}")
        client.request(f"MADE{number}", "/livez")
    text = client.get("/metrics").text
    assert "nowhere" not in text
    assert "MADE" not in text
    assert 'factrfm_http_requests_total{method="other",route="/livez",status="405"}' in text
    assert 'factrfm_http_requests_total{method="GET",route="other",status="404"}' in text


def test_an_answer_that_the_caller_asked_to_wait_for_is_counted_and_not_timed(client, dataset):
    before = scrape(client)
    body = {"kind": "fit", "dataset": dataset, "target": "price"}
    client.post("/v1/jobs", json=body, headers={"Prefer": "wait=0"})
    client.post("/v1/jobs", json=body)
    after = scrape(client)
    assert rise(before, after, "factrfm_http_requests_total", "/v1/jobs", "202", "POST") == 2
    assert rise(before, after, "factrfm_http_request_seconds_count", "/v1/jobs", "POST") == 1


def test_an_error_that_nobody_foresaw_is_counted_and_logged_with_its_id_and_tells_nothing(client, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr(jobs, "list_page", fail)
    before = scrape(client)
    with capture_logs(processors=[merge_contextvars]) as lines:
        answer = client.get("/v1/jobs", headers={"X-Request-ID": "mine"})
    assert [line["request_id"] for line in lines if line["event"] == "unexpected error"] == ["mine"]
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert answer.headers["x-request-id"] == "mine"
    assert "secret of the house" not in answer.text
    assert rise(before, scrape(client), "factrfm_http_requests_total", "/v1/jobs", "500", "GET") == 1


def test_jobs_are_counted_timed_and_aged_by_their_rows(database):
    clock = Clock()
    queue_fit(database, clock(), sha256="b" * 64)
    ends = [queue_fit(database, clock.pass_seconds(1)) for _ in range(2)]
    for job, seconds in zip(ends, (3, 5), strict=True):
        claim = jobs.claim(database, job, "worker", 30, clock())
        clock.pass_seconds(seconds)
        if seconds == 3:
            jobs.succeed_fit(database, job, claim.token, fit_done(), clock())
        else:
            jobs.fail(database, job, claim.token, JobError(type="x", detail="y"), clock())
    found = {one.state: one for one in tallies(database)}
    assert {state: (one.jobs, one.timed) for state, one in found.items()} == {
        "queued": (1, 0),
        "succeeded": (1, 1),
        "failed": (1, 1),
    }
    assert found["succeeded"].seconds == pytest.approx(3, abs=0.01)
    assert found["failed"].seconds == pytest.approx(5, abs=0.01)
    assert found["queued"].oldest_queued_at == clock() - timedelta(seconds=10)


def test_the_queue_is_told_with_its_zeros(client, dataset):
    assert scrape(client)["factrfm_oldest_queued_job_seconds",] == 0
    client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "price"})
    told = scrape(client)
    assert told["factrfm_jobs", "fit", "queued"] == 1
    assert told["factrfm_jobs", "fit", "running"] == told["factrfm_jobs", "queued", "tune"] == 0
    assert 0 < told["factrfm_oldest_queued_job_seconds",] < 60
    assert told["factrfm_disk_free_bytes", "home"] > 0


def test_predictions_and_the_models_in_memory_are_told(client, model):
    before = scrape(client)
    rows = {"rows": [{"size": 1, "city": "Bern"}] * 7}
    for _ in range(3):
        assert client.post("/v1/models/prices/predict", json=rows).status_code == 200
    after = scrape(client)
    assert rise(before, after, "factrfm_prediction_rows_total") == 21
    assert rise(before, after, "factrfm_prediction_seconds_count") == 3
    assert rise(before, after, "factrfm_model_cache_requests_total", "hit") == 2
    assert rise(before, after, "factrfm_model_cache_requests_total", "miss") == 1
    assert rise(before, after, "factrfm_model_load_seconds_count") == 1
    assert after["factrfm_model_cache_models",] == 1
    assert after["factrfm_model_cache_bytes",] > 0
    assert after["factrfm_predictions_under_way",] == 0


def test_the_reconciler_tells_what_it_did_and_when(client, context, dataset):
    client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "price"})
    before = scrape(client)
    Reconciler(context).look()
    after = scrape(client)
    assert (
        after["factrfm_reconciler_looked_timestamp_seconds",] > before["factrfm_reconciler_looked_timestamp_seconds",]
    )


def test_without_the_database_the_rest_is_told(client, context, settings):
    scrape(client)
    context.database.dispose()
    file = settings.home / "factrfm.db"
    for path in settings.home.glob("factrfm.db*"):
        path.rename(settings.home / f"away-{path.name}")
    file.mkdir()
    told = scrape(client)
    assert told["factrfm_database_up",] == 0
    assert ("factrfm_model_cache_models",) in told
    assert not any(key[0] == "factrfm_jobs" for key in told)
    assert client.get("/v1/jobs").status_code == 503
