"""What the manual says of backups holds: its commands copy a live system, and the copy goes on where it was."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient
from support.inline import run_job
from support.postgres import PostgresServer, find_binaries
from support.processes import REPOSITORY, System

from service.app import create_app
from service.settings import ServiceSettings

Start = Callable[..., System]

MANUAL = (REPOSITORY / "docs" / "operations.md").read_text()
COMMANDS = dict(re.findall(r"```sh\n# ((?:backup|restore): \w+)\n(.*?)```", MANUAL, re.DOTALL))
ROWS = {"columns": ["x", "z"], "data": [[0.5, 3], [2, 2.5], [5, 5], [1, 4]]}


def run_as_written(name: str, **variables: Any) -> None:
    """Run the manual's commands of that name."""
    binaries = find_binaries()
    path = os.environ["PATH"] if binaries is None else f"{binaries}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, **{key: str(value) for key, value in variables.items()}}
    done = subprocess.run(
        ["bash", "-euc", COMMANDS[name]], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def second_database_url(dialect: str, tmp_path: Path, request: pytest.FixtureRequest) -> Any:
    """An empty database beside the first; None on SQLite, where it comes as a file."""
    if dialect == "sqlite":
        yield None
        return
    server = request.getfixturevalue("postgres")
    name = server.create()
    yield server.url(name)
    server.drop(name)


def test_a_copy_of_a_live_service_predicts_the_same_and_runs_what_waited(
    start_system: Start, dialect: str, tmp_path: Path, request: pytest.FixtureRequest, second_database_url: str | None
) -> None:
    kind = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[dialect]
    first_url = None if dialect == "sqlite" else request.getfixturevalue("empty_database_url")
    first, second, backup = tmp_path / "first", tmp_path / "system-0", tmp_path / "backup"
    with TestClient(create_app(settings_of(first, first_url)), base_url="http://localhost") as live:
        model, waits = submit(live, model="kept"), submit(live)
        run_job(live.app.state.context, model)
        expected = live.post("/v1/models/kept/predict", json=ROWS).json()
        run_as_written(f"backup: {kind}", FACTRFM_HOME=first, BACKUP=backup, DATABASE=libpq(first_url))
        run_as_written("backup: storage", FACTRFM_HOME=first, BACKUP=backup)
        assert live.get(f"/v1/jobs/{waits}").json()["state"] == "queued", "the original goes on"
    run_as_written(f"restore: {kind}", FACTRFM_HOME=second, BACKUP=backup, DATABASE=libpq(second_database_url))
    run_as_written("restore: storage", FACTRFM_HOME=second, BACKUP=backup)
    if dialect == "sqlite":
        restored = start_system()
        assert restored.client.post("/v1/models/kept/predict", json=ROWS).json() == expected
        assert restored.wait(waits)["state"] == "succeeded"
        return
    with TestClient(create_app(settings_of(second, second_database_url)), base_url="http://localhost") as again:
        assert again.post("/v1/models/kept/predict", json=ROWS).json() == expected
        run_job(again.app.state.context, waits)
        assert again.get(f"/v1/jobs/{waits}").json()["state"] == "succeeded"


DOCKER = """#!/bin/bash
# stands for Docker Compose: what it would run in a container runs here, where the containers' data lie
shift
verb=$1; shift
[ "$verb" = up ] && exit
while [[ $1 == -* ]]; do
    [ "$1" = --entrypoint ] && { entrypoint=$2; shift; }
    shift
done
shift
exec ${entrypoint:-} "${@/#\\/data/$DATA}"
"""


def test_a_copy_of_the_compose_stack_predicts_the_same(tmp_path: Path) -> None:
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL on this machine")
    docker = tmp_path / "docker"
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    first, second, backup = tmp_path / "first", tmp_path / "second", tmp_path / "backup"
    server = PostgresServer(binaries)
    try:
        server.execute("CREATE ROLE factrfm LOGIN SUPERUSER")
        server.execute("CREATE DATABASE factrfm")
        address = server.url("factrfm")
        host = address.partition("?host=")[2]
        shared = {"BACKUP": backup, "PGHOST": host, "PATH": f"{tmp_path}:{binaries}:{os.environ['PATH']}"}
        with TestClient(create_app(settings_of(first, address)), base_url="http://localhost") as live:
            model = submit(live, model="kept")
            run_job(live.app.state.context, model)
            expected = live.post("/v1/models/kept/predict", json=ROWS).json()
            run_as_written("backup: compose", DATA=first, **shared)
        server.drop("factrfm")
        server.execute("CREATE DATABASE factrfm")
        second.mkdir()
        run_as_written("restore: compose", DATA=second, **shared)
        with TestClient(create_app(settings_of(second, address)), base_url="http://localhost") as again:
            assert again.post("/v1/models/kept/predict", json=ROWS).json() == expected
    finally:
        server.stop()


def settings_of(home: Path, database_url: str | None) -> ServiceSettings:
    """Settings of an API in this process, with a queue that nobody listens to."""
    redis = SecretStr("redis+socket:///nowhere/redis.sock")
    return ServiceSettings(
        home=home, redis_url=redis, database_url=None if database_url is None else SecretStr(database_url)
    )


def submit(client: TestClient, **body: str) -> str:
    """Queue a small fit and return its id."""
    header = {"Content-Type": "text/csv"}
    lines = [f"{x},{z},{x * z}" for x in range(6) for z in range(6)]
    dataset = client.post("/v1/datasets", content="\n".join(["x,z,y", *lines]), headers=header).json()["id"]
    wanted = {"kind": "fit", "dataset": dataset, "target": "y", "spec": {"iterations": 1}, **body}
    return str(client.post("/v1/jobs", json=wanted).json()["id"])


def libpq(url: str | None) -> str:
    """The address as the tools of PostgreSQL want it."""
    return "" if url is None else url.replace("+psycopg", "")
