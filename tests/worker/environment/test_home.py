"""The folder of state is its user's alone."""

import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner

from service.cli import app
from service.datasets.upload_folder import upload_folder
from worker.environment.home import make_home, open_to_others
from worker.store.database import Database


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def through_a_command(home: Path) -> None:
    assert CliRunner().invoke(app, ["migrate"], env={"FACTRFM_HOME": str(home)}).exit_code == 0


def through_the_database(home: Path) -> None:
    Database(f"sqlite:///{home}/factrfm.db").dispose()


def through_an_upload(home: Path) -> None:
    with upload_folder(home):
        pass


@pytest.mark.parametrize("way", [through_a_command, through_the_database, through_an_upload])
def test_a_home_is_made_for_its_user_alone_whoever_makes_it_first(way, tmp_path):
    home = tmp_path / "deep" / "home"
    way(home)
    assert mode(home) == 0o700
    assert open_to_others(home) is None


@pytest.mark.parametrize(("given", "told"), [(0o700, False), (0o770, False), (0o2750, False), (0o755, True)])
def test_a_home_that_is_there_is_left_as_it_is_and_told_where_everybody_may_look(given, told, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(given)
    make_home(home)
    assert mode(home) == given
    assert (open_to_others(home) is not None) == told
    said = CliRunner().invoke(app, ["doctor", "--here"], env={"FACTRFM_HOME": str(home), "COLUMNS": "300"}).output
    assert ("chmod 700" in said) == told


def test_a_home_that_is_not_there_is_no_fault(tmp_path):
    assert open_to_others(tmp_path / "nowhere") is None
