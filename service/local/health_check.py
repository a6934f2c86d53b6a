"""Health checks of containers with the standard library alone.

Such a check runs every few seconds, and importing the whole command line takes most of a second of CPU time.
"""

import http.client
import os
import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from worker.environment.addresses import local_url
from worker.telemetry import heartbeat

API_SECONDS = 4
SHOWN = 500


def run(arguments: Sequence[str]) -> int | None:
    """Return the exit code of a plain health check; None for other command lines.

    A failure is printed to standard error.
    """
    if list(arguments) == ["check", "--worker"]:
        fault = heartbeat.check(os.environ)
    elif list(arguments) == ["check"] and (url := _plain_url()) is not None:
        fault = find_fault_of_api(url)
    else:
        return None
    if fault is not None:
        sys.stderr.write(f"{fault}\n")
    return 0 if fault is None else 1


def find_fault_of_api(url: str) -> str | None:
    """Return why the API at ``url`` is not ready; None if it is ready."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=API_SECONDS)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        text = response.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"no API answers at {url}: {error}"
    finally:
        connection.close()
    return None if response.status == 200 else f"{url} is not ready, it answered {response.status}: {text[:SHOWN]}"


def _plain_url() -> str | None:
    """Return the URL of the API; None for an invalid port, which the full command line reports."""
    port = os.environ.get("FACTRFM_PORT", "8000")
    return local_url(os.environ.get("FACTRFM_HOST", "127.0.0.1"), int(port)) if port.isdecimal() else None
