"""Convert targets of the estimators from any format to arrays, exactly or not at all."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from worker.contracts.base import Label
from worker.estimators.inputs import check_dense
from worker.tables import values
from worker.tables.encoding.targets import integer_labels
from worker.tables.frames import arrow_column, frame_table


def regression_array(y: Any) -> np.ndarray:
    """Return targets of a regression as float64.

    Raises:
        ValueError: a target is missing, or float64 would round different integers to one number.
    """
    y = _array(y)
    kind = np.asarray(y).dtype
    if kind.kind in "mM":
        raise ValueError(f"y holds {kind}; a regression needs numbers, such as days since some date")
    _check_not_missing(y)
    Y: np.ndarray = check_array(y, dtype=np.float64, ensure_2d=False, input_name="y")
    exact = np.asarray(y)
    if exact.shape == Y.shape and exact.dtype.kind in "iuO" and len(Y):
        constant = (Y[0] == Y).reshape(len(Y), -1).all(axis=0)
        differ = (exact != exact[0]).reshape(len(Y), -1).any(axis=0)
        if (constant & differ).any():
            number = exact.reshape(len(Y), -1)[0, int(np.argmax(constant & differ))]
            raise ValueError(
                f"y holds numbers near {number} that differ by less than float64 can tell; take off what they share"
            )
    return Y


def _check_not_missing(y: Any) -> None:
    """Check that every row has a target.

    Raises:
        ValueError: naming the first row that has none.
    """
    values = y if isinstance(y, np.ndarray) else np.asarray(y)
    if values.dtype.kind not in "fOc" or values.ndim not in (1, 2):
        return
    rows = np.flatnonzero(pd.isna(values).reshape(len(values), -1).any(axis=1))
    if len(rows):
        raise ValueError(
            f"Input y contains NaN: it has a missing label in row {rows[0] + 1}"
            f"{f' and {len(rows) - 1} more' if len(rows) > 1 else ''}; every row needs a target"
        )


def exact_labels(classes: Sequence[Label]) -> np.ndarray:
    """Return labels of one type unchanged: numpy alone would round long integers and strip NUL from texts."""
    kinds = {type(label) for label in classes}
    if kinds == {int}:
        return integer_labels(classes)
    if kinds == {str} and any("\0" in str(label) for label in classes):
        return np.array(classes, dtype=object)
    return np.array(classes)


def _array(y: Any) -> Any:
    """Return targets of Arrow or polars as a numpy array; others unchanged."""
    check_dense(y, "y")
    if not isinstance(y, pa.Array | pa.ChunkedArray) and hasattr(y, "to_arrow") and not hasattr(y, "columns"):
        y = arrow_column("y", y)
    if not isinstance(y, pa.Array | pa.ChunkedArray):
        return y
    array = y.combine_chunks() if isinstance(y, pa.ChunkedArray) else y
    return values.decoded(array).to_numpy(zero_copy_only=False)


def _label_values(y: Any) -> np.ndarray:
    """Return an array of labels, with exact integers, and datetimes of categories as texts."""
    kind = getattr(y, "dtype", None)
    if isinstance(kind, pd.CategoricalDtype) and kind.categories.dtype.kind == "M":
        column = frame_table(pd.DataFrame({"y": y})).column(0).combine_chunks()
        return np.array(values.typed("y", column, "categorical").to_pylist(), dtype=object)
    labels = np.asarray(y)
    if labels.dtype.kind == "f" and isinstance(y, list | tuple) and any(isinstance(label, int) for label in y):
        labels = np.array(y, dtype=object)
    if labels.dtype.kind != "O" or labels.ndim != 1 or not all(map(_is_number, labels)):
        return labels
    fraction = next((label for label in labels if label != label or label % 1), None)
    if fraction is not None:
        return labels if isinstance(fraction, float) else _raise_inexact(fraction)
    numbers = [int(label) for label in labels]
    beyond = next((label for label in numbers if not -(2**63) <= label < (2**63 if min(numbers) < 0 else 2**64)), None)
    return exact_labels(numbers) if beyond is None else _raise_inexact(beyond)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal | np.integer) and not isinstance(value, bool)


def _raise_inexact(label: Any) -> NoReturn:
    raise ValueError(f"y holds the label {label}; labels are whole numbers of 64 bits, truth values or texts")


def label_array(y: Any) -> np.ndarray:
    """Return labels of a classification, (n,), of one type.

    Raises:
        ValueError: a label is missing, has another type than others, or cannot be exact.
    """
    y = y if isinstance(getattr(y, "dtype", None), pd.CategoricalDtype) else _array(y)
    _check_not_missing(y)
    labels: np.ndarray = column_or_1d(_label_values(y), warn=True)
    if labels.dtype.kind == "O" and len({str if isinstance(label, str) else float for label in labels}) > 1:
        text, other = (next(label for label in labels if isinstance(label, str) is kind) for kind in (True, False))
        raise ValueError(f"y mixes texts and other labels, such as {text!r} and {other!r}; labels are of one kind")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError("Input y contains NaN or infinity")
    return labels


def class_targets(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of labels, sorted, and the code (n,) int64 of each row.

    Raises:
        ValueError: they are not labels, or there is only one class.
    """
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    y = label_array(y)
    check_classification_targets(y)
    if y.dtype.kind in "mM":
        raise ValueError(f"y holds {y.dtype}; classes are texts, whole numbers or truth values")
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"a classifier needs at least 2 classes, and y holds one class: {classes[0]!r}")
    return classes, codes.astype(np.int64)


def encode_labels(classes: np.ndarray, y: Any) -> np.ndarray:
    """Return the codes (n,) int64 of the labels of validation rows.

    Raises:
        ValueError: a label is not among the classes.
    """
    y = label_array(y)
    unknown = np.setdiff1d(y, classes)
    if len(unknown):
        raise ValueError(f"label {unknown.tolist()[0]!r} of the validation rows does not occur in y")
    codes: np.ndarray = np.searchsorted(classes, y).astype(np.int64)
    return codes
