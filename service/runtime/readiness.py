"""Checks of the dependencies of the service."""

from collections.abc import Callable

import structlog
from prometheus_client import Gauge
from pydantic import BaseModel

from service.runtime.context import Context

log = structlog.get_logger()
READY = Gauge("factrfm_ready", "Whether a part was in reach when /readyz was last asked", ["part"])


class Check(BaseModel):
    """One thing that the service needs."""

    ok: bool
    detail: str = ""


def find_checks(context: Context) -> dict[str, Check]:
    """Check all dependencies; return the results by name."""
    checks = {
        "database": _check("database", context.database.check),
        "redis": _check("redis", context.queue.check),
        "storage": _check("storage", context.artifacts.check),
    }
    if context.draining.begun:
        checks["process"] = Check(ok=False, detail="this process is stopping; ask another")
    for name, check in checks.items():
        READY.labels(name).set(check.ok)
    return checks


def _check(name: str, reach: Callable[[], None]) -> Check:
    try:
        reach()
    except Exception as error:
        log.warning("not ready", part=name, error=type(error).__name__)
        return Check(ok=False, detail=f"{name} cannot be reached ({type(error).__name__})")
    return Check(ok=True)
