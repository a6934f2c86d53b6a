"""Columns of any table as those that a model reads: found by name, in its order and types."""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.errors import ColumnMismatch, FieldError, InvalidRequest, pointer
from worker.contracts.resources import ModelColumn
from worker.tables import values
from worker.tables.close_names import close_names, shown
from worker.tables.missing_words import missing_words

SHOWN = 3
NOT_NUMERIC = "is not numeric"
NOT_BOOLEAN = "is not boolean; give true and false, or 1 and 0"


class WrongRow(InvalidRequest):
    """A row cannot be answered. ``row`` counts from 0 in the rows that were looked at."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(f"row {row + 1}{why}")
        self.row = row
        self._why = why

    def counted_from(self, first_row: int) -> "WrongRow":
        """Return the error with its row counted in a table of which ``first_row`` is the first that was looked at."""
        return WrongRow(first_row + self.row, self._why)


class WrongCell(WrongRow):
    """A cell does not fit its column."""

    def __init__(self, row: int, column: str, message: str) -> None:
        super().__init__(row, f", column {column!r}: {message}")
        self.column = column
        self.message = message

    def pointed(self, rows: str, listed: Sequence[str] | None) -> InvalidRequest:
        """Return the error with the cell's place in a body of JSON.

        ``rows``: what the rows are called there. ``listed``: the names in the order of its lists; None where its rows
        are objects.
        """
        place = pointer(rows, self.row, self.column if listed is None else listed.index(self.column))
        return InvalidRequest(self.detail, errors=(FieldError(place, self.message),))


def check_rows(rows: int, max_rows: int) -> None:
    """Raise InvalidRequest when there are no rows to predict, or more than ``max_rows``."""
    if rows == 0:
        raise InvalidRequest("there are no rows to predict")
    if rows > max_rows:
        raise InvalidRequest(
            f"{rows} rows are too many for one request, which takes {max_rows}; submit a predict job instead"
        )


def match_columns(table: pa.Table, features: Sequence[ModelColumn]) -> pa.Table:
    """Return the columns that the model reads, in its order and types; others are left out.

    Raises:
        ColumnMismatch: naming all missing columns.
        InvalidRequest: a cell does not fit its column; row, column and value are named.
    """
    table = table.select(selected(table.column_names, features))
    columns = [_fitted(found, column) for found, column in zip(table.columns, features, strict=True)]
    return pa.Table.from_arrays(columns, table.column_names)


def selected(present: Sequence[str], features: Sequence[ModelColumn]) -> list[str]:
    """Return the names of ``features``, which must all be ``present``.

    Raises:
        ColumnMismatch: naming all missing columns.
    """
    names = [column.name for column in features]
    there = set(present)
    missing = [name for name in names if name not in there]
    if missing:
        raise ColumnMismatch(
            f"the rows lack columns that the model reads: {', '.join(map(repr, missing))}"
            f"{near(missing, there.difference(names))}"
        )
    return names


def near(missing: Sequence[str], spare: Collection[str]) -> str:
    """Return which of the columns that are there, and are not read under their own name, may be meant."""
    pairs = []
    for name in missing[:SHOWN]:
        close = close_names(name, spare, 1)
        pairs += [f"{shown(close[0])!r} for {shown(name)!r}"] if close else []
    return f"; is it {', '.join(pairs)}?" if pairs else ""


def _fitted(column: pa.ChunkedArray, wanted: ModelColumn) -> pa.Array | pa.ChunkedArray:
    if _is_ready(column, wanted):
        return column
    found = column.combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], found.type)
    if wanted.missing_words is not None:
        found = missing_words(wanted.missing_words).without(found)
    if pa.types.is_null(found.type):
        return pa.nulls(len(found), values.ARROW_TYPES[wanted.type])
    values.type_of(wanted.name, found.type)
    if wanted.type == "categorical":
        return values.typed(wanted.name, found, "categorical")
    if pa.types.is_dictionary(found.type) and not pa.types.is_boolean(found.type.value_type):
        # a category is its text: stored tables have nothing else of it
        found = values.typed(wanted.name, found, "categorical")
    found = values.decoded(found)
    kind = values.type_of(wanted.name, found.type)
    if kind == "categorical":
        found = _from_texts(wanted, values.typed(wanted.name, found, "categorical"))
    elif wanted.type == "boolean" and kind == "numeric":
        found = _as_booleans(wanted.name, found)
    fitted = values.typed(wanted.name, found, wanted.type)
    if wanted.type == "numeric":
        row = pc.index(pc.is_finite(fitted).fill_null(True), False).as_py()
        if row >= 0:
            raise WrongCell(row, wanted.name, f"{fitted[row].as_py()} is not a finite number")
    return fitted


def _is_ready(column: pa.ChunkedArray, wanted: ModelColumn) -> bool:
    """Return whether one look says that there is nothing to do, as in the most frequent case."""
    if wanted.type != "numeric" or wanted.missing_words is not None:
        return False
    numbers = column.type == values.ARROW_TYPES["numeric"] and not column.null_count
    return numbers and bool(np.isfinite(column.to_numpy()).all())


def _from_texts(wanted: ModelColumn, found: pa.Array) -> pa.Array:
    texts = values.without_missing(found, wanted.missing_words)
    if wanted.type == "boolean":
        return _booleans_of_texts(wanted.name, texts)
    numbers = _numbers_of_texts(wanted.name, texts, NOT_NUMERIC)
    if wanted.missing_words is not None and (row := pc.index(pc.is_nan(numbers), True).as_py()) >= 0:
        raise WrongCell(row, wanted.name, f"{texts[row].as_py()!r} {NOT_NUMERIC}")
    return numbers


def _booleans_of_texts(name: str, texts: pa.Array) -> pa.Array:
    """Return truth values, each of its own text: rows may come in blocks, and are answered alike in all of them."""
    truth = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(["true", "false"]))
    others = pc.if_else(truth, None, texts)
    numbers = _numbers_of_texts(name, others, NOT_BOOLEAN)
    return pc.if_else(truth, values.parsed(texts, "boolean"), _as_booleans(name, numbers))


def _numbers_of_texts(name: str, texts: pa.Array, otherwise: str) -> pa.Array:
    numbers = values.numbers(texts)
    if numbers is not None:
        return numbers
    for row, text in enumerate(texts.to_pylist()):
        if text is not None and not values.could_be_number(pa.array([text])):
            raise WrongCell(row, name, f"{text[:80]!r} {otherwise}")
    raise InvalidRequest(f"a cell of column {name!r} {otherwise}")


def _as_booleans(name: str, found: pa.Array) -> pa.Array:
    numbers = values.typed(name, found, "numeric")
    row = pc.index(pc.is_in(numbers, value_set=pa.array([0.0, -0.0, 1.0, None])), False).as_py()
    if row >= 0:
        raise WrongCell(row, name, f"{found[row].as_py()} {NOT_BOOLEAN}")
    return numbers.cast(pa.bool_())
