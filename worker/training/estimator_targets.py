"""Targets that callers give to the estimators, in whatever form, as arrays: exact, or refused by name."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.utils import check_array, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from worker.contracts.base import Label
from worker.tables import values
from worker.tables.encoding.targets import integer_labels
from worker.tables.frames import arrow_column, frame_table


def regression_array(y: Any) -> np.ndarray:
    """Return targets of a regression as float64.

    Raises:
        ValueError: one is missing, or whole numbers differ that are one number in float64.
    """
    y = _array(y)
    kind = np.asarray(y).dtype
    if kind.kind in "mM":
        raise ValueError(f"y holds {kind}; a regression needs numbers, such as days since some date")
    _check_given(y)
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


def _check_given(y: Any) -> None:
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
    """Return labels of one kind as they were: numpy's own choice rounds long integers and cuts NUL off texts."""
    kinds = {type(label) for label in classes}
    if kinds == {int}:
        return integer_labels(classes)
    if kinds == {str} and any("\0" in str(label) for label in classes):
        return np.array(classes, dtype=object)
    return np.array(classes)


def _array(y: Any) -> Any:
    """Return targets of Arrow or polars as an array of numpy; others as they are."""
    if not isinstance(y, pa.Array | pa.ChunkedArray) and hasattr(y, "to_arrow") and not hasattr(y, "columns"):
        y = arrow_column("y", y)
    if not isinstance(y, pa.Array | pa.ChunkedArray):
        return y
    whole = y.combine_chunks() if isinstance(y, pa.ChunkedArray) else y
    return values.decoded(whole).to_numpy(zero_copy_only=False)


def _label_values(y: Any) -> np.ndarray:
    """Return labels one by one: exact where numpy would round whole numbers, and moments of categories as texts."""
    kind = getattr(y, "dtype", None)
    if isinstance(kind, pd.CategoricalDtype) and kind.categories.dtype.kind == "M":
        column = frame_table(pd.DataFrame({"y": y})).column(0).combine_chunks()
        return np.array(values.typed("y", column, "categorical").to_pylist(), dtype=object)
    labels = np.asarray(y)
    if labels.dtype.kind == "f" and isinstance(y, list | tuple) and any(isinstance(one, int) for one in y):
        labels = np.array(y, dtype=object)
    if labels.dtype.kind != "O" or labels.ndim != 1 or not all(map(_is_number, labels)):
        return labels
    fraction = next((one for one in labels if one != one or one % 1), None)
    if fraction is not None:
        return labels if isinstance(fraction, float) else _refused(fraction)
    numbers = [int(one) for one in labels]
    beyond = next((one for one in numbers if not -(2**63) <= one < (2**63 if min(numbers) < 0 else 2**64)), None)
    return exact_labels(numbers) if beyond is None else _refused(beyond)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal | np.integer) and not isinstance(value, bool)


def _refused(label: Any) -> NoReturn:
    raise ValueError(f"y holds the label {label}; labels are whole numbers of 64 bits, truth values or texts")


def label_array(y: Any) -> np.ndarray:
    """Return labels of a classification, (n,), of one kind.

    Raises:
        ValueError: one is missing, is of another kind than others, or cannot be exact.
    """
    y = y if isinstance(getattr(y, "dtype", None), pd.CategoricalDtype) else _array(y)
    _check_given(y)
    labels: np.ndarray = column_or_1d(_label_values(y), warn=True)
    if labels.dtype.kind == "O" and len({str if isinstance(one, str) else float for one in labels}) > 1:
        text, other = (next(one for one in labels if isinstance(one, str) is kind) for kind in (True, False))
        raise ValueError(f"y mixes texts and other labels, such as {text!r} and {other!r}; labels are of one kind")
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError("Input y contains NaN or infinity")
    return labels


def class_targets(y: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the classes of labels, sorted, and the code (n,) int64 of each row.

    Raises:
        ValueError: they are no labels, or of one class alone.
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


def codes_among(classes: np.ndarray, y: Any) -> np.ndarray:
    """Return the codes (n,) int64 of the labels of validation rows.

    Raises:
        ValueError: a label is none of the classes.
    """
    y = label_array(y)
    strangers = np.setdiff1d(y, classes)
    if len(strangers):
        raise ValueError(f"label {strangers.tolist()[0]!r} of the validation rows does not occur in y")
    codes: np.ndarray = np.searchsorted(classes, y).astype(np.int64)
    return codes
