"""Health checks of containers, answered without the libraries of the command line.

Such a check runs every few seconds for as long as its container does. The whole program takes most of a second of CPU
time only to be loaded, so what can be asked without it is asked here, by the standard library.
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


def answer(arguments: Sequence[str]) -> int | None:
    """Return the exit code of a command line that is a plain health check, None of any other.

    What is wrong is said on standard error.
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
    """Return why the API at ``url`` is not ready, None where it is."""
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
    """Return where the API is; None where a variable is not as it should be, which the whole program explains."""
    port = os.environ.get("FACTRFM_PORT", "8000")
    return local_url(os.environ.get("FACTRFM_HOST", "127.0.0.1"), int(port)) if port.isdecimal() else None
