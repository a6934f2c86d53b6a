"""What a request is called, from its answer to the log and the trace of the training that it started."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, get_args

import httpx
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from sqlalchemy import text
from support.processes import System, free_port, valkey, wait_until

from worker.contracts.resources import JobKind

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


KINDS: dict[str, dict[str, Any]] = {
    "fit": {"target": "y", "model": "traced", "spec": {"iterations": 1}},
    "tune": {"target": "y", "spec": {"iterations": 1}, "search": {"trials": 1}},
    "network": {"target": "y", "spec": {"hidden": [4], "steps": 2, "report_every": 1}},
    "predict": {"model": "traced"},
}
"""A request of every kind; the last one asks the model of the first."""


def test_one_id_and_one_trace_lead_from_the_request_to_the_training_of_every_kind(
    tmp_path: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(KINDS) == set(get_args(JobKind))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    jobs: dict[str, str] = {}
    (tmp_path / "q").mkdir()
    with valkey(tmp_path / "q") as address:
        port = free_port()
        system = System(tmp_path / "home", address, metrics_port=str(port))
        try:
            system.start_api()
            worker = system.start_worker()
            X = np.random.default_rng(0).normal(size=(40, 3))
            dataset = system.upload(X, X[:, 0])
            for kind, body in KINDS.items():
                headers = {"X-Request-ID": f"from-the-caller-of-{kind}", "traceparent": _traceparent(kind)}
                job = {"kind": kind, "dataset": dataset, **body}
                jobs[kind] = system.client.post("/v1/jobs", json=job, headers=headers).json()["id"]
                assert system.wait(jobs[kind])["state"] == "succeeded"
            told = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            # a search plans its one trial, which is a part, and goes on after it
            runs = {**{f"run {kind}": 1 for kind in KINDS}, "run tune": 2, "run trial": 1}
            for name, count in {"POST /v1/jobs": 4, "attempt": 6, **runs}.items():
                wait_until(lambda name=name, count=count: len(collector.named(name)) == count, 20, f"{name} arrives")
        finally:
            system.stop()
    assert float(re.findall(r"^factrfm_training_process_resident_bytes (\S+)$", told, re.MULTILINE)[0]) > 2**20
    assert system.api is not None
    for kind, job in jobs.items():
        _is_one_trace(collector, kind, job)
        assert f'factrfm_attempts_total{{kind="{kind}",outcome="succeeded"}} 1.0' in told
        request_id = f"from-the-caller-of-{kind}"
        own = [line for line in _lines(system.api.log) if line.get("request_id") == request_id]
        assert {line["trace_id"] for line in own if line.get("path") == "/v1/jobs"} == {_trace_id(kind)}
        assert [line["job_id"] for line in own if "job_id" in line] == [job]
        lines = {line["event"]: line for line in _lines(worker.log) if line.get("job_id") == job}
        assert {"job claimed", "attempt ended", "run begins", "run ends"} <= set(lines)
        names = {"request_id": request_id, "attempt": 1, "project": "default", "trace_id": _trace_id(kind)}
        for line in lines.values():
            assert names.items() <= line.items()


def _trace_id(kind: str) -> str:
    return f"{TRACE_ID[:-1]}{list(KINDS).index(kind) + 1}"


def _traceparent(kind: str) -> str:
    return TRACEPARENT.replace(TRACE_ID, _trace_id(kind))


def _is_one_trace(collector: Collector, kind: str, job: str) -> None:
    def spans(name: str) -> list[tuple[str, Any]]:
        return [span for span in collector.named(name) if span[1].trace_id.hex() == _trace_id(kind)]

    [(api, request)], attempts, runs = spans("POST /v1/jobs"), spans("attempt"), spans(f"run {kind}")
    assert (api, attempts[-1][0], runs[-1][0]) == ("factrfm-api", "factrfm-worker", "factrfm-training")
    assert request.parent_span_id.hex() == TRACEPARENT.split("-")[2]
    outcomes = {}
    for _, attempt in attempts:
        attributes = {one.key: one.value.string_value for one in attempt.attributes}
        assert (attempt.parent_span_id, attributes["job_id"]) == (request.span_id, job)
        outcomes[attempt.span_id] = attributes["factrfm.outcome"]
    ended = []
    for _, run in runs:
        of_run = {one.key: one.value for one in run.attributes}
        assert (of_run["job_id"].string_value, of_run["attempt"].int_value) == (job, 1)
        ended.append(outcomes[run.parent_span_id])
    assert sorted(ended) == (["planned", "succeeded"] if kind == "tune" else ["succeeded"])


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
from worker.telemetry.logs import configure_logging
from worker.telemetry.tracing import Tracing
configure_logging("info", "json")
if {hidden}:
    sys.modules["opentelemetry.sdk.trace"] = None
with Tracing.start("test", enabled={hidden}).span("one", "{TRACEPARENT}", {{}}) as here:
    assert here == "{TRACEPARENT}"
assert {hidden} or not any(name.startswith("opentelemetry") for name in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert ("the extra 'otel' is not installed" in run.stderr) == said
