"""What followers of a fit see of each iteration: its figures, and remarks about what was changed on the way."""

from typing import Any

import torch

from worker.contracts.events import IterationData, LogData
from worker.engine import summary
from worker.engine.config import FitConfig
from worker.engine.recursion import FitState
from worker.training.rows import TrainingRows

TOP_FEATURES = 10


class Iterations:
    """The iterations of one recursion over ``rows``; ``fold`` as of ``IterationData``.

    ``columns``: see ``Checkpoints.save_matrix``.
    """

    def __init__(self, rows: TrainingRows, config: FitConfig, device: torch.device, fold: int | None) -> None:
        weights = None if rows.weights is None else rows.weights.training
        variances = summary.checked(summary.variances(rows.X, weights=weights))
        self.columns: dict[str, list[Any]] = {
            "names": list(rows.encoder.names),
            "sources": list(rows.encoder.sources),
            "variances": variances.tolist(),
        }
        self._variances = variances.to(device)
        self._config = config
        self._fold = fold
        self._warned_precision = False

    def remarks(self, state: FitState) -> list[LogData]:
        """Return what to log of the newest iteration."""
        current, config = state.current, self._config
        remarks = [
            LogData(
                level="warning",
                message=f"iteration {current.iteration}: ridge {ridge:g} was skipped, its system could not be solved",
            )
            for ridge in state.skipped_ridges
        ]
        if current.alpha.dtype != config.dtype and not self._warned_precision:
            self._warned_precision = True
            message = f"from iteration {current.iteration} on in float64: float32 could not solve ridge {config.ridge}"
            remarks.append(LogData(level="warning", message=message))
        if state.stopped in ("patience", "no_signal"):
            remarks.append(LogData(message=f"stopped after iteration {current.iteration}: {state.stopped}"))
        return remarks

    def data(self, state: FitState) -> IterationData:
        """Return the figures of the newest iteration."""
        current = state.current
        eigenvalues = summary.eigenvalues(current.M)
        leading = summary.leading(current.M, self._variances, TOP_FEATURES)
        return IterationData(
            iteration=current.iteration,
            iterations=self._config.iterations,
            metrics=current.metrics,
            ridge=current.ridge,
            bandwidth=current.bandwidth,
            trace=float(eigenvalues.sum()),
            effective_rank=summary.effective_rank(eigenvalues),
            top=[self.columns["names"][index] for index in leading],
            seconds=sum(state.timings.values()),
            fold=self._fold,
        )
