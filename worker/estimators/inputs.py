"""Columns of the estimators' inputs: arrays of numbers, and data frames in the form of an uploaded table."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import torch
from scipy.sparse import issparse

from worker.contracts.resources import ModelColumn
from worker.tables import values
from worker.tables.cells.moments import is_date
from worker.tables.files.inference import typed_table
from worker.tables.frames import frame_table


def check_dense(data: Any, name: str) -> None:
    """Check that an input called ``name`` is in memory, with all its cells.

    Raises:
        TypeError: it is a sparse matrix of scipy, a sparse tensor, or a lazy frame of polars.
    """
    refused = f"Sparse data was passed for {name}, but dense data is required. "
    if issparse(data):
        raise TypeError(f"{refused}Use '.toarray()' to convert to a dense numpy array.")
    if isinstance(data, torch.Tensor) and data.layout != torch.strided:
        raise TypeError(f"{refused}Use '.to_dense()' to convert to a dense tensor.")
    if hasattr(data, "collect_schema") and not hasattr(data, "to_arrow"):
        raise TypeError(f"{name} is a polars {type(data).__name__}, which has no rows yet; call .collect() first")


def by_position(X: Any, columns: Sequence[str] | None) -> Any:
    """Return an array as the data frame with these ``columns`` that was fitted, or for None a data frame as an array.

    Raises:
        ValueError: an array has another number of columns.
    """
    if columns is None:
        return X.to_numpy() if hasattr(X, "to_numpy") else frame_table(X).to_pandas().to_numpy()
    X = np.asarray(X)
    if X.ndim != 2 or X.shape[1] != len(columns):
        raise ValueError(f"X must have {len(columns)} columns, not the shape {X.shape}")
    return pd.DataFrame(X, columns=columns).infer_objects()


def array_table(X: np.ndarray) -> tuple[pa.Table, list[ModelColumn]]:
    """Return a matrix (n, d) of numbers as a table, and its columns x0, x1, …; NaN is missing.

    Raises:
        ValueError: a number is infinite.
    """
    if np.isinf(X).any():
        raise ValueError("Input X contains infinity; missing values are NaN")
    table = pa.table({f"x{index}": pa.array(X[:, index], from_pandas=True) for index in range(X.shape[1])})
    return table, [ModelColumn(name=name, type="numeric") for name in table.column_names]


def check_times(table: pa.Table) -> None:
    """Check that no column of a data frame holds times of a day or lengths of time.

    Raises:
        ValueError: naming the first that does.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = values.decoded_type(column.type)
        if pa.types.is_temporal(kind) and not is_date(kind):
            raise ValueError(
                f"column {name!r} of X holds {column.type}; numbers, texts, categories, truth values and dates can be "
                "learned from. Turn it into numbers, such as hours"
            )


def typed_frame(table: pa.Table) -> tuple[pa.Table, list[ModelColumn]]:
    """Return the columns of a data frame in the form of an uploaded table, and as a model reads them.

    Raises:
        ValueError: a column holds infinity.
        UnreadableTable: a column has an unsupported type.
    """
    typed, columns = typed_table(table)
    for column in columns:
        if column.type == "numeric" and pc.any(pc.is_inf(values.as_floats(typed.column(column.name)))).as_py():
            raise ValueError(f"column {column.name!r} of X contains infinity; missing values are NaN")
    return typed, columns
