"""Passwords and keys are in no log, no answer and no listing, whatever goes wrong with them."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr
from starlette.testclient import TestClient
from support.processes import Process, wait_until

from service.app import create_app
from worker.telemetry import logs

SECRET = "open-sesame"
REDIS = f"redis://:{SECRET}@127.0.0.1:1/0"
POSTGRES = f"postgresql+psycopg://factrfm:{SECRET}@127.0.0.1:1/factrfm"
ADDRESSES = {
    "FACTRFM_REDIS_URL": REDIS,
    "FACTRFM_DATABASE_URL": POSTGRES,
    "FACTRFM_STORAGE_URL": f"ftp://me:{SECRET}@127.0.0.1:1/models",
    "FACTRFM_API_KEYS": SECRET,
    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://me:{SECRET}@127.0.0.1:1",
}


@pytest.fixture
def everything_logged(monkeypatch):
    """All that a process at the level debug writes."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    root = logs.logging.getLogger()
    before = root.level, root.handlers[:]
    kept = structlog.get_config()
    logs.configure_logging("debug", "json")
    structlog.configure(cache_logger_on_first_use=False)
    yield written
    structlog.configure(**kept)
    root.setLevel(before[0])
    root.handlers[:] = before[1]


def test_the_api_tells_nobody_a_key_or_a_password(settings, everything_logged):
    hidden = {"api_keys": (SecretStr(f"{SECRET}-key"),), "redis_url": SecretStr(REDIS)}
    answers = []
    with TestClient(create_app(settings.model_copy(update=hidden)), raise_server_exceptions=False) as client:
        for key in (f"{SECRET}-key", f"key_{SECRET}", f"{SECRET}-nearly"):
            headers = {"Authorization": f"Bearer {key}"}
            table = {**headers, "Content-Type": "text/csv"}
            answers.append(client.post("/v1/datasets", content="x,y\n1,2\n2,3\n3,5\n4,4\n", headers=table))
            body = {"kind": "fit", "dataset": answers[0].json()["id"], "target": "y"}
            answers.append(client.post("/v1/jobs", json=body, headers=headers))
            answers.append(client.get("/metrics", headers=headers))
        answers += [client.get("/readyz"), client.get("/v1/jobs", headers={"Authorization": f"Basic {SECRET}"})]
    assert [answer.status_code for answer in answers] == [201, 202, 200, *[401] * 6, 503, 401]
    told = everything_logged.getvalue()
    assert "message not sent" in told
    assert '"path": "/v1/jobs"' in told
    assert SECRET not in told
    assert not any(SECRET in answer.text for answer in answers)


@pytest.mark.parametrize("form", [["--json"], []])
def test_settings_are_shown_without_secrets(form):
    shown = _run("settings", *form, COLUMNS="500")
    assert shown.returncode == 0, shown.stderr
    assert "127.0.0.1:1/mo" in shown.stdout
    assert SECRET not in shown.stdout + shown.stderr


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_database_that_cannot_be_reached_is_named_without_its_password(command):
    refused = _run(command, FACTRFM_STORAGE_URL="")
    assert refused.returncode == 1
    assert "127.0.0.1:1/factrfm" in refused.stderr
    assert SECRET not in refused.stdout + refused.stderr


def test_a_worker_that_cannot_reach_redis_says_so_without_the_password(tmp_path: Path) -> None:
    environment = {"FACTRFM_HOME": str(tmp_path), "FACTRFM_REDIS_URL": REDIS, "FACTRFM_LOG_LEVEL": "debug"}
    worker = Process([sys.executable, "-m", "worker.app"], tmp_path / "worker.log", environment)
    try:
        wait_until(lambda: "127.0.0.1:1" in worker.log.read_text(), 30, "it tries")
    finally:
        worker.stop()
    assert SECRET not in worker.log.read_text()


def _run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **ADDRESSES, **changes}
    program = [sys.executable, "-m", "service.cli", *arguments]
    given = {name: value for name, value in environment.items() if value}
    return subprocess.run(program, env=given, capture_output=True, text=True, check=False, timeout=60)
