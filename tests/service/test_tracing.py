"""What a request is called, from its answer to the log and the trace of the training that it started."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy import text
from support.processes import System, free_port, valkey, wait_until

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


class Collector(ThreadingHTTPServer):
    """Takes spans on loopback, as an OpenTelemetry collector does."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Spans)
        self.spans: list[tuple[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def named(self, name: str) -> list[tuple[str, Any]]:
        return [(service, span) for service, span in self.spans if span.name == name]


class _Spans(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            found = [span for scope in resource.scope_spans for span in scope.spans]
            self.server.spans += [(names["service.name"], span) for span in found]
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def test_one_id_and_one_trace_lead_from_the_request_to_the_training(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    (tmp_path / "q").mkdir()
    with valkey(tmp_path / "q") as address:
        port = free_port()
        system = System(tmp_path / "home", address, metrics_port=str(port))
        try:
            system.start_api()
            worker = system.start_worker()
            X = np.random.default_rng(0).normal(size=(40, 3))
            body = {"kind": "fit", "dataset": system.upload(X, X[:, 0]), "target": "y", "spec": {"iterations": 1}}
            headers = {"X-Request-ID": "from-the-caller", "traceparent": TRACEPARENT}
            job = system.client.post("/v1/jobs", json=body, headers=headers).json()["id"]
            assert system.wait(job)["state"] == "succeeded"
            told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            wait_until(lambda: bool(collector.named("attempt") and collector.named("run fit")), 20, "spans arrive")
            wait_until(lambda: bool(collector.named("POST /v1/jobs")), 20, "the request's span arrives")
        finally:
            system.stop()
    _is_one_trace(collector, job)
    assert 'factrfm_attempts_total{kind="fit",outcome="succeeded"} 1.0' in told
    assert float(re.findall(r"^factrfm_training_process_resident_bytes (\S+)$", told, re.MULTILINE)[0]) > 2**20
    assert system.api is not None
    requests = [line for line in _lines(system.api.log) if line.get("path") == "/v1/jobs"]
    assert [(line["request_id"], line["trace_id"]) for line in requests] == [("from-the-caller", TRACE_ID)]
    assert [line["request_id"] for line in _lines(system.api.log) if line.get("job_id") == job] == ["from-the-caller"]
    lines = {line["event"]: line for line in _lines(worker.log) if line.get("job_id") == job}
    assert {"job claimed", "attempt ended", "run begins", "run ends"} <= set(lines)
    names = {"request_id": "from-the-caller", "attempt": 1, "project": "default", "trace_id": TRACE_ID}
    for line in lines.values():
        assert names.items() <= line.items()


def _is_one_trace(collector: Collector, job: str) -> None:
    [(api, request)] = collector.named("POST /v1/jobs")
    [(worker, attempt)] = collector.named("attempt")
    [(training, run)] = collector.named("run fit")
    assert (api, worker, training) == ("factrfm-api", "factrfm-worker", "factrfm-training")
    assert {span.trace_id.hex() for span in (request, attempt, run)} == {TRACE_ID}
    assert request.parent_span_id.hex() == TRACEPARENT.split("-")[2]
    assert (attempt.parent_span_id, run.parent_span_id) == (request.span_id, attempt.span_id)
    attributes = {one.key: one.value.string_value for one in attempt.attributes}
    assert attributes["job_id"] == job
    assert attributes["factrfm.outcome"] == "succeeded"


def test_a_traceparent_that_is_none_goes_no_further(client, context, dataset) -> None:
    wrong = ["", "nonsense", f"00-{'0' * 32}-{'1' * 16}-01", f"{TRACEPARENT}\x20more"]
    for header in [*wrong, TRACEPARENT]:
        body = {"kind": "fit", "dataset": dataset, "target": "price"}
        assert client.post("/v1/jobs", json=body, headers={"traceparent": header}).status_code == 202
    with context.database.reading() as session:
        found = [row for (row,) in session.execute(text("SELECT traceparent FROM jobs ORDER BY id"))]
    assert found == [None] * len(wrong) + [TRACEPARENT]


def test_a_retry_is_named_after_the_request_that_asked_for_it(client, context, dataset) -> None:
    body = {"kind": "fit", "dataset": dataset, "target": "price"}
    job = client.post("/v1/jobs", json=body, headers={"X-Request-ID": "first"}).json()["id"]
    client.post(f"/v1/jobs/{job}/cancel")
    assert client.post(f"/v1/jobs/{job}/retry", headers={"X-Request-ID": "second"}).status_code == 202
    with context.database.reading() as session:
        assert session.execute(text("SELECT request_id FROM jobs")).scalar_one() == "second"


@pytest.mark.parametrize(("hidden", "said"), [(False, False), (True, True)])
def test_no_exporter_is_loaded_unless_it_is_configured_and_its_absence_is_said(hidden: bool, said: bool) -> None:
    program = f"""
import sys
from worker.logs import configure_logging
from worker.tracing import Tracing
configure_logging("info", "json")
if {hidden}:
    sys.modules["opentelemetry.sdk.trace"] = None
with Tracing.start("test", wanted={hidden}).span("one", "{TRACEPARENT}", {{}}) as here:
    assert here == "{TRACEPARENT}"
assert {hidden} or not any(name.startswith("opentelemetry") for name in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert ("the extra 'otel' is not installed" in run.stderr) == said
