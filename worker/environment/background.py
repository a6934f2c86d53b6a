"""A background thread that runs during a ``with`` block."""

import threading
from abc import ABC, abstractmethod
from contextvars import copy_context
from types import TracebackType
from typing import Self


class Background(ABC):
    """Run ``_run`` in a thread from ``__enter__`` to ``__exit__``, and not after that.

    ``_run`` returns soon after ``_ended`` is set.
    """

    def __init__(self, name: str) -> None:
        self._ended = threading.Event()
        # the thread logs with the context of the attempt
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    @abstractmethod
    def _run(self) -> None:
        """Do the work of the thread."""
