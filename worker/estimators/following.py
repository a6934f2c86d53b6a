"""What is seen of a fit while it runs, and what is kept of its iterations."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress
from torch import Tensor

from worker.contracts.validation import leading_metric
from worker.engine.choice import CandidateRun
from worker.engine.recursion import FitState

Callback = Callable[[int, dict[str, Any], np.ndarray], Any]
"""Called after every iteration with its number, its line of ``history_`` and the feature matrix (d, d)."""


class Progress:
    """Shows a fit on standard error: nothing for ``verbose`` 0, a bar for 1, a line for each step for more.

    A bar needs a terminal or a notebook; elsewhere, as in a log, its steps are lines too.
    """

    def __init__(self, verbose: int, iterations: int, console: Console | None = None) -> None:
        self._iterations = iterations
        self._console = console or Console(stderr=True)
        self._bar: RichProgress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._lines = verbose > 0
        if verbose == 1 and (self._console.is_terminal or self._console.is_jupyter):
            note = TextColumn("{task.fields[note]}")
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), note)
            self._bar, self._lines = RichProgress(*columns, console=self._console), False

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def run(self, run: CandidateRun, number: int, runs: int) -> None:
        """Show the end of a short run that chooses between options; ``number`` counts from 1."""
        result = f"failed: {run.failed}" if run.failed is not None else f"loss {run.loss[0]:.4g}"
        config = run.candidate.config
        exponent = "" if config.exponent is None else f", exponent {config.exponent:g}"
        options = f"{run.candidate.encoding}, {config.feature_matrix}, {config.update}{exponent}"
        self._step("choosing", number, runs, result, f"choosing {number} of {runs}: {options}: {result}")

    def iteration(self, line: Mapping[str, Any]) -> None:
        """Show the end of an iteration, given its line of the history."""
        number, note = line["iteration"], leading_metric(line)
        text = f"iteration {number} of {self._iterations}: {note}, ridge {line['ridge']:g}, {line['seconds']:.2g} s"
        self._step("fitting", number + 1, self._iterations + 1, note, text)

    def _step(self, stage: str, done: int, total: int, note: str, line: str) -> None:
        if self._lines:
            self._console.print(line, highlight=False, markup=False, soft_wrap=True)
        if self._bar is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._bar.add_task(stage, note="")
            self._bar.update(self._tasks[stage], completed=done, total=total, note=note)


@dataclass(frozen=True)
class Followed:
    """A recursion that has ended: its last state, a line of the history for each iteration, and M of each.

    ``matrices``: (d, d) or (d,) float64 on the CPU, None where they were not to be kept.
    """

    last: FitState
    history: list[dict[str, Any]]
    matrices: list[Tensor] | None


def follow(states: Iterable[FitState], progress: Progress, callbacks: Sequence[Callback], *, keep: bool) -> Followed:
    """Run a recursion to its end. ``keep``: the feature matrix of every iteration."""
    history: list[dict[str, Any]] = []
    matrices: list[Tensor] = []
    for state in states:
        line = _history_line(state)
        history.append(line)
        if keep:
            matrices.append(state.current.M.cpu())
        progress.iteration(line)
        for callback in callbacks:
            callback(line["iteration"], dict(line), full_matrix(state.current.M))
        last = state
    return Followed(last, history, matrices if keep else None)


def full_matrix(M: Tensor) -> np.ndarray:
    """Return a copy of a feature matrix, (d, d) or (d,), as an array (d, d) float64."""
    return np.array((torch.diag(M) if M.ndim == 1 else M).double().cpu().numpy())


def _history_line(state: FitState) -> dict[str, Any]:
    return {
        "iteration": state.current.iteration,
        "ridge": state.current.ridge,
        "bandwidth": state.current.bandwidth,
        "seconds": sum(state.timings.values()),
        **state.current.metrics,
    }
