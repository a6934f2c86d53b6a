"""The estimator of numbers."""

from typing import Any

import numpy as np
from sklearn.base import RegressorMixin

from worker.estimators.base import FactRFM
from worker.estimators.targets import regression_array
from worker.serving.model import ServedModel


class FactRFMRegressor(RegressorMixin, FactRFM):  # type: ignore[misc]
    """FACT-RFM for one or several outputs. The parameters are those of the service's training spec, and these.

    ``validation_fraction``: share of the rows that select the iteration, or None. ``device``: as of torch.
    ``random_state``: a number takes the place of ``seed``, a RandomState draws another at every fit; None, the default,
    leaves ``seed``. ``verbose``: 0 is silent, 1 shows a progress bar on standard error (lines, where that is no
    terminal), 2 always lines. ``callbacks``: functions that are called after each iteration with its number, its line
    of ``history_`` and M (d, d). ``keep_feature_matrices``: whether ``feature_matrices_`` is kept.

    Learned: ``feature_matrix_`` (d, d) over ``encoded_feature_names_``, ``feature_importances_`` by column, summing to
    1, ``features_learned_``, whether ``feature_matrix_`` is another one than the identity that a fit begins with,
    ``history_`` and ``feature_matrices_`` (n_iter_, d, d) by iteration, ``best_iteration_`` and what it was
    ``chosen_by_``, ``spec_`` with every choice made before the first iteration, ``choices_`` that led there, and
    ``refitted_``, whether validation rows joined the last solve, and ``validation_chose_``, what those rows also chose:
    their figures in ``history_`` are then too good.
    """

    def predict(self, X: Any) -> np.ndarray:
        """Return (n,) or, for several outputs, (n, c), in the units of y."""
        outputs: np.ndarray = self._answer(X).predictions.astype(np.float64)
        return outputs[:, 0] if self._flat else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags

    def _targets(self, y: Any) -> tuple[np.ndarray, list[Any] | None]:
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        Y = regression_array(y)
        self._flat = Y.ndim == 1
        Y = Y.reshape(len(Y), -1)
        return Y, None

    def _codes(self, y: Any, classes: list[Any] | None) -> np.ndarray:
        Y: np.ndarray = regression_array(y)
        return Y.reshape(len(Y), -1)

    def _set_model_attributes(self, model: ServedModel) -> None:
        self._flat = getattr(self, "_flat", len(model.targets) == 1)
        super()._set_model_attributes(model)
