import json

import pytest
from typer.testing import CliRunner

from service.cli import app

runner = CliRunner()


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


@pytest.mark.parametrize("command", [["serve"], ["up"]])
def test_an_open_address_without_keys_is_refused(command, monkeypatch, tmp_path):
    monkeypatch.setenv("FACTRFM_HOST", "0.0.0.0")
    monkeypatch.delenv("FACTRFM_API_KEYS", raising=False)
    extra = ["--host", "0.0.0.0", "--home", str(tmp_path)] if command == ["up"] else []
    result = runner.invoke(app, [*command, *extra])
    assert result.exit_code == 1
    assert "FACTRFM_API_KEYS" in result.output


def test_a_wrong_setting_is_named(monkeypatch):
    monkeypatch.setenv("FACTRFM_LEASE_SECONDS", "-1")
    result = runner.invoke(app, ["settings"])
    assert result.exit_code == 1
    assert "FACTRFM_LEASE_SECONDS" in result.output


def test_demo_against_nobody_is_a_clear_word():
    result = runner.invoke(app, ["demo", "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "cannot be reached" in result.output


def test_migrate_makes_the_database(monkeypatch, tmp_path):
    monkeypatch.setenv("FACTRFM_HOME", str(tmp_path))
    assert runner.invoke(app, ["migrate"]).exit_code == 0
    assert (tmp_path / "factrfm.db").exists()
