"""A progress bar on the terminal."""

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from service.client.errors import ClientError
from service.client.events import AnyEvent
from worker.contracts.events import IterationEvent, LogEvent, StateEvent, StepEvent
from worker.contracts.resources import Job, Upload
from worker.contracts.validation import leading_metric

LOOK_SECONDS = 1.0


class ProgressBar:
    """Shows events on standard error: ``with ProgressBar() as bar: client.fit(…, report=bar)``.

    Events come when something is measured. With ``look``, which returns the job as it stands, the bar also moves and
    names the stage in between.
    """

    def __init__(
        self, label: str = "job", console: Console | None = None, look: Callable[[], Job] | None = None
    ) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %") if look else TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._progress = Progress(*columns, console=console or Console(stderr=True))
        self._task = self._progress.add_task(label, total=1, note="")
        self._look = look
        self._measured = ""
        self._ended = threading.Event()
        self._watching = threading.Thread(target=self._watch, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._progress.start()
        if self._look is not None:
            self._watching.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._progress.stop()

    def __call__(self, event: AnyEvent) -> None:
        """Show one event."""
        if isinstance(event, LogEvent):
            self._progress.console.print(event.data.message, highlight=False, markup=False)
        elif isinstance(event, StateEvent):
            if event.data.state == "succeeded":
                self._ended.set()
                total = self._progress.tasks[self._task].total
                self._progress.update(self._task, completed=total)
            self._progress.update(self._task, note=event.data.state)
        else:
            self._measured = leading_metric(event.data.metrics)
            if self._look is None:
                done, total = _position(event)
                self._progress.update(self._task, completed=done, total=total, note=self._measured)

    def _watch(self) -> None:
        while self._look is not None and not self._ended.wait(LOOK_SECONDS):
            try:
                job = self._look()
            except ClientError:
                # the wait for the job raises it
                continue
            if job.state == "running" and not self._ended.is_set():
                parts = job.progress.parts
                shared = "" if parts is None else f"{parts.done} of {parts.total} parts"
                note = ", ".join(filter(None, (job.progress.stage, shared, self._measured)))
                self._progress.update(self._task, completed=job.progress.fraction, total=1, note=note)


class UploadBar:
    """Shows how much of a file has arrived, where it is sent in parts, and says how to resume the upload."""

    def __init__(self, path: Path, console: Console) -> None:
        self._path = path
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn(), console=console
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # one that was never shown would leave an empty line
        if self._task is not None:
            self._progress.stop()

    def __call__(self, upload: Upload, done: int) -> None:
        """Show that ``done`` bytes of the upload are there."""
        if self._task is None:
            console = self._progress.console
            how = f"if it is interrupted: factrfm upload {self._path} --resume {upload.id}"
            console.print(
                f"{self._path} is sent in {upload.total_parts} parts; {how}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )
            self._task = self._progress.add_task("upload", total=upload.bytes)
            self._progress.start()
        self._progress.update(self._task, completed=done)
        if done == upload.bytes:
            self._progress.update(self._task, description="reading")


Bar = ProgressBar
"""The old name of ``ProgressBar``."""


def _position(event: AnyEvent) -> tuple[int, int]:
    if isinstance(event, IterationEvent):
        return event.data.iteration + 1, event.data.iterations + 1
    if isinstance(event, StepEvent):
        return event.data.step, event.data.steps
    assert event.type == "trial"  # noqa: S101 - the other types are handled above
    return event.data.trial, event.data.trials
