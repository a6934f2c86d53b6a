"""The command ``factrfm``. An error that the caller can fix ends it with one message and an exit code."""

import errno
import json
import os
import signal
import sys
import threading
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from service.commands import datasets, doctor, jobs, manual, models, registry, results, training
from service.commands.keys import AsJson, keys
from service.commands.settings import show_settings
from service.errors import CannotStart, CommandError, WrongSetting
from service.local import health_check, preflight
from service.runtime import memory
from service.settings import ServiceSettings, read_every_setting, read_settings
from worker.environment import cgroup
from worker.environment.home import open_to_others
from worker.settings import SharedSettings, WorkerSettings
from worker.telemetry import heartbeat
from worker.telemetry.logs import configure_logging

CALLING = "With a running service"
METRICS = ("FACTRFM_METRICS_HOST", "FACTRFM_METRICS_PORT")
CELERY_OPTIONS = ("APP", "BROKER_URL", "CONFIG_MODULE", "LOADER", "RESULT_BACKEND", "SKIP_CHECKS")
"""Variables that Celery's command line reads as flags. They must not reach the worker process."""


class Commands(TyperGroup):
    """The group of all commands, which prints their errors."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command. A ``CommandError`` becomes its message and its exit code."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(error.exit_code) from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                # the reader of a pipe has closed it
                raise
            typer.echo(f"{error.filename}: {error.strerror}" if error.filename else str(error), err=True)
            raise typer.Exit(CannotStart.exit_code) from error


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"factrfm {metadata.version('factrfm')}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    help=manual.ABOUT,
    epilog=manual.ENDINGS,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Take the options before the command's name."""


@app.command()
def up(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the API. Default: FACTRFM_PORT, or 8000.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Folder of all state. Default: FACTRFM_HOME, or .factrfm.")] = None,
    host: Annotated[
        str | None,
        typer.Option(
            help="Address of the API. Other than loopback needs FACTRFM_API_KEYS. Default: FACTRFM_HOST, or 127.0.0.1."
        ),
    ] = None,
    workers: Annotated[
        int,
        typer.Option(min=1, max=64, help="Workers, which share the processors: more jobs, or parts of one, at once."),
    ] = 1,
) -> None:
    """Start everything on this machine: queue, workers, API. Ctrl-C stops all of it."""
    from service.local.embedded import Embedded

    flags = {"port": port, "home": home, "host": host}
    settings, _ = read_every_setting(**{name: value for name, value in flags.items() if value is not None})
    if settings.port == 0:
        raise WrongSetting("FACTRFM_PORT is 0: up needs a port that callers can be told, from 1 to 65535")
    preflight.check_packages()
    preflight.check_exposure(settings)
    preflight.check_state(settings)
    _warn_of_open_home(settings)
    if "redis_url" in settings.model_fields_set:
        preflight.reach_queue(settings)
    elif settings.redis_password is not None:
        raise WrongSetting("FACTRFM_REDIS_PASSWORD is set without FACTRFM_REDIS_URL: the queue that up runs has none")
    console = Console()
    stack = Embedded(settings, lambda text: console.print(text, highlight=False, markup=False), workers)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stack.stopping.set())
    threading.Thread(target=_announce, args=(stack, console), daemon=True).start()
    stack.run()
    console.print("stopped")


@app.command()
def demo(
    url: Annotated[str | None, typer.Option(help="A running service. Default: start one for the demo.")] = None,
    key: Annotated[
        str | None, typer.Option(envvar="FACTRFM_API_KEY", help="API key for --url, where that service asks for one.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the heatmap is saved.")] = Path("factrfm-demo.png"),
    keep: Annotated[bool, typer.Option("--keep", help="Leave the started service running until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train on a real table over HTTP, compare with a plain kernel machine, show what was learned."""
    from service.local.demo import check_picture, run_demo
    from service.local.embedded import private_service

    # standard output is for JSON alone
    console = Console(stderr=as_json)
    check_picture(out)
    if url is not None:
        result = run_demo(url, key, out, console)
        console.print(f"The HTTP interface, to try by hand: {url}/docs")
        if as_json:
            typer.echo(json.dumps(result, indent=2))
        return
    _leave_on_signals()
    preflight.check_packages()
    with private_service(console.print) as (address, service):
        result = run_demo(address, None, out, console)
        if as_json:
            typer.echo(json.dumps(result, indent=2))
        if keep:
            console.print(f"{address} keeps running, and {address}/docs is for trying by hand; Ctrl-C stops it")
            with suppress(SystemExit):
                service.wait()
                raise CannotStart(f"{service.name} ended by itself:\n{service.last_lines()}")
            return
        console.print("The service of the demo is stopped now; start your own with: factrfm up", markup=False)


@app.command("serve")
def serve_api() -> None:
    """Run the API alone, with the settings of the environment."""
    settings = read_settings(ServiceSettings)
    settings = _fit_to_container(settings)
    preflight.check_packages()
    preflight.check_exposure(settings)
    preflight.check_state(settings)
    _warn_of_open_home(settings)
    preflight.check_port(settings.host, settings.port)
    _migrate_and_warn_without_keys(settings)
    # torch reads its number of threads from there when it is imported
    os.environ.update(cgroup.thread_environment(os.environ))
    from service.server import serve

    configure_logging(settings.log_level, settings.log_format)
    serve(settings)


@app.command()
def worker() -> None:
    """Run one worker, with the settings of the environment."""
    settings = read_settings(WorkerSettings)
    preflight.check_packages()
    preflight.check_state(settings)
    _warn_of_open_home(settings)
    preflight.check_device(settings.device)
    if settings.metrics_port is not None:
        preflight.check_port(settings.metrics_host, settings.metrics_port, METRICS)
    preflight.reach_database(settings, migrate=True)
    environment = {name: value for name, value in os.environ.items() if name not in CELERY_OPTIONS}
    # without -P a folder ``worker`` in the current directory would be imported
    program = [sys.executable, "-P", "-m", "worker.app"]
    os.execve(sys.executable, program, environment)  # noqa: S606 - our own module


for command in (
    datasets.upload,
    datasets.datasets,
    training.fit,
    training.tune,
    training.network,
    training.batch,
    jobs.jobs,
    jobs.watch,
    jobs.parts,
    jobs.cancel,
    jobs.retry,
    results.trials,
    results.report,
    models.models,
    models.features,
    models.leaves,
    models.predict,
    models.explain,
    models.export,
    registry.describe,
    registry.promote,
    registry.compare,
    registry.delete,
    doctor.doctor,
):
    app.command(rich_help_panel=CALLING)(command)
app.add_typer(keys, name="keys")


@app.command()
def migrate(
    look: Annotated[
        bool, typer.Option("--check", help="Change nothing; exit with 1 when there is something to do.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring the database to the newest revision."""
    settings = read_settings(ServiceSettings)
    preflight.check_state(settings)
    with preflight.open_database(settings, migrate=False) as database:
        before, after = database.revisions() if look else database.migrate()
    if look and before != after:
        raise CannotStart(f"the database is at revision {before or 'none'}, the newest is {after}")
    if as_json:
        typer.echo(json.dumps({"before": before, "after": after}))
        return
    was = "" if look else f"; it was at {before or 'none'}"
    typer.echo(f"the database is at the newest revision, {after}{was}")


@app.command()
def check(
    process: Annotated[
        bool, typer.Option("--worker", help="Look at the workers of this machine, not at the API.")
    ] = False,
    ready: Annotated[
        bool, typer.Option("--ready", help="With --worker: reach what a worker needs. No worker has to run.")
    ] = False,
) -> None:
    """Exit with 0 when the API is ready, or when workers run here and none hangs: for container health checks.

    A worker's health is its own: it does not suffer from a database that is away, which --ready asks for.
    """
    if ready and not process:
        raise WrongSetting("--ready belongs to --worker: the API is asked whether it is ready anyway")
    settings = read_settings(ServiceSettings)
    if ready:
        preflight.check_state(settings)
        preflight.reach_database(settings, migrate=False)
        preflight.reach_queue(settings)
        preflight.reach_storage(settings)
        return
    fault = heartbeat.check(os.environ) if process else health_check.find_fault_of_api(settings.local_url)
    if fault is not None:
        raise CannotStart(fault)


def _fit_to_container(settings: ServiceSettings) -> ServiceSettings:
    """Return settings that fit the memory of this container, and print which defaults were lowered."""
    limit = cgroup.memory_limit()
    lowered = memory.fit_to_limit(settings, limit)
    if limit is not None and lowered is not settings:
        changed = {name for name in type(lowered).model_fields if getattr(lowered, name) != getattr(settings, name)}
        names = ", ".join(f"FACTRFM_{name.upper()} {getattr(lowered, name)}" for name in sorted(changed))
        typer.echo(f"the container may take {limit} bytes of memory, so defaults are lowered: {names}", err=True)
    return lowered


def _warn_of_open_home(settings: SharedSettings) -> None:
    fault = open_to_others(settings.home)
    if fault is not None:
        typer.echo(f"FACTRFM_HOME: {fault}", err=True)


def _migrate_and_warn_without_keys(settings: ServiceSettings) -> None:
    """Migrate the database, and warn where callers need no key."""
    from worker.store.keys import any_made

    with preflight.open_database(settings, migrate=True) as database:
        if not settings.api_keys and not any_made(database):
            typer.echo("no keys: every caller on this machine is let in, and none from elsewhere", err=True)


app.command(name="settings")(show_settings)
manual.add_examples(app)


def main() -> None:
    """Run the command line."""
    app()


def _announce(stack: Any, console: Console) -> None:
    stack.ready.wait()
    console.print(
        f"FACT-RFM is at {stack.url}   (a dashboard in a browser; interface: {stack.url}/docs, state: {stack.home})",
        highlight=False,
    )
    console.print("Ctrl-C stops it", highlight=False)


def _leave_on_signals() -> None:
    """Raise SystemExit on the first signal, and ignore others during the clean-up."""
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    handled = [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]

    def leave(received: int, _: FrameType | None) -> None:
        for number in handled:
            signal.signal(number, signal.SIG_IGN)
        raise SystemExit(128 + received)

    for number in handled:
        signal.signal(number, leave)


if __name__ == "__main__":
    main()
