"""What the estimators take as targets: exact, whatever holds them, or refused by name; and columns that are refused."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from worker.estimators import FactRFMClassifier, FactRFMRegressor

QUICK = {"iterations": 0, "encoding": "plain", "exponent": 1.3, "ridge": 0.1}


DAYS = ["2020-01-01", "2021-06-01"]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array(["a", "b"]), ["a", "b"]),
        (pa.chunked_array([["a"], ["b"]]), ["a", "b"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([Decimal(2**53), Decimal(2**53 + 1)]), [2**53, 2**53 + 1]),
        ([Decimal(2**53), Decimal(2**53 + 1)], [2**53, 2**53 + 1]),
        (np.array([2**60, 2**60 + 1], dtype=object), [2**60, 2**60 + 1]),
        ([2**64 - 2, 2**64 - 1], [2**64 - 2, 2**64 - 1]),
        (pd.Categorical(pd.to_datetime(DAYS)), DAYS),
    ],
)
def test_labels_are_exact_whatever_holds_them(labels, classes):
    rows = np.arange(12) % 2
    y = labels.take(pa.array(rows)) if isinstance(labels, pa.Array | pa.ChunkedArray) else _repeated(labels, rows)
    model = FactRFMClassifier(**QUICK).fit(rows[:, None] + 0.0, y)
    assert model.classes_.tolist() == classes
    assert model.predict([[0.0], [1.0]]).tolist() == classes


def _repeated(labels, rows):
    return [labels[row] for row in rows] if isinstance(labels, list) else labels[rows]


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ([2**70, 2**70 + 1], str(2**70)),
        ([2**63, -1], str(2**63)),
        ([Decimal("1.5"), Decimal(2)], "1.5"),
    ],
)
def test_labels_that_no_class_can_be_are_named(labels, named):
    with pytest.raises(ValueError, match=f"y holds the label {named}; labels are whole numbers of 64 bits"):
        FactRFMClassifier(**QUICK).fit(np.arange(12.0)[:, None], labels * 6)


@pytest.mark.parametrize("form", [list, np.array, pa.array, lambda numbers: [Decimal(number) for number in numbers]])
def test_targets_that_float64_cannot_tell_apart_are_refused(form):
    X = np.arange(12.0)[:, None]
    with pytest.raises(ValueError, match=f"y holds numbers near {2**62} that differ by less than float64 can tell"):
        FactRFMRegressor(**QUICK).fit(X, form([2**62 + row % 4 for row in range(12)]))
    far = FactRFMRegressor(**QUICK).fit(X, form([2**61 * (1 + row % 2) for row in range(12)]))
    assert np.ptp(far.predict(X)) > 2**58


@pytest.mark.parametrize("framed", [False, True])
def test_a_column_of_numbers_whose_spread_is_beyond_all_numbers_is_named(framed):
    X = np.column_stack([np.arange(12.0), np.where(np.arange(12) % 4, 1.7e308, -1.7e308)])
    X = pd.DataFrame(X, columns=["a", "size"]) if framed else X
    named = "size" if framed else "x1"
    with pytest.raises(ValueError, match=f"column '{named}' holds numbers whose spread is beyond all numbers"):
        FactRFMRegressor(**QUICK).fit(X, np.arange(12.0))


class _Int128:
    """A column of polars whose type Arrow does not have."""

    dtype = "Int128"

    def to_arrow(self):
        raise pa.ArrowInvalid("Invalid or unsupported format string: '_pli128'")


class _Frame(dict):
    columns = ("a",)
    to_arrow = _Int128.to_arrow


def test_a_column_of_polars_that_arrow_has_no_type_for_is_named():
    named = "column 'a' holds Int128, for which Arrow has no type; cast it to Int64"
    with pytest.raises(ValueError, match=named):
        FactRFMRegressor(**QUICK).fit(_Frame(a=_Int128()), np.arange(12.0))
    with pytest.raises(ValueError, match="y holds Int128, for which Arrow has no type"):
        FactRFMClassifier(**QUICK).fit(np.arange(12.0)[:, None], _Int128())


@pytest.mark.parametrize("estimator", [FactRFMClassifier, FactRFMRegressor])
@pytest.mark.parametrize("labels", [[1.0, None, 2.0, 1.0], pd.Series([1.0, None, 2.0, None])])
def test_a_missing_label_is_named_by_its_row(estimator, labels):
    with pytest.raises(ValueError, match="missing label in row 2"):
        estimator(iterations=0).fit(np.arange(4.0)[:, None], labels)


@pytest.mark.parametrize(
    "y",
    [np.array(DAYS * 2, "M8[s]"), np.array(["NaT", *DAYS, "2020-02-02"], "M8[ns]"), np.arange(4).astype("m8[h]")],
)
@pytest.mark.parametrize("framed", [False, True])
def test_moments_are_no_targets_of_a_regression(y, framed):
    with pytest.raises(ValueError, match="a regression needs numbers"):
        FactRFMRegressor(**QUICK).fit(np.arange(4.0)[:, None], pd.Series(y) if framed else y)


def test_a_loaded_estimator_never_takes_columns_of_other_names_by_their_places(tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 2))
    FactRFMRegressor(**QUICK).fit(X, X[:, 0]).save(tmp_path / "model")
    model = FactRFMRegressor.load(tmp_path / "model")
    frame = pd.DataFrame(X, columns=["x0", "x1"])
    np.testing.assert_array_equal(model.predict(frame), model.predict(X))
    for other in (frame[["x1", "x0"]], frame.rename(columns={"x0": "a", "x1": "b"})):
        with pytest.raises(ValueError, match="feature names should match"):
            model.predict(other)
