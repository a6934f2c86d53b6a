"""Target columns as arrays: outputs of a regression, codes of classes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import Label
from worker.contracts.errors import InvalidRequest
from worker.tables.categories import Categories
from worker.tables.values import as_floats, canonical, cell_text


def regression_targets(table: pa.Table, names: list[str]) -> np.ndarray:
    """Return float64 (n, c).

    Raises:
        InvalidRequest: a value is missing or infinite.
    """
    Y = np.column_stack([as_floats(table.column(name)).to_numpy() for name in names])
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
    column = canonical(table.column(name)).combine_chunks()
    if column.null_count:
        row = pc.index(column.is_null(), True).as_py()
        raise InvalidRequest(
            f"target {name!r} has {column.null_count} rows without a label, the first is row {row + 1}"
        )
    coded = column.dictionary_encode()
    found = [label(value) for value in coded.dictionary.to_pylist()]
    if classes is None:
        classes = sorted(found)
    # another table may hold the same labels in another type: 1 beside "1", where not all labels are numbers
    known = Categories([cell_text(value) for value in classes])
    places = [known.place(cell_text(value)) for value in found]
    stranger = next((value for value, place in zip(found, places, strict=True) if place < 0), None)
    if stranger is not None:
        raise InvalidRequest(f"label {stranger!r} of target {name!r} does not occur in the training table")
    return np.array(places, np.int64)[coded.indices.to_numpy()], classes


def label(value: bool | float | str) -> Label:
    """Return a value of a target column as a class is named: whole numbers are integers."""
    # Arrow takes no larger integer for a float, though it be exact
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else value
