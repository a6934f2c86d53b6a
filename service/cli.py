"""The command ``factrfm``."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import uvicorn
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table

from service.settings import ServiceSettings
from worker.settings import SharedSettings, WorkerSettings

app = typer.Typer(no_args_is_help=True, add_completion=True, pretty_exceptions_enable=False, rich_markup_mode=None)
LOOPBACK = ("127.0.0.1", "::1", "localhost")
GRACE_SECONDS = 10


@app.command()
def up(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the API.")] = 8000,
    home: Annotated[Path, typer.Option(help="Folder of all state.")] = Path(".factrfm"),
    host: Annotated[str, typer.Option(help="Address of the API; other than loopback needs FACTRFM_API_KEYS.")] = (
        "127.0.0.1"
    ),
) -> None:
    """Start everything on this machine: queue, worker, API. Ctrl-C stops all of it."""
    from service.embedded import CannotStart, Embedded

    console = Console()
    settings = _settings(ServiceSettings, host=host, port=port, home=home)
    _check_exposure(settings)
    parts = Embedded(home, port, host, lambda text: console.print(text, highlight=False, markup=False))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: parts.stopping.set())
    threading.Thread(target=_announce, args=(parts, console), daemon=True).start()
    try:
        parts.run()
    except CannotStart as error:
        _give_up(str(error))
    console.print("stopped")


@app.command()
def demo(
    url: Annotated[str | None, typer.Option(help="A running service. Default: start one for the demo.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="FACTRFM_KEY", help="API key, where the service asks for one.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the heatmap is saved.")] = Path("factrfm-demo.png"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the started service running until Ctrl-C.")] = False,
) -> None:
    """Train on a real table over HTTP, compare with a plain kernel machine, show what was learned."""
    from service.demo import DemoFailed, run_demo
    from service.embedded import CannotStart

    console = Console()
    try:
        if url is not None:
            run_demo(url.rstrip("/"), key, out, console)
            return
        with tempfile.TemporaryDirectory(prefix="factrfm-demo-") as folder, _started(Path(folder), console) as address:
            run_demo(address, key, out, console)
            if keep:
                console.print(f"{address} keeps running; Ctrl-C stops it")
                _wait_for_signal()
            else:
                console.print("The service of the demo is stopped now; start your own with: factrfm up", markup=False)
    except (CannotStart, DemoFailed) as error:
        _give_up(str(error))
    except httpx.HTTPError as error:
        _give_up(f"the service cannot be reached: {error}")


@app.command()
def serve() -> None:
    """Run the API alone, with the settings of the environment."""
    settings = _settings(ServiceSettings)
    _check_exposure(settings)
    if not settings.api_keys:
        typer.echo("no FACTRFM_API_KEYS: every caller on this machine is let in, and none from elsewhere", err=True)
    uvicorn.run(
        "service.app:from_environment",
        factory=True,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        server_header=False,
    )


@app.command()
def worker() -> None:
    """Run one worker, with the settings of the environment."""
    _settings(WorkerSettings)
    os.execv(sys.executable, [sys.executable, "-m", "worker.app"])  # noqa: S606 - our own module


@app.command()
def migrate() -> None:
    """Bring the database to the newest revision."""
    from worker.store.database import Database

    database = Database(_settings(ServiceSettings).database_address)
    database.migrate()
    database.dispose()
    typer.echo("the database is at the newest revision")


@app.command()
def check(
    process: Annotated[bool, typer.Option("--worker", help="Look at what a worker needs, not at the API.")] = False,
) -> None:
    """Exit with 0 when the API, or what a worker needs, can be reached: for container health checks."""
    from service.queue import JobQueue
    from worker.store.artifacts import Artifacts
    from worker.store.database import Database

    settings = _settings(ServiceSettings)
    if not process:
        try:
            answer = httpx.get(f"http://127.0.0.1:{settings.port}/readyz", timeout=4)
        except httpx.HTTPError as error:
            _give_up(f"the API does not answer: {error}")
        if answer.status_code != 200:
            _give_up(answer.text)
        return
    database = Database(settings.database_address)
    queue = JobQueue(settings.redis_url.get_secret_value(), settings.queue)
    for name, reach in (
        ("database", database.check),
        ("redis", queue.check),
        ("storage", Artifacts(settings.storage_address).check),
    ):
        try:
            reach()
        except Exception as error:
            _give_up(f"{name} cannot be reached ({type(error).__name__})")


@app.command(name="settings")
def show_settings(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
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


def main() -> None:
    """Run the command line."""
    app()


def _rows() -> Iterator[dict[str, str]]:
    shared, service, own = set(SharedSettings.model_fields), _settings(ServiceSettings), _settings(WorkerSettings)
    for name, info in ServiceSettings.model_fields.items():
        yield _row(name, info, getattr(service, name), "both" if name in shared else "API")
    for name, info in WorkerSettings.model_fields.items():
        if name not in shared:
            yield _row(name, info, getattr(own, name), "worker")


def _row(name: str, info: FieldInfo, value: object, process: str) -> dict[str, str]:
    return {
        "variable": f"FACTRFM_{name.upper()}",
        "process": process,
        "value": _shown(value),
        "default": _shown(info.default),
        "meaning": info.description or "",
    }


def _shown(value: object) -> str:
    if isinstance(value, SecretStr):
        return "redis://127.0.0.1:6379/0" if value.get_secret_value() == "redis://127.0.0.1:6379/0" else "(hidden)"
    if isinstance(value, tuple):
        return f"({len(value)} hidden)" if value else ""
    return "" if value is None else str(value)


def _settings(kind: type[Any], **given: object) -> Any:
    try:
        return kind(**given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = "FACTRFM_" + "_".join(str(step) for step in first["loc"]).upper()
        _give_up(f"{name}: {first['msg']}")


def _check_exposure(settings: ServiceSettings) -> None:
    if settings.host not in LOOPBACK and not settings.api_keys:
        _give_up(
            f"{settings.host} can be reached from other machines, so callers need keys: set FACTRFM_API_KEYS, or "
            "listen on 127.0.0.1"
        )


def _announce(parts: Any, console: Console) -> None:
    parts.ready.wait()
    console.print(f"FACT-RFM is at {parts.url}   (interface: {parts.url}/docs, state: {parts.home})", highlight=False)
    console.print("Ctrl-C stops it", highlight=False)


@contextmanager
def _started(home: Path, console: Console) -> Iterator[str]:
    """Run a service for as long as the block lasts. It is a process of its own, so Ctrl-C here ends it too."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    from service.embedded import CannotStart, wait_until_ready

    console.print("Starting a queue, a worker and the API for the demo")
    log = home / "up.log"
    with log.open("wb") as output:
        arguments = [sys.executable, "-m", "service.cli", "up", "--port", str(port), "--home", str(home / "state")]
        process = subprocess.Popen(arguments, stdout=output, stderr=subprocess.STDOUT)  # noqa: S603 - ourselves
    try:
        if not wait_until_ready(f"http://127.0.0.1:{port}", lambda: process.poll() is None):
            raise CannotStart(log.read_text(errors="replace"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait_for_signal() -> None:
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    done.wait()


def _give_up(message: str) -> Any:
    typer.echo(message, err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    main()
