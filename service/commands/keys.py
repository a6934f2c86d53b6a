"""``factrfm keys``: make, list and revoke the keys of callers, in the database that the settings name."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console

from service import preflight
from service.commands.session import output_width, table
from service.complaints import WrongSetting
from service.settings import ServiceSettings, read_settings
from worker.contracts.errors import FactRFMError
from worker.contracts.keys import Scope

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
keys = typer.Typer(help="Make, list and revoke the keys of callers.", no_args_is_help=True)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    project: Annotated[
        str, typer.Option(help="Whose datasets, jobs and models it opens; a new name is a new project.")
    ] = "default",
    scope: Annotated[list[Scope] | None, typer.Option(help="May be repeated. Default: read and write.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once: only a digest is kept."""
    if not name.strip():
        raise WrongSetting("the key's name is empty; say what the key is for")
    with _open(make=True) as (store, database):
        try:
            key, text = store.create(
                database, project=project, name=name, scopes=scope or [Scope.READ, Scope.WRITE], now=datetime.now(UTC)
            )
        except FactRFMError as error:
            raise WrongSetting(error.detail) from error
    if as_json:
        typer.echo(json.dumps({**key.model_dump(mode="json"), "key": text}))
        return
    where = preflight.shown_address(read_settings(ServiceSettings).database_address)
    opens = f"{key.id} opens the project {key.project!r} for {', '.join(key.scopes)}, in the service of {where}"
    typer.echo(f"{opens}. It is not shown again:", err=True)
    typer.echo(text)


@keys.command("list")
def list_keys(as_json: AsJson = False) -> None:
    """Show every key that was made, without its secret."""
    with _open() as (store, database):
        found = store.list_all(database)
    if as_json:
        typer.echo(json.dumps([key.model_dump(mode="json") for key in found], indent=2))
        return
    rows = [
        (key.id, key.project, key.name, ", ".join(key.scopes), key.created_at, key.revoked_at or "") for key in found
    ]
    Console(width=output_width()).print(table(("id", "project", "name", "scopes", "created", "revoked"), rows))


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id that begins with key_.")], as_json: AsJson = False
) -> None:
    """Let a key open nothing from now on; a running API follows within seconds."""
    with _open() as (store, database):
        # whoever pastes the whole key means its id; the secret is not said again
        own_id = key_id.partition(store.MARK)[0]
        try:
            found = store.revoke(database, own_id, datetime.now(UTC))
        except FactRFMError as error:
            raise WrongSetting(error.detail) from error
    typer.echo(found.model_dump_json() if as_json else f"{own_id} is revoked")


@contextmanager
def _open(*, make: bool = False) -> Iterator[tuple[Any, Any]]:
    """Yield the store of keys and the database that holds them; only ``make`` begins one.

    Raises:
        WrongSetting: there is none.
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
