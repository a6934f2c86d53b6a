"""Target columns as arrays: outputs of a regression, codes of classes."""

from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import Label
from worker.contracts.errors import InvalidRequest
from worker.tables.encoding.categories import GAP, UNKNOWN, Categories
from worker.tables.values import as_floats, canonical, cell_text, is_text, typed


def rows_with_targets(
    table: pa.Table, names: Sequence[str], classes: Sequence[Label] | None = None, words: Sequence[str] | None = None
) -> np.ndarray:
    """Return the numbers, from 0, of the rows that have a value of every target, (k,) int64.

    ``classes`` and ``words``: as of ``class_codes``.
    """
    there = np.ones(table.num_rows, bool)
    for name in names:
        column = table.column(name)
        if _looked_up(classes):
            there &= _places(column, name, classes, words) != GAP
        else:
            there &= canonical(column).is_valid().to_numpy()
            if pa.types.is_floating(column.type):
                there &= ~np.isnan(column.to_numpy())
    return np.flatnonzero(there)


def regression_targets(table: pa.Table, names: list[str], rows: np.ndarray | None = None) -> np.ndarray:
    """Return float64 (n, c). ``rows``: the numbers of those to look at, None for all.

    Raises:
        InvalidRequest: a value is missing or infinite.
    """
    table = _taken(table.select(names), rows)
    Y = np.column_stack([as_floats(table.column(name)).to_numpy() for name in names])
    wrong = np.argwhere(~np.isfinite(Y))
    if len(wrong):
        row, column = wrong[0]
        raise InvalidRequest(
            f"target {names[column]!r} has no finite value in row {(row if rows is None else rows[row]) + 1}"
        )
    for index, name in enumerate(names):
        if len(Y) > 1 and (Y[:, index] == Y[0, index]).all() and len(pc.unique(table.column(name))) > 1:
            raise InvalidRequest(
                f"target {name!r} holds numbers near {Y[0, index]:g} that differ by less than float64 can tell; take "
                "off what they share"
            )
    return Y


def class_codes(
    table: pa.Table,
    name: str,
    classes: list[Label] | None = None,
    rows: np.ndarray | None = None,
    words: Sequence[str] | None = None,
) -> tuple[np.ndarray, list[Label]]:
    """Return int64 codes (n,) and the sorted classes in their original type; whole numbers are integers.

    ``classes``: of another table, whose texts the labels are, and ``words`` those that mean no value there, None for
    the usual ones. ``rows``: the numbers of those to look at, None for all.

    Raises:
        InvalidRequest: a label is missing, or is none of the given ``classes``.
    """
    column = _taken(table.select([name]), rows).column(0)
    if classes is not None and _looked_up(classes):
        return _codes_of_texts(column, name, classes, words), classes
    if pa.types.is_float32(column.type):
        # a label is named as it is written: 0.1, which float64 has as 0.10000000149011612
        column = column.cast(pa.string()).cast(pa.float64())
    column = canonical(column).combine_chunks()
    _check_labels(column.is_null(), name)
    coded = column.dictionary_encode()
    labels = [label(value) for value in coded.dictionary.to_pylist()]
    if classes is None:
        classes = sorted(labels)
    # another table may hold the same labels in another type: 1 beside "1", where not all labels are numbers
    known = Categories([cell_text(value) for value in classes])
    places = [known.place(cell_text(value)) for value in labels]
    stranger = next((value for value, place in zip(labels, places, strict=True) if place < 0), None)
    if stranger is not None:
        raise _unknown_label(stranger, name)
    return np.array(places, np.int64)[coded.indices.to_numpy()], classes


def _taken(table: pa.Table, rows: np.ndarray | None) -> pa.Table:
    return table if rows is None or len(rows) == table.num_rows else table.take(pa.array(rows))


def _looked_up(classes: Sequence[Label] | None) -> TypeGuard[list[Label]]:
    """Return whether labels of another table are looked up as the categories of a feature are."""
    return classes is not None and isinstance(classes[0], str)


def _places(column: pa.ChunkedArray, name: str, classes: Sequence[Label], words: Sequence[str] | None) -> np.ndarray:
    """Return the code of each label, (n,) int64, UNKNOWN or GAP."""
    texts = column.combine_chunks()
    if not (is_text(texts.type) or pa.types.is_dictionary(texts.type)):
        texts = typed(name, texts, "categorical")
    return Categories([cell_text(value) for value in classes], words).places(texts)


def _codes_of_texts(
    column: pa.ChunkedArray, name: str, classes: Sequence[Label], words: Sequence[str] | None
) -> np.ndarray:
    places = _places(column, name, classes, words)
    _check_labels(pa.array(places == GAP), name)
    strangers = np.flatnonzero(places == UNKNOWN)
    if len(strangers):
        raise _unknown_label(column[int(strangers[0])].as_py(), name)
    return places


def _check_labels(missing: pa.Array, name: str) -> None:
    row = pc.index(missing, True).as_py()
    if row >= 0:
        count = pc.sum(missing).as_py()
        raise InvalidRequest(f"target {name!r} has {count} rows without a label, the first is row {row + 1}")


def _unknown_label(label: Label, name: str) -> InvalidRequest:
    return InvalidRequest(f"label {label!r} of target {name!r} does not occur in the training table")


def label(value: bool | float | str) -> Label:
    """Return a value of a target column as a class is named: whole numbers are integers."""
    # Arrow takes no larger integer for a float, though it be exact
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53 else value


def integer_labels(classes: Sequence[Label]) -> np.ndarray:
    """Return whole numbers in the type of 64 bits that holds them all."""
    return np.array(classes, np.uint64 if any(int(value) >= 2**63 for value in classes) else np.int64)
