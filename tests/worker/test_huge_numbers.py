"""What an estimator cannot compute with it refuses in ``fit``, by a ValueError; what it fitted it answers."""

import math

import numpy as np
import pytest

from worker.estimators import FactRFMClassifier, FactRFMRegressor

N = 60
rng = np.random.default_rng(0)
Z = rng.normal(size=N)
X = rng.normal(size=(N, 2))
LARGEST = float(np.finfo(np.float64).max)


def _with(values, value):
    changed = values.copy()
    changed[(3,) if values.ndim == 1 else (3, 0)] = value
    return changed


PLAIN = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "ridge": 0.1}
OPTIONS = {
    "closed": {**PLAIN, "exponent": 1.0},
    "left open": {"iterations": 1},
    "as they are": {**PLAIN, "standardize": False},
    "float32": {**PLAIN, "precision": "float32"},
    "quadratic": {**PLAIN, "kernel": "quadratic", "standardize": False},
    "exponential": {**PLAIN, "kernel": "exponential", "standardize": False},
    "nfa without scale": {**PLAIN, "iterations": 2, "update": "nfa", "feature_matrix": "diagonal", "scale": "none"},
    "rows of length 1": {**PLAIN, "normalize_rows": True, "standardize": False},
    "no rows to validate on": {**PLAIN, "ridge": "auto", "validation_fraction": None},
    "conjugate gradients": {**PLAIN, "solver": "cg"},
}
TARGETS = [
    *(Z * 10.0**power for power in (100, 153, 154, 160, 300, -150, -200, -300, -310, -320)),
    *(_with(Z, 10.0**power) for power in (20, 60, 150, 200, 308)),
    np.where(Z > 0, LARGEST, -LARGEST),
    np.where(Z > 0, 5e-324, 0.0),
    1e300 + Z * 1e290,
    np.stack([Z * 1e300, Z * 1e-300], 1),
]
FEATURES = [
    *(X * np.array([10.0**power, 1.0]) for power in (20, 39, 100, 154, 200, 300, -40, -160, -300, -320)),
    *(_with(X, 10.0**power) for power in (20, 38, 100, 154, 200, 308)),
    np.stack([np.full(N, LARGEST), X[:, 0]], 1),
    np.stack([np.where(Z > 1, np.nan, LARGEST), X[:, 0]], 1),
    np.stack([np.where(Z > 0, LARGEST, -LARGEST), X[:, 0]], 1),
]


def _fits_or_refuses(estimator, rows, y):
    """Fit, and predict the rows that were fitted. Returns why the fit was refused, None where it was not."""
    try:
        estimator.fit(rows, y)
    except ValueError as error:
        return str(error)
    assert np.isfinite(np.asarray(estimator.predict(rows), dtype=float)).all()
    for row in estimator.history_:
        assert all(value is None or math.isfinite(value) for value in row.values())
    assert np.isfinite(estimator.feature_importances_).all()
    return None


# numpy warns of each overflow, in scikit-learn's own checks too
@pytest.mark.filterwarnings(
    "ignore:the validation rows could not join", "ignore:the model learned nothing of its", "ignore::RuntimeWarning"
)
@pytest.mark.parametrize("options", OPTIONS)
def test_targets_of_any_size_are_learned_from_or_refused_in_fit(options):
    for y in TARGETS:
        refused = _fits_or_refuses(FactRFMRegressor(**OPTIONS[options]), X[:, :1], y)
        largest, deviation = np.abs(y).max(), (y / np.abs(y).max()).std() * np.abs(y).max()
        assert (refused is not None) == bool(largest > 1e154 or deviation < 1e-307), (y[:3], refused)
        assert refused is None or "the targets cannot be learned from" in refused


# numpy warns of each overflow, in scikit-learn's own checks too
@pytest.mark.filterwarnings(
    "ignore:the validation rows could not join", "ignore:the model learned nothing of its", "ignore::RuntimeWarning"
)
@pytest.mark.parametrize("options", OPTIONS)
def test_features_of_any_size_are_learned_from_or_refused_in_fit(options):
    for rows in FEATURES:
        for estimator, y in ((FactRFMRegressor, Z), (FactRFMClassifier, (Z > 0).astype(int))):
            _fits_or_refuses(estimator(**OPTIONS[options]), rows, y)


def test_a_target_in_a_tiny_unit_is_learned_as_well_as_in_any_other():
    y = np.sin(X[:, 0])
    told = [FactRFMRegressor(**PLAIN).fit(X, y * unit).score(X, y * unit) for unit in (1.0, 1e-100, 1e-150)]
    assert told[0] > 0.9
    assert told[1:] == pytest.approx([told[0]] * 2, abs=1e-6)


@pytest.mark.parametrize("y", [Z * 1e200, _with(Z, 1e300)])
def test_huge_targets_of_rows_to_validate_on_are_refused_in_fit(y):
    with pytest.raises(ValueError, match="not finite"):
        FactRFMRegressor(**PLAIN).fit(X, Z, validation=(X, y))
