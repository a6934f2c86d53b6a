"""Help is a manual: words, examples and exit codes for every command; answers as JSON; completion."""

import re
from typing import Any

import pytest
from typer.core import TyperGroup
from typer.main import get_command
from typer.testing import CliRunner

from service.cli import app
from service.commands.session import Unfinished, Unsuccessful
from service.errors import CannotStart, WrongSetting

runner = CliRunner()


def commands(root: TyperGroup, before: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Every command by the words that it is called by."""
    found: dict[tuple[str, ...], Any] = {}
    for name, command in root.commands.items():
        below = getattr(command, "commands", None)
        found |= commands(command, (*before, name)) if below else {(*before, name): command}
    return found


COMMANDS = commands(get_command(app))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_of_a_command_has_its_words_and_examples_that_name_what_there_is(words):
    result = runner.invoke(app, [*words, "--help"])
    assert result.exit_code == 0
    assert COMMANDS[words].help
    examples = [line.strip() for line in result.output.partition("Examples:\n")[2].splitlines()]
    assert examples, "add examples to service/commands/manual.py"
    options = {name for one in COMMANDS[words].params for name in one.opts}
    for line in examples:
        own = line.partition(f"factrfm {' '.join(words)}")[2].partition("|")[0]
        assert line != own
        assert {word for word in own.split() if word.startswith("-")} <= options, line


# what these do is to run, or to tell by how they end
WITHOUT_ANSWER = {("up",), ("serve",), ("worker",), ("check",)}


@pytest.mark.parametrize("words", sorted(set(COMMANDS) - WITHOUT_ANSWER), ids=" ".join)
def test_every_command_with_an_answer_gives_it_as_json(words):
    assert "--json" in {name for one in COMMANDS[words].params for name in one.opts}


def test_the_help_tells_how_commands_end():
    told = runner.invoke(app, ["--help"]).output
    for kind in (CannotStart, WrongSetting, Unsuccessful, Unfinished):
        assert f"\n    {kind.exit_code}  " in told


def test_completion_is_shown(monkeypatch):
    # without it the shell that runs the tests would be asked for
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    shown = runner.invoke(app, ["--show-completion", "zsh"], prog_name="factrfm")
    assert "compdef _factrfm_completion factrfm" in shown.output


def test_completion_knows_the_commands(monkeypatch):
    monkeypatch.setenv("_FACTRFM_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "factrfm fe")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert runner.invoke(app, [], prog_name="factrfm").output.split() == ["features"]


def test_the_version_is_told():
    assert re.fullmatch(r"factrfm \d+\.\d+\.\d+\n", runner.invoke(app, ["--version"]).output)
