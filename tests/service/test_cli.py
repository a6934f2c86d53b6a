import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app

runner = CliRunner()
NOBODY = "127.0.0.1:9"


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the caller's, and state in a folder of the test's own. No command turns into a worker."""
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("a worker was started"))
    for name in [name for name in os.environ if name.startswith("FACTRFM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("FACTRFM_HOME", str(tmp_path / "home"))


class Recorder(BaseHTTPRequestHandler):
    """A web server that is ready as FACT-RFM is where its address says so, and knows nothing else."""

    keys: list[str | None]

    def do_GET(self) -> None:
        self._answer(200, b'{"checks": {}}' if self.server.server_name == "fact-rfm" else b"[]")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).keys.append(self.headers["Authorization"])
        self._answer(401, b'{"detail": "no"}')

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def web_server() -> Iterator[HTTPServer]:
    Recorder.keys = []
    with HTTPServer(("127.0.0.1", 0), Recorder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_settings_hide_secrets(monkeypatch):
    monkeypatch.setenv("FACTRFM_API_KEYS", "top-secret")
    monkeypatch.setenv("FACTRFM_DATABASE_URL", "postgresql://user:top-secret@host/db")
    monkeypatch.setenv("FACTRFM_REDIS_URL", "redis://:top-secret@host/0")
    for form in ([], ["--json"], ["--markdown"]):
        result = runner.invoke(app, ["settings", *form])
        assert result.exit_code == 0
        assert "top-secret" not in result.output


def test_settings_as_json_have_every_variable():
    rows = json.loads(runner.invoke(app, ["settings", "--json"]).output)
    names = {row["variable"] for row in rows}
    assert {"FACTRFM_HOME", "FACTRFM_LEASE_SECONDS", "FACTRFM_API_KEYS", "FACTRFM_DEVICE"} <= names
    assert all(row["meaning"] for row in rows)


@pytest.mark.parametrize("command", [["serve"], ["up"], ["up", "--host", "0.0.0.0"]])
def test_an_open_address_without_keys_is_refused(command, tmp_path, monkeypatch):
    monkeypatch.setenv("FACTRFM_HOST", "127.0.0.1" if "--host" in command else "0.0.0.0")
    monkeypatch.setenv("FACTRFM_HOME", str(tmp_path))
    result = runner.invoke(app, command)
    assert result.exit_code == 2
    assert "'0.0.0.0'" in result.output
    assert "FACTRFM_API_KEYS" in result.output


@pytest.mark.parametrize("command", ["up", "serve", "worker", "migrate", "check", "settings"])
def test_a_value_that_cannot_be_is_named_with_what_would_be_right(command, monkeypatch):
    monkeypatch.setenv("FACTRFM_MAX_LOST_ATTEMPTS", "0")
    result = runner.invoke(app, [command])
    assert result.exit_code == 2
    assert result.output == (
        "FACTRFM_MAX_LOST_ATTEMPTS is '0': input should be greater than or equal to 1. "
        "Meaning: A job whose attempts were lost this often fails.\n"
    )


def test_up_ends_at_once_on_a_wrong_setting_of_the_worker(monkeypatch):
    monkeypatch.setenv("FACTRFM_LEASE_SECONDS", "-1")
    monkeypatch.setenv("FACTRFM_THREADS", "many")
    result = runner.invoke(app, ["up"])
    assert result.exit_code == 2
    first, second = result.output.splitlines()
    assert first.startswith("FACTRFM_LEASE_SECONDS is '-1': input should be greater than 0")
    assert second.startswith("FACTRFM_THREADS is 'many': input should be a valid integer")


@pytest.mark.parametrize(
    ("command", "name", "value", "code", "words"),
    [
        ("migrate", "DATABASE_URL", "mysql://u:top-secret@h/x", 2, "mysql://***@h/x: the database must be sqlite or"),
        ("serve", "DATABASE_URL", "top-secret", 2, "postgresql+psycopg://user:password@host:5432/name"),
        ("worker", "DATABASE_URL", "postgresql+psycopg://u:top-secret", 2, "postgresql+psycopg://u:***"),
        ("worker", "DATABASE_URL", "postgresql+other://u:top-secret@h/x", 2, "postgresql+other://***@h/x"),
        ("serve", "DATABASE_URL", f"postgresql+psycopg://u:top-secret@{NOBODY}/x", 1, "Connection refused"),
        ("worker", "DATABASE_URL", f"postgresql+psycopg://u:top-secret@{NOBODY}/x", 1, "Connection refused"),
        ("migrate", "DATABASE_URL", f"postgresql+psycopg://u:top-secret@{NOBODY}/x", 1, "Connection refused"),
        (
            "check --worker --ready",
            "DATABASE_URL",
            f"postgresql+psycopg://u:top-secret@{NOBODY}/x",
            1,
            "Connection refused",
        ),
        ("up", "REDIS_URL", f"redis://:top-secret@{NOBODY}/0", 1, f"redis://***@{NOBODY}/0: Redis cannot be reached"),
        ("check --worker --ready", "REDIS_URL", f"redis://:top-secret@{NOBODY}/0", 1, "Redis cannot be reached there"),
        ("up", "REDIS_URL", "", 2, "FACTRFM_REDIS_URL is not an address; it must look like redis://host:6379/0"),
        ("serve", "REDIS_URL", "amqp://u:top-secret@h", 2, "amqp://***@h; it must look like redis://host:6379/0"),
        ("worker", "REDIS_URL", "redis://h:top-secret/0", 2, "redis://h:***/0; it must look like"),
        ("worker", "REDIS_URL", "redis://h:6379/first", 2, "redis://h:6379/first; it must look like"),
        ("serve", "REDIS_URL", "redis+socket://", 2, "redis+socket:///folder/redis.sock"),
        ("serve", "STORAGE_URL", "nowhere://top", 2, "nowhere://top: Protocol not known: nowhere"),
        ("worker", "QUEUE", "a,b", 2, "FACTRFM_QUEUE is 'a,b': it must be one name"),
        ("worker", "DEVICE", "abacus", 2, "FACTRFM_DEVICE is 'abacus'"),
        ("worker", "DEVICE", "cuda:99", 2, "torch finds"),
        ("up", "PORT", "0", 2, "FACTRFM_PORT is 0"),
        ("up", "PORT", "many", 2, "FACTRFM_PORT is 'many'"),
        ("check", "PORT", "9", 1, f"no API answers at http://{NOBODY}"),
        ("check --worker", "QUEUE", "nobodys", 1, "no worker runs here"),
        ("check --ready", "QUEUE", "nobodys", 2, "--ready belongs to --worker"),
    ],
)
def test_what_cannot_work_is_one_line(command, name, value, code, words, monkeypatch):
    monkeypatch.setenv(f"FACTRFM_{name}", value)
    result = runner.invoke(app, command.split())
    assert result.exit_code == code, result.output
    line, *others = result.output.splitlines()
    assert not others
    assert words in line
    assert "top-secret" not in line


@pytest.mark.parametrize("command", [["up"], ["serve"], ["worker"], ["migrate"], ["check", "--worker", "--ready"]])
@pytest.mark.parametrize(("home", "reason"), [("file", "it is a file"), ("file/home", "Not a directory")])
def test_a_home_that_cannot_be_is_named(command, home, reason, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACTRFM_HOME", str(tmp_path / home))
    result = runner.invoke(app, command)
    assert result.exit_code == 2
    assert f"{tmp_path / home}: {reason}; it must be a folder that this user can write" in result.output


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser can write everywhere")
def test_a_home_that_cannot_be_written_is_named(tmp_path):
    tmp_path.chmod(0o500)
    result = runner.invoke(app, ["migrate"])
    assert result.exit_code == 2
    assert f"{tmp_path / 'home'}: Permission denied" in result.output


def test_a_flag_wins_over_the_environment(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    result = runner.invoke(app, ["up", "--home", str(tmp_path / "file")])
    assert f"{tmp_path / 'file'}: it is a file" in result.output
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_an_address_of_another_machine_is_named(host, monkeypatch):
    monkeypatch.setenv("FACTRFM_HOST", host)
    monkeypatch.setenv("FACTRFM_API_KEYS", "key")
    result = runner.invoke(app, ["serve"])
    assert result.exit_code == 2
    assert f"is '{host}': it must be an address of this machine" in result.output


@pytest.mark.parametrize("command", ["up", "serve"])
def test_a_taken_port_is_named(command, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("FACTRFM_PORT", str(port))
        result = runner.invoke(app, [command])
    assert result.exit_code == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; choose another port" in result.output


def test_a_taken_port_of_the_metrics_is_named(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        monkeypatch.setenv("FACTRFM_METRICS_PORT", str(taken.getsockname()[1]))
        refused = runner.invoke(app, ["worker"])
    assert refused.exit_code == 1
    assert "choose another port by FACTRFM_METRICS_PORT" in refused.output


def test_migrate_makes_the_database(tmp_path):
    assert runner.invoke(app, ["migrate"]).exit_code == 0
    assert (tmp_path / "home" / "factrfm.db").exists()


def test_a_database_of_another_version_is_one_line(tmp_path):
    runner.invoke(app, ["migrate"])
    connection = sqlite3.connect(tmp_path / "home" / "factrfm.db")
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = 'of-the-future'")
    connection.close()
    result = runner.invoke(app, ["migrate"])
    assert result.exit_code == 1
    assert "cannot be used: it is at revision of-the-future, which this version does not know" in result.output


def test_a_file_that_is_no_database_is_one_line(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "factrfm.db").write_text("dear diary " * 1000)
    result = runner.invoke(app, ["migrate"])
    assert result.exit_code == 1
    assert result.output.endswith("factrfm.db cannot be used: file is not a database\n")


def test_demo_against_nobody_is_a_clear_word():
    result = runner.invoke(app, ["demo", "--url", f"http://{NOBODY}"])
    assert result.exit_code == 1
    assert f"http://{NOBODY} cannot be reached" in result.output


@pytest.mark.parametrize("url", ["nonsense", "http://", "http://[::1", "ftp://host"])
def test_demo_names_a_url_that_cannot_be(url):
    result = runner.invoke(app, ["demo", "--url", url])
    assert result.exit_code == 2
    assert f"--url is {url!r}" in result.output
    assert "it must look like http://localhost:8000" in result.output


def test_demo_names_a_file_or_a_key_that_cannot_be(tmp_path):
    for extra in (["--out", str(tmp_path / "nowhere" / "a.png")], ["--out", str(tmp_path)], ["--key", "a\nb"]):
        result = runner.invoke(app, ["demo", "--url", f"http://{NOBODY}", *extra])
        assert result.exit_code == 2
        assert f"{extra[0]}" in result.output


def test_demo_against_another_web_server_is_a_clear_word(web_server: HTTPServer):
    url = f"http://127.0.0.1:{web_server.server_port}"
    result = runner.invoke(app, ["demo", "--url", url])
    assert result.exit_code == 1
    assert result.output == f"{url} is no FACT-RFM service: it answered 200 to GET /readyz\n"


def test_demo_takes_the_key_from_the_environment_or_its_flag(web_server: HTTPServer, monkeypatch):
    web_server.server_name = "fact-rfm"
    monkeypatch.setenv("FACTRFM_API_KEY", "of-the-environment")
    url = f"http://127.0.0.1:{web_server.server_port}"
    for extra in ([], ["--key", "of-the-flag"]):
        result = runner.invoke(app, ["demo", "--url", url, *extra])
        assert result.exit_code == 1
        assert "answered 401: no" in result.output
    assert Recorder.keys == ["Bearer of-the-environment", "Bearer of-the-flag"]


def test_keys_are_made_listed_and_revoked(tmp_path, monkeypatch):
    monkeypatch.setenv("FACTRFM_HOME", str(tmp_path))
    made = runner.invoke(app, ["keys", "create", "for ci", "--project", "lab", "--scope", "read", "--json"])
    assert made.exit_code == 0, made.output
    key = json.loads(made.output)
    secret = key.pop("key").partition(".")[2]
    assert (key["project"], key["name"], key["scopes"], key["revoked_at"]) == ("lab", "for ci", ["read"], None)
    assert len(secret) >= 43
    revoked = runner.invoke(app, ["keys", "revoke", key["id"]])
    assert revoked.exit_code == 0
    listed = runner.invoke(app, ["keys", "list", "--json"])
    assert key["id"] in runner.invoke(app, ["keys", "list"]).output
    [found] = json.loads(listed.output)
    assert found["id"] == key["id"]
    assert found["revoked_at"] is not None
    assert secret not in listed.output + revoked.output
    for wrong in (["create", "x", "--project", "Lab"], ["revoke", "key_none"]):
        result = runner.invoke(app, ["keys", *wrong])
        assert result.exit_code == 2, result.output
        assert "Traceback" not in result.output


def test_migrate_tells_what_it_did_and_check_whether_there_is_something_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("FACTRFM_HOME", str(tmp_path))
    undone = runner.invoke(app, ["migrate", "--check"])
    assert (undone.exit_code, "at revision none" in undone.output) == (1, True)
    assert "it was at none" in runner.invoke(app, ["migrate"]).output
    assert runner.invoke(app, ["migrate", "--check"]).exit_code == 0
    with sqlite3.connect(tmp_path / "factrfm.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    for command in ("migrate", "serve", "worker"):
        refused = runner.invoke(app, [command])
        assert refused.exit_code == 1, command
        assert "revision 9999, which this version does not know" in refused.output
        assert "Traceback" not in refused.output


def test_output_that_cannot_be_written_is_one_line():
    with open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", "settings"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "[Errno 28] No space left on device\n")


def test_a_revision_and_a_revoked_key_are_told_as_json():
    assert json.loads(runner.invoke(app, ["migrate", "--json"]).output)["before"] is None
    key = json.loads(runner.invoke(app, ["keys", "create", "ci", "--json"]).output)
    revoked = runner.invoke(app, ["keys", "revoke", key["key"], "--json"])
    assert json.loads(revoked.output)["revoked_at"] is not None
    assert key["key"] not in revoked.output
    assert runner.invoke(app, ["keys", "create", " "]).exit_code == 2
