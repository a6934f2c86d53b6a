"""``factrfm keys``: make, list and revoke the keys of callers, in the database that the settings name."""

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from service.commands.session import output_width, stdin_is_terminal, table
from service.errors import WrongSetting
from service.local import preflight
from service.settings import ServiceSettings, read_settings
from worker.contracts.errors import FactRFMError
from worker.contracts.keys import Scope

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
ADMIN = (
    "read and write, that is everything in the key's project, and /metrics, which tell of the jobs of all projects; "
    "it does not open other projects, and makes no keys"
)
FIRST = (
    "from now on every caller needs a key, programs and browsers alike, and /metrics one with the scope admin. "
    "A running API follows within seconds. Revoking the key does not open the service again"
)
keys = typer.Typer(help="Make, list and revoke the keys of callers.", no_args_is_help=True)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    project: Annotated[
        str, typer.Option(help="Whose datasets, jobs and models it opens; a new name is a new project.")
    ] = "default",
    scope: Annotated[
        list[Scope] | None,
        typer.Option(
            help="read: look, download, predict. write: upload, train, change and delete. admin: both, and /metrics, "
            "which tell of all projects. May be repeated. Default: read and write."
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask before the first key of a service that is used.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once: only a digest is kept.

    Before the first key everybody on the machine may call. From then on every caller needs one.
    """
    if not name.strip():
        raise WrongSetting("the key's name is empty; say what the key is for")
    scopes = scope or [Scope.READ, Scope.WRITE]
    settings = read_settings(ServiceSettings)
    where = preflight.shown_address(settings.database_address)
    with _open(make=True) as (store, database):
        projects = [project]
        if not settings.api_keys and not store.any_made(database):
            projects += _before_the_first(database, name, project, where, ask=stdin_is_terminal() and not yes)
        if Scope.ADMIN in scopes:
            typer.echo(f"the scope admin includes {ADMIN}", err=True)
        try:
            now = datetime.now(UTC)
            made = [store.create(database, project=owner, name=name, scopes=scopes, now=now) for owner in projects]
        except FactRFMError as error:
            raise WrongSetting(error.detail) from error
    for key, text in made:
        if as_json:
            typer.echo(json.dumps({**key.model_dump(mode="json"), "key": text}))
            continue
        opens = f"{key.id} opens the project {key.project!r} for {', '.join(key.scopes)}, in the service of {where}"
        typer.echo(f"{opens}. It is not shown again:", err=True)
        typer.echo(text)


def _before_the_first(database: Any, name: str, project: str, where: str, *, ask: bool) -> list[str]:
    """Print what the first key of a used service changes; return other projects that get a key too.

    Raises:
        Abort: the user declines.
    """
    from worker.store import holdings, locks

    held = holdings.by_project(database)
    if not held and not locks.is_held(database, locks.RECONCILER, datetime.now(UTC)):
        # no API has run for a while, and none has stored anything
        return []
    typer.echo(f"this is the first key of the service of {where}: {FIRST}", err=True)
    others = sorted(set(held) - {project})
    for other in others:
        counts = ", ".join(f"{noun} {count}" for noun, count in held[other].items())
        typer.echo(f"the project {other!r} holds {counts}; a key of {project!r} does not open them", err=True)
    if not ask:
        for other in others:
            typer.echo(f"a key for them: factrfm keys create {shlex.quote(name)} --project {other}", err=True)
        return []
    typer.confirm("make the key?", abort=True, err=True)
    question = "make a key for the project {!r} as well?"
    return [other for other in others if typer.confirm(question.format(other), True, err=True)]


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show every key that was made, without its secret."""
    with _open() as (store, database):
        listed = store.list_all(database)
    if as_json:
        typer.echo(json.dumps([key.model_dump(mode="json") for key in listed], indent=2))
        return
    rows = [
        (key.id, key.project, key.name, ", ".join(key.scopes), key.created_at, key.revoked_at or "") for key in listed
    ]
    Console(width=output_width()).print(table(("id", "project", "name", "scopes", "created", "revoked"), rows))


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id that begins with key_.")], as_json: AsJson = False
) -> None:
    """Let a key open nothing from now on; a running API follows within seconds."""
    with _open() as (store, database):
        # a pasted key stands for its id; its secret is not printed
        key_id = key_id.partition(store.MARK)[0]
        try:
            revoked = store.revoke(database, key_id, datetime.now(UTC))
        except FactRFMError as error:
            raise WrongSetting(error.detail) from error
    typer.echo(revoked.model_dump_json() if as_json else f"{key_id} is revoked")


@contextmanager
def _open(*, make: bool = False) -> Iterator[tuple[Any, Any]]:
    """Yield the store of keys and the database. Only ``make`` creates the database.

    Raises:
        WrongSetting: there is no database.
    """
    from worker.store import keys as store

    settings = read_settings(ServiceSettings)
    if not make and settings.database_url is None and not settings.home.exists():
        raise WrongSetting(
            f"FACTRFM_HOME is {settings.home.absolute()}: there is no service's folder; it must be that of the service"
        )
    preflight.check_state(settings)
    with preflight.open_database(settings, migrate=True) as database:
        yield store, database
