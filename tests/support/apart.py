"""What may end the process that does it: done in another."""

import faulthandler
import os
import signal
from collections.abc import Callable
from typing import Any


def apart(do: Callable[..., Any], *arguments: Any) -> int:
    """Return how a process ends that does this: 0, 1 for an exception, or the number of its signal below 0."""
    child = os.fork()
    if child == 0:
        faulthandler.disable()
        signal.alarm(60)
        code = 1
        try:
            do(*arguments)
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
