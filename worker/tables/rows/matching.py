"""Match the columns of any table to a model's features: by name, in its order and types."""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import DecimalMark
from worker.contracts.errors import ColumnMismatch, FieldError, InvalidRequest, pointer
from worker.contracts.resources import ModelColumn
from worker.tables import values
from worker.tables.cells import dates, number_formats
from worker.tables.cells.missing_words import missing_words
from worker.tables.cells.moments import is_date, seconds_of
from worker.tables.close_names import close_names, shown

SHOWN = 3
NOT_NUMERIC = "is not numeric"
NOT_BOOLEAN = "is not boolean; give true and false, or 1 and 0"


class WrongRow(InvalidRequest):
    """A row cannot be predicted. ``row`` counts from 0 in the checked rows."""

    def __init__(self, row: int, why: str) -> None:
        super().__init__(f"row {row + 1}{why}")
        self.row = row
        self._why = why

    def counted_from(self, first_row: int) -> "WrongRow":
        """Return the error with its row counted in a table whose row ``first_row`` was the first checked one."""
        return WrongRow(first_row + self.row, self._why)


class WrongCell(WrongRow):
    """A cell does not fit its column."""

    def __init__(self, row: int, column: str, message: str) -> None:
        super().__init__(row, f", column {column!r}: {message}")
        self.column = column
        self.message = message

    def pointed(self, rows: tuple[str, ...], listed: Sequence[str] | None) -> InvalidRequest:
        """Return the error with the JSON pointer of the cell.

        ``rows``: the keys that lead to the rows. ``listed``: the names in the order of its lists; None if its rows are
        objects.
        """
        place = pointer(*rows, self.row, self.column if listed is None else listed.index(self.column))
        return InvalidRequest(self.detail, errors=(FieldError(place, self.message),))


def check_rows(rows: int, max_rows: int) -> None:
    """Raise InvalidRequest if there are no rows to predict, or more than ``max_rows``."""
    if rows == 0:
        raise InvalidRequest("there are no rows to predict")
    if rows > max_rows:
        raise InvalidRequest(
            f"{rows} rows are too many for one request, which takes {max_rows}; submit a predict job instead"
        )


def match_columns(table: pa.Table, features: Sequence[ModelColumn]) -> pa.Table:
    """Return the columns that the model reads, in its order and types, without others.

    Raises:
        ColumnMismatch: naming all missing columns.
        InvalidRequest: a cell does not fit its column; row, column and value are named.
    """
    table = table.select(selected(table.column_names, features))
    columns = [fitted(cells, column) for cells, column in zip(table.columns, features, strict=True)]
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
    """Return a hint which of the unused columns may be the missing ones."""
    pairs = []
    for name in missing[:SHOWN]:
        close = close_names(name, spare, 1)
        pairs += [f"{shown(close[0])!r} for {shown(name)!r}"] if close else []
    return f"; is it {', '.join(pairs)}?" if pairs else ""


def fitted(column: pa.ChunkedArray, feature: ModelColumn) -> pa.Array | pa.ChunkedArray:
    """Return the cells of a column in the type of a feature.

    Raises:
        WrongCell: a cell does not fit; row, column and value are named.
    """
    if _is_ready(column, feature):
        return column
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if feature.missing_words is not None:
        array = missing_words(feature.missing_words).without(array)
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), values.ARROW_TYPES[feature.type])
    values.type_of(feature.name, array.type)
    if feature.type == "datetime":
        return _moments(feature, array)
    if feature.type in values.AS_TEXTS:
        return values.typed(feature.name, array, "categorical")
    if pa.types.is_dictionary(array.type) and not pa.types.is_boolean(array.type.value_type):
        # only the text of a category counts, as in stored tables
        array = values.typed(feature.name, array, "categorical")
    array = values.decoded(array)
    kind = values.type_of(feature.name, array.type)
    if kind in ("categorical", "datetime"):
        array = _from_texts(feature, values.typed(feature.name, array, "categorical"))
    elif feature.type == "boolean" and kind == "numeric":
        array = _as_booleans(feature.name, array)
    typed = values.typed(feature.name, array, feature.type)
    if feature.type == "numeric":
        row = pc.index(pc.is_finite(typed).fill_null(True), False).as_py()
        if row >= 0:
            raise WrongCell(row, feature.name, f"{typed[row].as_py()} is not a finite number")
    return typed


def _moments(feature: ModelColumn, array: pa.Array) -> pa.Array:
    """Return dates, or texts of dates, as moments."""
    if array.type == dates.MOMENTS:
        return array
    texts = values.typed(feature.name, array, "categorical")
    if is_date(array.type):
        seconds = dates.in_calendar(seconds_of(array))
    elif values.is_text(values.decoded(array).type):
        texts = values.without_missing(texts, feature.missing_words)
        seconds = dates.seconds(texts, feature.date_order)
    else:
        seconds = pa.nulls(len(texts), pa.float64())
    row = pc.index(pc.and_(pc.is_valid(texts), pc.is_null(seconds)), True).as_py()
    if row >= 0:
        raise WrongCell(row, feature.name, f"{texts[row].as_py()[:80]!r} {_no_date(feature)}")
    return dates.moments(seconds)


def _no_date(feature: ModelColumn) -> str:
    examples = {"day": ", or as 28.02.2024 with the day first", "month": ", or as 02/28/2024 with the month first"}
    return f"is no date; write it as 2024-02-28 or 2024-02-28T14:30:00Z{examples.get(feature.date_order or '', '')}"


def _is_ready(column: pa.ChunkedArray, feature: ModelColumn) -> bool:
    """Return whether the column needs no conversion, as in the most frequent case."""
    if feature.type != "numeric" or feature.missing_words is not None:
        return False
    numbers = column.type == values.ARROW_TYPES["numeric"] and not column.null_count
    return numbers and bool(np.isfinite(column.to_numpy()).all())


def _from_texts(feature: ModelColumn, array: pa.Array) -> pa.Array:
    texts = values.without_missing(array, feature.missing_words)
    if feature.type == "boolean":
        return _booleans_of_texts(feature.name, texts)
    signs = feature.missing_words is None
    numbers = _numbers_of_texts(feature.name, texts, NOT_NUMERIC, feature.decimal or ".", signs=signs)
    if feature.missing_words is not None and (row := pc.index(pc.is_nan(numbers), True).as_py()) >= 0:
        raise WrongCell(row, feature.name, f"{texts[row].as_py()!r} {NOT_NUMERIC}")
    return numbers


def _booleans_of_texts(name: str, texts: pa.Array) -> pa.Array:
    """Return booleans, each from its own text only, so that the blocks of a table do not matter."""
    truth = pc.is_in(pc.utf8_lower(texts), value_set=pa.array(["true", "false"]))
    others = pc.if_else(truth, None, texts)
    numbers = _numbers_of_texts(name, others, NOT_BOOLEAN)
    return pc.if_else(truth, values.parsed(texts, "boolean"), _as_booleans(name, numbers))


def _numbers_of_texts(
    name: str, texts: pa.Array, otherwise: str, decimal: DecimalMark = ".", *, signs: bool = False
) -> pa.Array:
    numbers = number_formats.numbers(texts, decimal, signs=signs)
    if numbers is not None:
        return numbers
    for row, text in enumerate(texts.to_pylist()):
        if text is not None and number_formats.numbers(pa.array([text]), decimal, signs=signs) is None:
            raise WrongCell(row, name, f"{text[:80]!r} {otherwise}")
    raise InvalidRequest(f"a cell of column {name!r} {otherwise}")


def _as_booleans(name: str, array: pa.Array) -> pa.Array:
    numbers = values.typed(name, array, "numeric")
    row = pc.index(pc.is_in(numbers, value_set=pa.array([0.0, -0.0, 1.0, None])), False).as_py()
    if row >= 0:
        raise WrongCell(row, name, f"{array[row].as_py()} {NOT_BOOLEAN}")
    return numbers.cast(pa.bool_())
