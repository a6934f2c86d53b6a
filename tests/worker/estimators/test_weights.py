"""A weight that is a whole number counts as so many copies of the row, 0 as none; classes have weights too."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.utils.estimator_checks import estimator_checks_generator

from worker.estimators import FactRFMClassifier, FactRFMRegressor

OPTIONS = {"iterations": 2, "encoding": "plain", "feature_matrix": "full", "exponent": 1.3, "ridge": 0.1}
ALONE = {**OPTIONS, "validation_fraction": None}
SAME = {"rtol": 1e-8, "atol": 1e-9}
ROOT = {"rtol": 1e-8, "atol": 2e-7}
"""Of M = (FACT FACTᵀ)^½ where columns depend on each other: the root of a 0 that rounding missed."""


def _table(n=50, seed=0):
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "number": generator.normal(size=n),
            "ties": generator.integers(0, 6, n) / 3,
            "gaps": np.where(generator.random(n) < 0.2, np.nan, generator.normal(size=n)),
            "colour": generator.choice(["red", "green", "blue"], n),
            "open": generator.random(n) < 0.5,
        }
    )
    y = (frame["number"] ** 2 + (frame["colour"] == "red") + 0.1 * generator.normal(size=n)).to_numpy()
    return frame, y, generator.integers(0, 5, n)


def _copied(frame, y, weights):
    rows = np.random.default_rng(1).permutation(np.repeat(np.arange(len(y)), weights))
    return frame.iloc[rows], y[rows]


def _assert_same(weighted, copied, asked):
    np.testing.assert_allclose(weighted.feature_matrix_, copied.feature_matrix_, **ROOT)
    np.testing.assert_allclose(weighted.feature_matrices_, copied.feature_matrices_, **ROOT)
    np.testing.assert_allclose(weighted.feature_importances_, copied.feature_importances_, **SAME)
    assert weighted.encoded_feature_names_ == copied.encoded_feature_names_
    assert weighted.best_iteration_ == copied.best_iteration_
    for line, other in zip(weighted.history_, copied.history_, strict=True):
        own, copies = ({**figures, "seconds": 0, "bandwidth": figures["bandwidth"] or 0} for figures in (line, other))
        assert own == pytest.approx(copies, rel=1e-8, abs=1e-9)
    answer = "predict_proba" if isinstance(weighted, FactRFMClassifier) else "predict"
    np.testing.assert_allclose(getattr(weighted, answer)(asked), getattr(copied, answer)(asked), **SAME)


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"encoding": "expanded"},
        {"ridge": "auto", "feature_matrix": "diagonal"},
        {"update": "nfa", "center_gradients": True},
        {"kernel": "quadratic", "exponent": None},
        {"standardize": False, "normalize_rows": True, "geometric_average": True},
    ],
)
@pytest.mark.parametrize("estimator", [FactRFMRegressor, FactRFMClassifier])
def test_weights_are_copies(estimator, options, validate):
    frame, y, weights = _table()
    held, held_y, held_weights = _table(20, seed=7)
    if estimator is FactRFMClassifier:
        y, held_y = (np.array(["low", "mid", "high"])[np.digitize(target, [0.3, 1.2])] for target in (y, held_y))
    options = {**ALONE, **options}
    weighted = estimator(**options).fit(
        frame, y, weights, validation=(held, held_y, held_weights) if validate else None
    )
    copied = estimator(**options).fit(
        *_copied(frame, y, weights), validation=_copied(held, held_y, held_weights) if validate else None
    )
    _assert_same(weighted, copied, held)
    assert weighted.refitted_ == validate


@pytest.mark.parametrize("estimator", [FactRFMRegressor, FactRFMClassifier])
def test_scikit_learn_finds_weights_to_be_copies(estimator):
    ran = []
    for own, check in estimator_checks_generator(estimator(**ALONE)):
        name = getattr(check, "func", check).__name__
        if "weight" in name:
            check(own)
            ran.append(name)
    assert "check_sample_weight_equivalence_on_dense_data" in ran


def test_rows_of_weight_0_take_no_part():
    frame, y, weights = _table()
    none = weights == 0
    spoilt, spoilt_y = frame.copy(), y.copy()
    spoilt.loc[none, "colour"] = "violet"
    spoilt.loc[none, "number"] = 1e9
    spoilt_y[none] = -1e12
    for options in (ALONE, {"iterations": 1}):
        own = FactRFMRegressor(**options).fit(spoilt, spoilt_y, weights)
        other = FactRFMRegressor(**options).fit(frame[~none], y[~none], weights[~none])
        assert own.encoded_feature_names_ == other.encoded_feature_names_
        np.testing.assert_array_equal(own.predict(frame), other.predict(frame))


def test_a_class_without_weight_is_none():
    frame, y, _ = _table()
    labels = np.array(["a", "b", "c"])[np.digitize(y, [0.3, 1.2])]
    kept = labels != "b"
    other = FactRFMClassifier(**ALONE).fit(frame[kept], labels[kept])
    for own in (
        FactRFMClassifier(**ALONE).fit(frame, labels, kept.astype(float)),
        FactRFMClassifier(**ALONE, class_weight={"b": 0}).fit(frame, labels),
    ):
        assert own.classes_.tolist() == ["a", "c"]
        np.testing.assert_allclose(own.predict_proba(frame), other.predict_proba(frame), **SAME)
    with pytest.raises(ValueError, match="at least 2 classes"):
        FactRFMClassifier(class_weight={"b": 0, "c": 0}).fit(frame, labels)


def test_weights_of_classes_multiply_those_of_rows():
    frame, y, weights = _table()
    labels = (y > 1.2).astype(int)
    weights = weights + 1
    by_class = FactRFMClassifier(**ALONE, class_weight={1: 3}).fit(frame, labels, weights)
    by_row = FactRFMClassifier(**ALONE).fit(frame, labels, weights * np.where(labels == 1, 3, 1))
    np.testing.assert_array_equal(by_class.predict_proba(frame), by_row.predict_proba(frame))
    held = (frame[:20], labels[:20])
    by_class = FactRFMClassifier(**OPTIONS, class_weight={1: 3}).fit(frame, labels, validation=held)
    by_row = FactRFMClassifier(**OPTIONS).fit(
        frame, labels, np.where(labels == 1, 3, 1), validation=(*held, np.where(labels[:20] == 1, 3, 1))
    )
    np.testing.assert_array_equal(by_class.predict_proba(frame), by_row.predict_proba(frame))


def test_balanced_classes_have_the_same_weight_altogether():
    frame, y, weights = _table(80)
    labels = np.where(y > 2, "rare", "common")
    weights = weights + 1
    totals = {label: weights[labels == label].sum() for label in ("rare", "common")}
    wanted = {label: weights.sum() / (2 * total) for label, total in totals.items()}
    balanced = FactRFMClassifier(**ALONE, class_weight="balanced").fit(frame, labels, weights)
    given = FactRFMClassifier(**ALONE, class_weight=wanted).fit(frame, labels, weights)
    np.testing.assert_allclose(balanced.predict_proba(frame), given.predict_proba(frame), rtol=1e-10)
    far = frame.assign(number=1e9)
    np.testing.assert_allclose(balanced.predict_proba(far), 0.5, atol=0.01)
    plain = FactRFMClassifier(**ALONE).fit(frame, labels)
    assert (balanced.predict(frame) == "rare").sum() >= (plain.predict(frame) == "rare").sum()


def test_what_is_left_open_is_chosen_with_weights_and_a_file_keeps_them(tmp_path):
    frame, y, weights = _table(120)
    model = FactRFMRegressor(iterations=2).fit(frame, y, weights)
    assert model.solver_reason_ == "cholesky: it alone takes weights of rows"
    model.save(tmp_path / "model")
    loaded = FactRFMRegressor.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))
    np.testing.assert_array_equal(loaded.feature_importances_, model.feature_importances_)


@pytest.mark.parametrize("form", [list, pd.Series, pl.Series, lambda weights: weights.astype(np.float32)])
def test_weights_come_in_any_form(form):
    frame, y, weights = _table()
    np.testing.assert_array_equal(
        FactRFMRegressor(**ALONE).fit(frame, y, sample_weight=form(weights)).predict(frame),
        FactRFMRegressor(**ALONE).fit(frame, y, sample_weight=weights).predict(frame),
    )


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.full(50, -1.0), "Negative values in data passed to `sample_weight`"),
        (np.zeros(50), "Sample weights must contain at least one non-zero number"),
        (np.ones(49), r"sample_weight.shape == \(49,\)"),
        (np.ones((50, 1)), "(?i)sample weights must be 1D"),
        (np.full(50, np.nan), "(?i)sample_weight contains NaN"),
        (np.full(50, np.inf), "(?i)sample_weight contains"),
        (["heavy"] * 50, "(?i)convert|could not"),
    ],
)
def test_weights_that_are_none_are_named(weights, message):
    frame, y, _ = _table()
    with pytest.raises(ValueError, match=message):
        FactRFMRegressor(**ALONE).fit(frame, y, weights)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("even", "class_weight must be None, 'balanced' or a weight for each label, not 'even'"),
        ([1, 2], "class_weight must be None, 'balanced'"),
        ({7: 1.0}, "class_weight names the label 7, which y does not hold; its classes are 0, 1"),
        ({1: -2.0}, "class_weight of the label 1 must be finite and at least 0, not -2.0"),
        ({1: np.nan}, "class_weight of the label 1 must be"),
        ({1: "2"}, "class_weight of the label 1 must be"),
        ({0: 0, 1: 0}, "class_weight is 0 for every class"),
    ],
)
def test_weights_of_classes_that_are_none_are_named(class_weight, message):
    frame, y, _ = _table()
    with pytest.raises(ValueError, match=message):
        FactRFMClassifier(**ALONE, class_weight=class_weight).fit(frame, (y > 1).astype(int))


def test_a_solver_that_takes_no_weights_says_so():
    frame, y, weights = _table()
    with pytest.raises(ValueError, match="solver 'cg' takes no weights of rows; use solver 'cholesky'"):
        FactRFMRegressor(**ALONE, solver="cg").fit(frame, y, weights)
