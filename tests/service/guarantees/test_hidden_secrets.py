"""Passwords and keys are in no text that the service shows or hands on."""

import json
import sys
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from service.cli import app
from service.errors import WrongSetting
from service.settings import ServiceSettings, read_settings
from worker.settings import WorkerSettings
from worker.shell.child import Child

SECRET = "s3cr3t-word"
ENVIRONMENT = {
    "FACTRFM_DATABASE_URL": f"postgresql+psycopg://factrfm:{SECRET}@db/factrfm",
    "FACTRFM_REDIS_URL": f"redis://:{SECRET}@redis/0",
    "FACTRFM_API_KEYS": f"{SECRET},other-{SECRET}",
    "FACTRFM_API_KEY": SECRET,
    "FACTRFM_STORAGE_URL": f"sftp://user:{SECRET}@host/path",
    "POSTGRES_PASSWORD": SECRET,
    "PGPASSWORD": SECRET,
}


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("form", [[], ["--json"], ["--markdown"]])
def test_the_settings_command_hides_them(form: list[str]) -> None:
    shown = CliRunner().invoke(app, ["settings", *form], env={"COLUMNS": "400"})
    assert shown.exit_code == 0
    assert SECRET not in shown.output


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize("kind", [ServiceSettings, WorkerSettings])
def test_settings_that_are_written_out_hide_them(kind: type[ServiceSettings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FACTRFM_STORAGE_URL")
    settings = kind()
    for text in (
        repr(settings),
        str(settings),
        settings.model_dump_json(),
        json.dumps(settings.model_dump(), default=str),
    ):
        assert SECRET not in text


def test_a_setting_that_is_wrong_is_named_without_its_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTRFM_PORT", "many")
    monkeypatch.setenv("FACTRFM_API_KEYS", SECRET)
    with pytest.raises(WrongSetting) as found:
        read_settings(ServiceSettings)
    assert SECRET not in str(found.value)


@pytest.mark.skipif(sys.platform != "linux", reason="reads an environment where Linux shows it")
@pytest.mark.usefixtures("secrets")
def test_the_training_process_shows_none_of_them(tmp_path: Path) -> None:
    child = Child(WorkerSettings(storage_url=str(tmp_path / SECRET), device="cpu", threads=1))
    try:
        process = psutil.Process(child.pid)
        environment, arguments = process.environ(), process.cmdline()
    finally:
        child.end(5)
    assert [name for name, value in environment.items() if SECRET in value] == []
    assert [argument for argument in arguments if SECRET in argument] == []
