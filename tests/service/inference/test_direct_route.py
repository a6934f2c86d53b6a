"""The shorter way answers as the framework's own does."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from service.app import create_app
from worker.telemetry.tracing import Tracing

ROW = {"rows": [{"size": 2.0, "city": "Rome"}]}


def test_both_ways_answer_alike(client, model):
    short = client.post("/v1/models/prices/predict", json=ROW)
    framework = client.post("/v1/models/prices/predict?spreadsheet=false", json=ROW)
    assert (short.status_code, short.json()) == (framework.status_code, framework.json()) == (200, short.json())


@pytest.mark.parametrize("query", ["", "?spreadsheet=true"])
@pytest.mark.parametrize(("name", "status"), [("none", 404), ("a" * 201, 422), ("prices@0", 404)])
def test_what_names_no_model_is_refused_on_both_ways(client, model, query, name, status):
    refused = client.post(f"/v1/models/{name}/predict{query}", json=ROW)
    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_wrong_query_is_refused(client, model):
    refused = client.post("/v1/models/prices/predict?spreadsheet=perhaps", json=ROW)
    assert refused.status_code == 422
    assert "spreadsheet" in refused.text


@pytest.mark.parametrize("query", ["", "?spreadsheet=false"])
@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError("the secret"), 500, "internal"),
        (OperationalError("SELECT", {}, OSError("gone")), 503, "unavailable"),
    ],
)
def test_what_goes_wrong_is_answered_and_logged_alike(client, context, model, monkeypatch, query, error, status, code):
    async def fail(*_):
        raise error

    monkeypatch.setattr(context.predictor, "answer", fail)
    with capture_logs(processors=[merge_contextvars]) as lines:
        refused = client.post(f"/v1/models/prices/predict{query}", json=ROW, headers={"X-Request-ID": "mine"})
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert "secret" not in refused.text
    assert refused.headers["x-request-id"] == "mine"
    assert {line["request_id"] for line in lines} == {"mine"}
    assert [line["status"] for line in lines if line["event"] == "request"] == [status]


def test_both_ways_are_counted_under_the_same_route(client, model):
    def counted():
        name = 'factrfm_http_requests_total{method="POST",route="/v1/models/{ref}/predict",status="200"} '
        lines = client.get("/metrics").text.splitlines()
        return next((float(line.removeprefix(name)) for line in lines if line.startswith(name)), 0.0)

    before = counted()
    for query in ("", "?spreadsheet=false"):
        assert client.post(f"/v1/models/prices/predict{query}", json=ROW).status_code == 200
    assert counted() == before + 2


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_methods_are_refused(client, model, method):
    assert client.request(method, "/v1/models/prices/predict").status_code == 405


@pytest.mark.parametrize(("length", "status"), [("-1", 422), ("1" * 12, 422), ("one", 422), ("9", 422)])
def test_a_length_that_is_none_is_refused(client, model, length, status):
    asked = {"inputs": [{"name": "rows", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]}
    header = {"Inference-Header-Content-Length": length}
    assert client.post("/v2/models/prices/infer", json=asked, headers=header).status_code == status


def test_spans_are_of_every_request_while_they_are_recorded(settings):
    kept = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with TestClient(create_app(settings, tracing=Tracing(provider))) as client:
        answer = client.post("/v1/models/none/predict", json=ROW)
    assert answer.status_code == 404
    assert [span.name for span in kept.get_finished_spans()] == ["POST /v1/models/{ref}/predict"]
