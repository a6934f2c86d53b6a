"""The first key of an open service shuts everybody out who has none: that is said before it is done."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from typer.testing import CliRunner

from service.app import create_app
from service.cli import app
from service.settings import ServiceSettings
from worker.store import locks
from worker.store.database import Database

runner = CliRunner()
FIRST = "this is the first key of the service of sqlite:///"
TABLE = "x,y\n1,2\n2,4\n3,6\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FACTRFM_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FACTRFM_API_KEYS", raising=False)
    return tmp_path / "home"


@pytest.fixture
def with_data(home: Path) -> Path:
    """A home that an open service has stored a dataset in."""
    settings = ServiceSettings(home=home, redis_url=f"redis+socket://{home}/nobody.sock", table_readers=0)
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        assert client.post("/v1/datasets", content=TABLE, headers={"Content-Type": "text/csv"}).status_code == 201
    return home


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.commands.keys.stdin_is_terminal", lambda: True)


def create(*arguments: str, answers: str = "", code: int = 0) -> tuple[list[str], str]:
    """Make keys; returns their texts and what is said besides."""
    result = runner.invoke(app, ["keys", "create", "ci", *arguments], input=answers)
    assert result.exit_code == code, result.output
    return result.stdout.split(), result.stderr


def made() -> list[str]:
    """Return the projects that have keys."""
    return [key["project"] for key in json.loads(runner.invoke(app, ["keys", "list", "--json"]).stdout)]


@pytest.fixture
def running(home: Path) -> None:
    """An open service that runs and has stored nothing yet."""
    home.mkdir()
    database = Database(f"sqlite:///{home}/factrfm.db")
    database.migrate()
    assert locks.try_lock(database, locks.RECONCILER, "an API", 60, datetime.now(UTC))
    database.dispose()


@pytest.mark.usefixtures("running")
def test_the_first_key_says_that_everybody_needs_one_and_the_second_does_not():
    keys, said = create()
    assert len(keys) == 1
    assert said.index(FIRST) < said.index("It is not shown again"), "said before it is done"
    assert "from now on every caller needs a key" in said
    assert FIRST not in create()[1]


@pytest.mark.usefixtures("with_data")
def test_a_program_is_told_of_the_project_that_holds_the_data_and_how_to_open_it():
    _, said = create("--project", "lab")
    assert "the project 'default' holds datasets 1, jobs 0, models 0; a key of 'lab' does not open them" in said
    assert "factrfm keys create ci --project default" in said
    assert made() == ["lab"]


@pytest.mark.usefixtures("with_data", "at_a_terminal")
def test_a_person_is_asked_and_is_offered_a_key_for_the_data():
    keys, said = create("--project", "lab", answers="y\ny\n")
    assert sorted(made()) == ["default", "lab"]
    assert len([one for one in keys if one.startswith("key_")]) == 2
    assert "make a key for the project 'default' as well?" in said


@pytest.mark.usefixtures("with_data", "at_a_terminal")
@pytest.mark.parametrize("answer", ["n\n", ""])
def test_whoever_does_not_want_it_changes_nothing(answer):
    create(answers=answer, code=1)
    assert made() == []
    create("--yes")
    assert made() == ["default"]


@pytest.mark.usefixtures("home", "at_a_terminal")
def test_where_nobody_calls_yet_nothing_is_asked_or_said():
    assert FIRST not in create(answers="")[1]
    assert made() == ["default"]


@pytest.mark.usefixtures("with_data")
def test_keys_that_are_configured_come_first(monkeypatch):
    monkeypatch.setenv("FACTRFM_API_KEYS", "configured")
    assert FIRST not in create()[1]


@pytest.mark.usefixtures("home")
def test_what_admin_includes_is_told():
    assert "/metrics" in create("--scope", "admin")[1]
    assert "the scope admin includes" not in create("--scope", "read")[1]
    assert "which tell of all projects" in " ".join(runner.invoke(app, ["keys", "create", "--help"]).output.split())
