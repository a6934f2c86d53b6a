"""Columns of the estimators' inputs: arrays of numbers, and data frames in the form of an uploaded table."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.resources import ModelColumn
from worker.tables import values
from worker.tables.files.inference import typed_table


def array_table(X: np.ndarray) -> pa.Table:
    """Return a matrix (n, d) of numbers as a table; NaN is missing."""
    return pa.table({f"x{index}": pa.array(X[:, index], from_pandas=True) for index in range(X.shape[1])})


def check_dates(table: pa.Table) -> None:
    """Check that no column of a data frame holds dates or times.

    Raises:
        ValueError: naming the first that does.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_temporal(values.decoded_type(column.type)):
            raise ValueError(
                f"column {name!r} of X holds {column.type}; numbers, texts, categories and truth values can be "
                "learned from. Turn it into numbers, such as days since some date"
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
