"""Target columns as arrays: outputs of a regression, codes of classes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import Label
from worker.contracts.errors import InvalidRequest


def regression_targets(table: pa.Table, names: list[str]) -> np.ndarray:
    """Return float64 (n, c).

    Raises:
        InvalidRequest: a value is missing or infinite.
    """
    Y = np.column_stack([table.column(name).cast(pa.float64()).to_numpy() for name in names])
    wrong = np.argwhere(~np.isfinite(Y))
    if len(wrong):
        row, column = wrong[0]
        raise InvalidRequest(f"target {names[column]!r} has no finite value in row {row + 1}")
    return Y


def class_codes(table: pa.Table, name: str, classes: list[Label] | None = None) -> tuple[np.ndarray, list[Label]]:
    """Return int64 codes (n,) and the sorted classes in their original type; whole numbers are integers.

    Raises:
        InvalidRequest: a label is missing, or is none of the given ``classes``.
    """
    column = table.column(name).combine_chunks()
    if column.null_count:
        raise InvalidRequest(f"target {name!r} has {column.null_count} rows without a label")
    if classes is None:
        found = pc.unique(column)
        found = found.take(pc.sort_indices(found))
        classes = [label(value) for value in found.to_pylist()]
    else:
        found = pa.array(classes, type=column.type)
    codes = pc.index_in(column, value_set=found)
    if codes.null_count:
        stranger = column.filter(pc.is_null(codes))[0].as_py()
        raise InvalidRequest(f"label {stranger!r} of target {name!r} does not occur in the training table")
    # a copy: Arrow's own memory is read-only
    return np.array(codes.cast(pa.int64())), classes


def label(value: bool | float | str) -> Label:
    """Return a value of a target column as a class is named: whole numbers are integers."""
    # Arrow takes no larger integer for a float, though it be exact
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else value
