"""Data frames of polars, tables of Arrow, arrays and sparse matrices as inputs of the estimators."""

from datetime import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from sklearn.model_selection import cross_val_score

from worker.estimators import FactRFMClassifier, FactRFMRegressor

QUICK = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "exponent": 1.3, "ridge": 0.1}
N = 60


def _polars() -> pl.DataFrame:
    generator = np.random.default_rng(0)
    number = generator.normal(size=N)
    colour = generator.choice(["red", "green"], N)
    return pl.DataFrame(
        {
            "number": number,
            "gaps": [None if value > 1 else value for value in number],
            "whole": pl.Series(generator.integers(0, 9, N), dtype=pl.UInt8),
            "text": colour,
            "category": pl.Series(colour, dtype=pl.Categorical),
            "choice": pl.Series(colour, dtype=pl.Enum(["red", "green", "blue"])),
            "truth": generator.random(N) < 0.5,
            "amount": pl.Series(number.round(2)).cast(pl.Decimal(10, 2)),
        }
    )


def test_polars_is_learned_from_and_answered_as_pandas_is():
    frame = _polars()
    y = frame["number"] ** 2
    held_out = (frame[:9], y[:9])
    by_polars = FactRFMRegressor(**QUICK).fit(frame, y, validation=held_out)
    by_pandas = FactRFMRegressor(**QUICK).fit(
        frame.to_pandas(), y.to_pandas(), validation=(frame[:9].to_pandas(), y[:9].to_numpy())
    )
    assert by_polars.feature_names_in_.tolist() == frame.columns
    np.testing.assert_array_equal(by_polars.feature_matrix_, by_pandas.feature_matrix_)
    for model in (by_polars, by_pandas):
        for rows in (frame, frame.to_pandas(), frame.to_arrow()):
            np.testing.assert_array_equal(model.predict(rows), by_polars.predict(frame))
    assert by_polars.score(frame, y) == pytest.approx(by_pandas.score(frame.to_pandas(), y.to_pandas()))


@pytest.mark.parametrize("target", ["text", "category", "choice", "truth", "whole"])
@pytest.mark.parametrize("form", ["series", "frame", "arrow"])
@pytest.mark.filterwarnings("ignore:A column-vector y was passed")
def test_labels_of_polars_are_those_of_pandas(target, form):
    frame = _polars()
    y = {"series": frame[target], "frame": frame.select(target), "arrow": frame[target].to_arrow()}[form]
    model = FactRFMClassifier(**QUICK).fit(frame.drop(target), y)
    assert model.classes_.tolist() == sorted(set(frame[target].to_list()))
    predicted = model.predict(frame.drop(target))
    assert model.score(frame.drop(target), frame[target]) == (predicted == frame[target].to_numpy()).mean()


def test_several_outputs_are_a_frame_of_polars():
    frame = _polars()
    Y = frame.select("number", pl.col("number").alias("again") * 2)
    assert FactRFMRegressor(**QUICK).fit(frame, Y).predict(frame).shape == (N, 2)


def test_folds_of_scikit_learn_are_cut_from_polars():
    frame = _polars()
    assert cross_val_score(FactRFMRegressor(**QUICK), frame, frame["number"], cv=2).min() > 0.5


@pytest.mark.filterwarnings("ignore:X does not have valid feature names", "ignore:X has feature names")
@pytest.mark.parametrize("form", [pl.DataFrame, pl.DataFrame.to_pandas, pl.DataFrame.to_arrow])
def test_frames_and_arrays_go_together_by_the_order_of_columns(form):
    frame = _polars().select("number", "whole")
    named = form(frame)
    X, y = frame.to_numpy(), frame["number"].to_numpy()
    by_array, by_frame = FactRFMRegressor(**QUICK).fit(X, y), FactRFMRegressor(**QUICK).fit(named, y)
    np.testing.assert_array_equal(by_array.predict(named), by_array.predict(X))
    np.testing.assert_array_equal(by_frame.predict(X), by_frame.predict(named))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pl.Series([time(12, 30)] * N), "column 'odd' of X holds time"),
        (pl.Series([[1, 2]] * N), "column 'odd' holds large_list"),
        (pl.Series(range(N), dtype=pl.Int128), "column 'odd' holds Int128"),
        (pl.Series([float("inf")] * N), "column 'odd' of X contains infinity"),
    ],
)
def test_columns_of_polars_that_cannot_be_learned_from_are_named(column, message):
    frame = _polars()
    with pytest.raises(ValueError, match=message):
        FactRFMRegressor(**QUICK).fit(frame.with_columns(column.alias("odd")), frame["number"])


def test_a_missing_target_of_polars_is_named_by_its_row():
    with pytest.raises(ValueError, match="missing label in row 2"):
        FactRFMRegressor(**QUICK).fit(_polars()[:3], pl.Series([1.0, None, 2.0]))


def test_a_lazy_frame_is_named_with_what_to_call():
    frame = _polars()
    y = frame["number"]
    fitted = FactRFMRegressor(**QUICK).fit(frame, y)
    for name, call in {
        "X": lambda: FactRFMRegressor(**QUICK).fit(frame.lazy(), y),
        "y": lambda: FactRFMRegressor(**QUICK).fit(frame, frame.lazy().select("number")),
    }.items():
        with pytest.raises(TypeError, match=rf"{name} is a polars LazyFrame, .*\.collect\(\)"):
            call()
    with pytest.raises(TypeError, match=r"X is a polars LazyFrame, .*\.collect\(\)"):
        fitted.predict(frame.lazy())


FORMATS = [sp.csr_matrix, sp.csc_array, sp.coo_matrix, sp.lil_array, sp.dok_array, sp.dia_matrix, sp.bsr_array]


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("estimator", [FactRFMRegressor, FactRFMClassifier])
def test_sparse_input_is_refused_by_name_wherever_it_comes(estimator, form):
    X = np.eye(8) + np.arange(8)[:, None]
    y = np.arange(8) % 2
    frame = pd.DataFrame(X, columns=list("abcdefgh"))
    by_array, by_frame = (estimator(**QUICK).fit(rows, y) for rows in (X, frame))
    message = "Sparse data was passed for {}, but dense data is required"
    for name, call in [
        ("X", lambda: estimator(**QUICK).fit(form(X), y)),
        ("X", lambda: estimator(**QUICK).fit(X, y, validation=(form(X), y))),
        ("X", lambda: by_array.predict(form(X))),
        ("X", lambda: by_frame.predict(form(X))),
        ("y", lambda: estimator(**QUICK).fit(X, form(y[:, None]))),
        ("y", lambda: estimator(**QUICK).fit(frame, y, validation=(frame, form(y[:, None])))),
    ]:
        with pytest.raises(TypeError, match=message.format(name)):
            call()


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_sparse_tensors_are_refused_and_sparse_columns_of_pandas_are_columns():
    y = np.arange(8.0)
    for tensor in (torch.eye(8).to_sparse(), torch.eye(8).to_sparse_csr()):
        with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
            FactRFMRegressor(**QUICK).fit(tensor, y)
    dense = pd.DataFrame(np.diag(np.arange(8.0)), columns=list("abcdefgh"))
    columns = dense.astype(pd.SparseDtype("float64", 0.0))
    np.testing.assert_array_equal(
        FactRFMRegressor(**QUICK).fit(columns, y).predict(columns),
        FactRFMRegressor(**QUICK).fit(dense, y).predict(dense),
    )


def test_one_column_without_a_frame_is_no_table():
    frame = _polars()
    for column in (frame["number"], frame["number"].to_pandas(), frame["number"].to_arrow(), pa.array([1.0] * N)):
        with pytest.raises(ValueError, match=r"2D|2-dimensional"):
            FactRFMRegressor(**QUICK).fit(column, frame["number"])
