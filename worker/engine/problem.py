"""The two steps of the recursion on the rows and targets of one fit: solve at M, and the next M."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worker.engine.config import FitConfig
from worker.engine.errors import Inconsistent, InvalidConfig, NonFiniteValues, NotConverged, NotPositiveDefinite
from worker.engine.kernels import KernelPoints, median_bandwidth
from worker.engine.kernels.points import predict_rows
from worker.engine.solvers.ridge_solvers import PreparedSystem, Solution, ridge_solver
from worker.engine.targets import Targets
from worker.engine.updates import first_metric, scaled, update_of
from worker.engine.weights import RowWeights

MEDIAN_ROWS = 1000
"""The median distance is taken between so many rows at most, drawn by the seed."""
INCONSISTENT = 0.1
UNSOLVED = (NotPositiveDefinite, NotConverged)
"""What a larger ridge or more digits can mend."""


@dataclass(frozen=True)
class Iterate:
    """One solve: M (d, d) or (d,) in float64, ``alpha`` (n, c), and how it did."""

    iteration: int
    M: Tensor
    alpha: Tensor
    ridge: float
    bandwidth: float | None
    loss: tuple[float, ...] | None
    metrics: dict[str, float]


class Problem:
    """The rows and targets of one fit, and the two steps on them: solve at M, and the next M."""

    def __init__(
        self,
        X: Tensor,
        Y: Tensor,
        targets: Targets,
        config: FitConfig,
        validation: tuple[Tensor, Tensor] | None,
        clock: Callable[[], float] | None,
        *,
        choose: bool = False,
        judge: bool = False,
        weights: RowWeights | None = None,
    ) -> None:
        self.config = config
        # with one iterate there is nothing to choose, but its loss may be wanted all the same
        self.choosing = judge or (choose and config.iterations > 0 and config.update != "none")
        self.kernel = config.kernel_function
        self.targets = targets
        self.raw_Y = Y
        self.X = X.to(config.dtype)
        self.Y = targets.encode(Y).to(config.dtype)
        self.validation = None if validation is None else (validation[0].to(config.dtype), validation[1])
        for name, values in (("X", self.X), ("Y", self.Y)):
            if not bool(torch.isfinite(values).all()):
                raise NonFiniteValues(
                    f"{name} holds NaN or infinite values (as {config.dtype}); look for huge numbers in the columns"
                )
        generator = torch.Generator().manual_seed(config.seed)
        n = X.shape[0]
        drawn = torch.arange(n) if n <= MEDIAN_ROWS else torch.randperm(n, generator=generator)[:MEDIAN_ROWS]
        self.median_rows = drawn.to(X.device)
        self._clock = clock
        self._marks: list[tuple[str, float]] = []
        self._last_points: tuple[Tensor, KernelPoints] | None = None
        leave_one_out = validation is None and (self.choosing or config.ridge == "auto")
        self._weights = weights
        self.weights = None if weights is None else weights.training.to(X.device, config.dtype)
        self._update = update_of(config, self.weights)
        self._solver = ridge_solver(config, leave_one_out=leave_one_out, weights=self.weights)

    def start_timing(self) -> None:
        self._marks = []
        self._mark("start")

    def timings(self) -> dict[str, float]:
        """Return seconds by step, empty without a clock."""
        return {name: ended - began for (_, began), (name, ended) in zip(self._marks, self._marks[1:], strict=False)}

    def first_metric(self, M: Tensor | None) -> Tensor:
        first = first_metric(self.X.shape[1], self.config, self.X.device)
        if M is None:
            return first
        expected = tuple(first.shape)
        if M.shape != expected:
            raise InvalidConfig(f"M must have shape {expected} for feature_matrix, not {tuple(M.shape)}")
        return M.to(self.X.device, torch.float64)

    def next_metric(self, iterate: Iterate) -> Tensor | None:
        """Return the next M, None when the fitted function says nothing of any feature."""
        points = self._points_under(iterate.M)
        following = self._update(points, iterate.alpha, iterate.bandwidth, iterate.M)
        self._mark("update")
        return scaled(following, self.config.scale)

    def feature(self, iterate: Iterate) -> Tensor:
        """Return the feature statistic of an update, (d, d) or (d,) as M is, float64: FACT, or AGOP for 'nfa'."""
        points = self._points_under(iterate.M)
        return self._update.feature(points, iterate.alpha, iterate.bandwidth).double()

    def _points_under(self, metric: Tensor) -> KernelPoints:
        """Return the rows under a metric; the last are kept, for a solve and the update after it share them."""
        if self._last_points is None or self._last_points[0] is not metric:
            self._last_points = (metric, KernelPoints(self.X, metric.to(self.X.dtype), self.kernel, self.config.tile))
        return self._last_points[1]

    def solve(self, metric: Tensor, iteration: int) -> tuple[Iterate, tuple[float, ...]]:
        """Fit at M and return the iterate, with the ridges that could not be used."""
        points, bandwidth, fits, skipped = self._solve_each(metric, iteration)
        self._mark("solve")
        if self.validation is not None:
            outputs = predict_rows(
                self.validation[0], points, torch.cat([fit.solution.alpha for fit in fits], 1), bandwidth
            )
            parts = torch.split(outputs, self.targets.n_outputs, 1)
            fits = [replace(fit, validation_outputs=part) for fit, part in zip(fits, parts, strict=True)]
        fits, skipped = self._drop_non_finite(fits, skipped)
        chosen = min(fits, key=self._loss) if len(fits) > 1 else fits[0]
        judged = self.validation is not None or (self.choosing and chosen.solution.leave_one_out is not None)
        loss = self._loss(chosen) if judged else None
        metrics = self._metrics(chosen)
        self._mark("metrics")
        return Iterate(
            iteration, metric, chosen.solution.alpha, chosen.solution.ridge, bandwidth, loss, metrics
        ), skipped

    def solutions(self, metric: Tensor) -> tuple[float | None, list[Solution]]:
        """Return the bandwidth at M, and the solution for every ridge that can be used, or the first if one is asked.

        Raises:
            NotPositiveDefinite, NotConverged: no ridge can be used.
            NonFiniteValues: the kernel matrix or a solution holds NaN or infinities.
        """
        _, bandwidth, fits, _ = self._solve_each(metric, 0)
        return bandwidth, [fit.solution for fit in fits]

    def _solve_each(
        self, metric: Tensor, iteration: int
    ) -> tuple[KernelPoints, float | None, list["_Fit"], tuple[float, ...]]:
        M = metric.to(self.X.dtype)
        bandwidth = (
            median_bandwidth(self.X, M, self.kernel, self.config.bandwidth_factor, self.median_rows, self.weights)
            if self.config.bandwidth == "median"
            else float(self.config.bandwidth)
        )
        if not self.kernel.has_bandwidth:
            bandwidth = None
        points = self._points_under(metric)
        if self.config.solver == "cg" and self.config.ridge == "auto" and self.validation is None:
            raise InvalidConfig("ridge 'auto' with solver 'cg' needs validation rows: nothing tells the ridges apart")
        system = self._solver.prepare(points, bandwidth, self.config.seed + iteration)
        return points, bandwidth, *self._each_ridge(system)

    def check(self, solved: Iterate) -> None:
        """Compare what a solution predicts for some of its own rows with what it was solved for, Y − λ W⁻¹ alpha.

        Raises:
            Inconsistent: they differ by more than a tenth of the targets' deviation.
        """
        some = self.median_rows
        answers = predict_rows(self.X[some], self._points_under(solved.M), solved.alpha, solved.bandwidth)
        missed = answers - (self.Y - self._missed(solved.ridge, solved.alpha))[some]
        apart = float(missed.square().mean().sqrt())
        if not apart <= INCONSISTENT:
            raise Inconsistent(
                f"the solution of all {len(self.X)} rows misses what it was solved for by {apart:.2g} of the targets' "
                "deviation; look for rows that are far from all others, or use precision 'float64'"
            )

    def _drop_non_finite(
        self, fits: list["_Fit"], skipped: tuple[float, ...]
    ) -> tuple[list["_Fit"], tuple[float, ...]]:
        """Return the fits whose loss is a number, and the ridges skipped, those of the other fits included."""
        if self.validation is None and fits[0].solution.leave_one_out is None:
            return fits, skipped
        finite = [fit for fit in fits if all(map(math.isfinite, self._loss(fit)))]
        if not finite:
            judges = "rows to validate on" if self.validation is not None else "rows left out"
            raise NonFiniteValues(f"the loss on the {judges} is not finite; look for huge inputs or targets in them")
        return finite, (*skipped, *(fit.solution.ridge for fit in fits if not any(fit is kept for kept in finite)))

    def _each_ridge(self, system: PreparedSystem) -> tuple[list["_Fit"], tuple[float, ...]]:
        """Return the fit of every ridge to choose from, or of the first that can be solved, and those that cannot."""
        ridges = self.config.ridges_to_try
        fits: list[_Fit] = []
        skipped: list[float] = []
        for ridge in ridges:
            try:
                fits.append(_Fit(system.solve(ridge, self.Y)))
            except UNSOLVED:
                if ridge == ridges[-1] and not fits:
                    raise
                skipped.append(ridge)
            else:
                if self.config.ridge != "auto":
                    break
        return fits, tuple(skipped)

    def _loss(self, fit: "_Fit") -> tuple[float, ...]:
        """Return the loss on validation rows, or else of the rows left out."""
        if self.validation is not None and fit.validation_outputs is not None:
            return self.targets.loss(fit.validation_outputs, self.validation[1], self._validation_weights)
        if fit.solution.leave_one_out is not None:
            return self.targets.loss(self.Y - fit.solution.leave_one_out, self.raw_Y, self.weights)
        raise ValueError("a fit without validation rows and leave-one-out residuals has no loss")

    def _metrics(self, fit: "_Fit") -> dict[str, float]:
        # the residual is free, with what the solver left over
        outputs = self.Y - self._missed(fit.solution.ridge, fit.solution.alpha)
        if fit.solution.residual is not None:
            outputs -= fit.solution.residual
        own = self.targets.metrics(outputs, self.raw_Y, self.weights)
        metrics = {f"train_{name}": value for name, value in own.items()}
        metrics |= fit.solution.stats
        if self.validation is not None and fit.validation_outputs is not None:
            held_out = self.targets.metrics(fit.validation_outputs, self.validation[1], self._validation_weights)
            metrics |= {f"validation_{name}": value for name, value in held_out.items()}
        if fit.solution.leave_one_out is not None:
            leave_one_out = self.targets.metrics(self.Y - fit.solution.leave_one_out, self.raw_Y, self.weights)
            metrics |= {f"leave_one_out_{name}": value for name, value in leave_one_out.items()}
        return metrics

    def _missed(self, ridge: float, alpha: Tensor) -> Tensor:
        """Return Y − f(X) of a solution, (n, c): λ W⁻¹ alpha."""
        return ridge * (alpha if self.weights is None else alpha / self.weights.unsqueeze(1))

    @property
    def _validation_weights(self) -> Tensor | None:
        return None if self._weights is None else self._weights.validation

    def _mark(self, name: str) -> None:
        if self._clock is not None:
            self._marks.append((name, self._clock()))


@dataclass(frozen=True)
class _Fit:
    """One ridge's solution, and its outputs of the validation rows (m, c)."""

    solution: Solution
    validation_outputs: Tensor | None = None
