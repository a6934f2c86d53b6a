"""How a command finds the service, prints its answer, and exits.

The address and the key come from ``--url`` and ``--key``, else from the environment, else from a profile. An error that
the caller can fix is one message and an exit code.
"""

import functools
import inspect
import json
import os
import sys
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Column, Table

from service.client import Client, ClientError, JobFailed, Refused, TimedOut
from service.client.connection import KEY, URL
from service.errors import CommandError, WrongSetting

P = ParamSpec("P")
Limit = Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")]
HeaderRow = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether the first row of a text or a sheet holds the names."),
]
PROFILE = "FACTRFM_PROFILE"
WRONG_USE = (400, 404, 409, 413, 415, 416, 422)
"""Statuses that the caller can avoid by another command line."""
ID_WIDTH = 30
UNLIMITED_WIDTH = 1000
"""Width of output that is not for a terminal: no line is folded."""


class Unsuccessful(CommandError):
    """A job failed or was cancelled."""

    exit_code = 3


class Unfinished(CommandError):
    """A job did not end within the timeout."""

    exit_code = 4


class Failed(CommandError):
    """The service was not reached, or failed."""


@dataclass
class Session:
    """The client of one command, and its output: text or JSON."""

    client: Client
    as_json: bool
    console: Console
    notes: Console

    def show(self, resource: BaseModel | Sequence[BaseModel], text: Callable[[], object]) -> None:
        """Print one or several resources as JSON, or else what ``text`` returns."""
        if not self.as_json:
            self.console.print(text())
        elif isinstance(resource, BaseModel):
            typer.echo(resource.model_dump_json(indent=2))
        else:
            typer.echo(json.dumps([item.model_dump(mode="json") for item in resource], indent=2))

    def note(self, text: str) -> None:
        """Print a note to standard error."""
        self.notes.print(text, highlight=False, markup=False)


def remote(command: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Add the options ``--url``, ``--key``, ``--profile`` and ``--json``; the command gets a session instead."""

    @functools.wraps(command)
    def wrapped(*args: Any, url: str | None, key: str | None, profile: str | None, as_json: bool, **rest: Any) -> None:
        try:
            # fewer retries than by default, because a person waits
            with Client(*address(url, key, profile), retries=2) as client:
                console = Console(width=output_width())
                command(Session(client, as_json, console, Console(stderr=True)), *args, **rest)
        except ValueError as error:
            raise WrongSetting(str(error)) from error
        except OSError as error:
            raise Failed(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error
        except ClientError as error:
            raise _as_command_error(error) from error

    signature = inspect.signature(command)
    parameters = list(signature.parameters.values())[1:]
    wrapped.__signature__ = signature.replace(parameters=[*parameters, *OPTIONS])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in [*parameters, *OPTIONS]}
    return wrapped


def output_width() -> int | None:
    """Return the width of tables: unlimited where another program reads them."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else UNLIMITED_WIDTH


def address(url: str | None, key: str | None, profile: str | None) -> tuple[str | None, str | None]:
    """Return the address and the key: the arguments, else those of the environment, else of the profile.

    Raises:
        WrongSetting: there is no such profile, or its file cannot be read.
    """
    name = profile or os.environ.get(PROFILE)
    entries = {} if name is None else _profile(name)
    return url or os.environ.get(URL) or entries.get("url"), key or os.environ.get(KEY) or entries.get("key")


def profiles_path() -> Path:
    """Return the path of the profiles."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "factrfm" / "profiles.toml"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table for the terminal; cells are shown as they are, without markup."""
    # ids are copied, so they are never folded
    heads = [Column(name, no_wrap=True, min_width=ID_WIDTH) if name == "id" else name for name in columns]
    grid = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        grid.add_row(*("" if cell is None else _plain(cell) for cell in row))
    return grid


def _plain(cell: object) -> str:
    text = f"{cell:.4g}" if isinstance(cell, float) else str(cell)
    return text.replace("[", r"\[")


def _profile(name: str) -> dict[str, str]:
    path = profiles_path()
    try:
        profiles = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WrongSetting(f"the profile {name!r} cannot be read from {path}: {error}") from error
    if not isinstance(profiles.get(name), dict):
        raise WrongSetting(f"{path} has no profile {name!r}; it has {', '.join(sorted(profiles)) or 'none'}")
    if "key" in profiles[name] and path.stat().st_mode & 0o077:
        typer.echo(f"{path} holds a key and others may read it: chmod 600 it", err=True)
    return {entry: str(value) for entry, value in profiles[name].items()}


def _as_command_error(error: ClientError) -> CommandError:
    if isinstance(error, JobFailed):
        return Unsuccessful(str(error))
    if isinstance(error, TimedOut):
        return Unfinished(str(error))
    if isinstance(error, Refused):
        others = [entry for entry in error.errors if entry.message not in error.detail]
        text = error.detail + "".join(f"\n  {entry.pointer}: {entry.message}" for entry in others)
        if error.status in (401, 403):
            text += f"\ngive a key by --key, {KEY} or a profile"
        return WrongSetting(text) if error.status in WRONG_USE else Failed(text)
    return Failed(str(error))


def _option(name: str, kind: Any, default: Any, option: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


GROUP = "Where the service is"
OPTIONS = (
    _option(
        "url",
        str | None,
        None,
        typer.Option(help=f"Address of the service. Default: {URL}, or this machine.", rich_help_panel=GROUP),
    ),
    _option("key", str | None, None, typer.Option(help=f"API key. Default: {KEY}.", rich_help_panel=GROUP)),
    _option(
        "profile",
        str | None,
        None,
        typer.Option(
            help=f"Take both from this part of ~/.config/factrfm/profiles.toml. Default: {PROFILE}.",
            rich_help_panel=GROUP,
        ),
    ),
    _option("as_json", bool, False, typer.Option("--json", help="Print JSON.")),
)


def stdin_is_terminal() -> bool:
    """Return whether standard input is a terminal."""
    return sys.stdin.isatty()
