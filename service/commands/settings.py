"""``factrfm settings``: every setting with its variable, value, default and meaning; secrets are hidden."""

import json
import re
from collections.abc import Iterator
from typing import Annotated

import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table

from service.commands.keys import AsJson
from service.local import preflight
from service.settings import ServiceSettings, read_every_setting, variable
from worker.settings import SharedSettings, WorkerSettings

PASSWORD = re.compile(r"://[^/@\s]*@")
ADDRESSES = ("storage_url", "otlp_endpoint")
"""Settings whose address may contain a password."""


def show_settings(
    as_json: AsJson = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table of the README.")] = False,
) -> None:
    """Show every setting: its variable, value, default and meaning. Secrets are hidden."""
    rows = list(_rows())
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif markdown:
        typer.echo("| variable | of | default | meaning |\n|---|---|---|---|")
        for row in rows:
            typer.echo(f"| `{row['variable']}` | {row['process']} | {row['default']} | {row['meaning']} |")
    else:
        table = Table("variable", "of", "value", "default", "meaning")
        for row in rows:
            table.add_row(row["variable"], row["process"], row["value"], row["default"], row["meaning"])
        Console().print(table)


def _rows() -> Iterator[dict[str, str]]:
    shared = set(SharedSettings.model_fields)
    service, worker = read_every_setting()
    for name, info in ServiceSettings.model_fields.items():
        yield _row(name, info, getattr(service, name), "both" if name in shared else "API")
    for name, info in WorkerSettings.model_fields.items():
        if name not in shared:
            yield _row(name, info, getattr(worker, name), "worker")


def _row(name: str, info: FieldInfo, value: object, process: str) -> dict[str, str]:
    return {
        "variable": variable(name, info),
        "process": process,
        "value": preflight.shown_address(value) if name in ADDRESSES and isinstance(value, str) else _shown(value),
        "default": _shown(info.default),
        "meaning": info.description or "",
    }


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "redis://127.0.0.1:6379/0" if value.get_secret_value() == "redis://127.0.0.1:6379/0" else "(hidden)"
    if isinstance(value, tuple):
        return f"({len(value)} hidden)" if value else ""
    return "" if value is None else PASSWORD.sub("://(hidden)@", str(value))
