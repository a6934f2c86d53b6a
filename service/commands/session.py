"""Where a command finds the service, how it answers, and how it ends.

The service is named by ``--url`` and ``--key``, else by the environment, else by a profile. What goes wrong for a
reason that the caller can mend is one message and an exit code.
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
from service.errors import Complaint, WrongSetting

P = ParamSpec("P")
Limit = Annotated[int, typer.Option(min=1, help="How many at most, the newest first.")]
HeaderRow = Annotated[
    bool | None,
    typer.Option("--header/--no-header", help="Whether the first row of a CSV or TSV holds the names."),
]
PROFILE = "FACTRFM_PROFILE"
WRONG_USE = (400, 404, 409, 413, 415, 416, 422)
"""Answers that another command line would change."""
ID_WIDTH = 30
UNFOLDED = 1000
"""Columns of a page that is as wide as its widest line."""


class Unsuccessful(Complaint):
    """A job that was waited for failed or was cancelled."""

    exit_code = 3


class Unfinished(Complaint):
    """A job did not end in the time that was given."""

    exit_code = 4


class Failed(Complaint):
    """The service was not reached, or could not do what was asked."""


@dataclass
class Session:
    """One command's client, and its way to answer: text for people, or JSON."""

    client: Client
    as_json: bool
    console: Console
    notes: Console

    def show(self, resource: BaseModel | Sequence[BaseModel], text: Callable[[], object]) -> None:
        """Print a resource, or several, as JSON; or what ``text`` gives, for people."""
        if not self.as_json:
            self.console.print(text())
        elif isinstance(resource, BaseModel):
            typer.echo(resource.model_dump_json(indent=2))
        else:
            typer.echo(json.dumps([one.model_dump(mode="json") for one in resource], indent=2))

    def note(self, text: str) -> None:
        """Say something beside the answer, on standard error."""
        self.notes.print(text, highlight=False, markup=False)


def remote(command: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Give a command the options that say where the service is, and a session in place of them."""

    @functools.wraps(command)
    def wrapped(*args: Any, url: str | None, key: str | None, profile: str | None, as_json: bool, **given: Any) -> None:
        try:
            # a person waits: fewer tries than a program would make
            with Client(*address(url, key, profile), retries=2) as client:
                console = Console(width=output_width())
                command(Session(client, as_json, console, Console(stderr=True)), *args, **given)
        except ValueError as error:
            raise WrongSetting(str(error)) from error
        except OSError as error:
            raise Failed(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from error
        except ClientError as error:
            raise _complaint(error) from error

    signature = inspect.signature(command)
    own = list(signature.parameters.values())[1:]
    wrapped.__signature__ = signature.replace(parameters=[*own, *OPTIONS])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {one.name: one.annotation for one in [*own, *OPTIONS]}
    return wrapped


def output_width() -> int | None:
    """Return how wide tables may be: what another program reads is not folded to a terminal's width."""
    return None if sys.stdout.isatty() or "COLUMNS" in os.environ else UNFOLDED


def address(url: str | None, key: str | None, profile: str | None) -> tuple[str | None, str | None]:
    """Return the address and the key: as given, else of the environment, else of the profile that is asked for.

    Raises:
        WrongSetting: there is no such profile, or its file cannot be read.
    """
    name = profile or os.environ.get(PROFILE)
    found = _profile(name) if name is not None else {}
    return url or os.environ.get(URL) or found.get("url"), key or os.environ.get(KEY) or found.get("key")


def profiles_path() -> Path:
    """Return the file that holds profiles."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "factrfm" / "profiles.toml"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """Return a table for the terminal; cells are shown as they are, without markup."""
    # an id is there to be copied, whole
    heads = [Column(name, no_wrap=True, min_width=ID_WIDTH) if name == "id" else name for name in columns]
    found = Table(*heads, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        found.add_row(*("" if cell is None else _plain(cell) for cell in row))
    return found


def _plain(cell: object) -> str:
    text = f"{cell:.4g}" if isinstance(cell, float) else str(cell)
    return text.replace("[", r"\[")


def _profile(name: str) -> dict[str, str]:
    path = profiles_path()
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WrongSetting(f"the profile {name!r} cannot be read from {path}: {error}") from error
    if not isinstance(found.get(name), dict):
        raise WrongSetting(f"{path} has no profile {name!r}; it has {', '.join(sorted(found)) or 'none'}")
    if "key" in found[name] and path.stat().st_mode & 0o077:
        typer.echo(f"{path} holds a key and others may read it: chmod 600 it", err=True)
    return {entry: str(value) for entry, value in found[name].items()}


def _complaint(error: ClientError) -> Complaint:
    if isinstance(error, JobFailed):
        return Unsuccessful(str(error))
    if isinstance(error, TimedOut):
        return Unfinished(str(error))
    if isinstance(error, Refused):
        more = "".join(f"\n  {one.pointer}: {one.message}" for one in error.errors if one.message not in error.detail)
        text = f"{error.detail}{more}"
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
    """Return whether nothing is piped in."""
    return sys.stdin.isatty()
