"""The API or a worker with a clock that can be moved: ``python -m benchmarks.faulting.skewed api|worker``.

The clock is the machine's plus the seconds in the file that FAULTS_CLOCK names. The programs know nothing of it: both
take their clock as an argument.
"""

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

OFFSET = Path(os.environ["FAULTS_CLOCK"])


def skewed_now() -> datetime:
    """Return the moment as the moved clock tells it."""
    return datetime.now(UTC) + timedelta(seconds=float(OFFSET.read_text()))


def api() -> int:
    from service.server import serve
    from service.settings import ServiceSettings
    from worker.telemetry.logs import configure_logging

    settings = ServiceSettings()
    configure_logging(settings.log_level, settings.log_format)
    serve(settings, now=skewed_now)
    return 0


def worker() -> int:
    import worker.app

    return worker.app.main(now=skewed_now)


if __name__ == "__main__":
    sys.exit({"api": api, "worker": worker}[sys.argv[1]]())
