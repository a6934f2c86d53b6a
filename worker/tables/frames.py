"""Data frames of pandas and polars as Arrow tables."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from numbers import Number
from typing import Any

import pyarrow as pa

from worker.contracts.errors import UnreadableTable
from worker.tables.cells.moments import moment_text
from worker.tables.files.declarations import check_types
from worker.tables.values import cell_text, decimal_text

CONVERSION_ERRORS = (pa.ArrowException, OverflowError, TypeError, UnicodeEncodeError)
"""Exceptions of Arrow for cells of mixed or unsupported types."""


def is_frame(data: Any) -> bool:
    """Return whether ``data`` is a data frame of pandas, one of polars, or a table of Arrow."""
    frame = hasattr(data, "columns") and (hasattr(data, "iloc") or hasattr(data, "to_arrow"))
    return frame or isinstance(data, pa.Table)


def frame_table(frame: Any) -> pa.Table:
    """Return the columns of a data frame without its index, with categories as dictionaries.

    Objects of one type become a column of that type; objects of mixed types become texts, as categories do.

    Raises:
        ValueError: two columns have the same name, or a cell is not a number, text, boolean, date or time.
    """
    if isinstance(frame, pa.Table):
        return checked(frame)
    if not hasattr(frame, "iloc"):
        return checked(_from_polars(frame))
    names = [str(name) for name in frame.columns]
    [(most, count)] = Counter(names).most_common(1) or [("", 1)]
    if count > 1:
        raise ValueError(f"the data frame has several columns named {most!r}; names must differ")
    return checked(pa.table({name: _column(name, frame.iloc[:, place]) for place, name in enumerate(names)}))


def mapping_table(columns: Mapping[str, Any]) -> pa.Table:
    """Return columns, each a list or an array, as ``frame_table`` does for a data frame.

    Raises:
        ValueError: a cell is not a number, text, boolean, date or time.
    """
    return checked(pa.table({str(name): _array(str(name), cells) for name, cells in columns.items()}))


def _array(name: str, cells: Any) -> pa.Array | pa.ChunkedArray:
    if isinstance(cells, pa.Array | pa.ChunkedArray):
        return cells
    try:
        return pa.array(cells)
    except CONVERSION_ERRORS:
        return _text_array(name, list(cells))


def _text_array(name: str, cells: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(_texts(name, cells), pa.string())
    except UnicodeEncodeError as error:
        raise ValueError(f"column {name!r} holds half a character: {str(error.object)[:80]!r}") from error


def _from_polars(frame: Any) -> pa.Table:
    try:
        return frame.to_arrow()
    except pa.ArrowException as error:
        for name in frame.columns:
            arrow_column(f"column {name!r}", frame[name])
        raise ValueError(f"the data frame cannot be read: {error}") from error


def arrow_column(what: str, column: Any) -> pa.Array:
    """Return a polars column.

    Raises:
        ValueError: Arrow has no such type; the message calls the column ``what``.
    """
    try:
        return column.to_arrow()
    except pa.ArrowException as error:
        raise ValueError(
            f"{what} holds {column.dtype}, for which Arrow has no type; cast it to Int64, Float64 or String"
        ) from error


def checked(table: pa.Table) -> pa.Table:
    """Return a table if its columns have supported types.

    Raises:
        ValueError: naming a column of another type.
    """
    try:
        check_types(table.schema, None)
    except UnreadableTable as error:
        raise ValueError(error.detail) from error
    return table


def _column(name: str, column: Any) -> pa.Array:
    try:
        array = pa.Array.from_pandas(column)
    except CONVERSION_ERRORS:
        array = _text_array(name, column.tolist())
    if pa.types.is_dictionary(array.type) and pa.types.is_floating(array.type.value_type):
        categories = column.cat.categories if hasattr(column, "cat") else None
        if categories is not None and categories.dtype == object:
            # integers beside fractions, which Arrow rounds
            texts = _text_array(name, categories.tolist())
            return pa.DictionaryArray.from_arrays(pa.array(column.cat.codes, mask=column.cat.codes < 0), texts)
    return array.combine_chunks() if isinstance(array, pa.ChunkedArray) else array


def _texts(name: str, cells: Sequence[Any]) -> list[str | None]:
    return [None if _is_missing(cell) else _text(name, row, cell) for row, cell in enumerate(cells, 1)]


def _is_missing(cell: Any) -> bool:
    # None, NA, NaT and NaN
    return cell is None or type(cell).__name__ in ("NAType", "NaTType") or (isinstance(cell, float) and cell != cell)


def _text(name: str, row: int, cell: Any) -> str:
    cell = cell.item() if hasattr(cell, "dtype") and hasattr(cell, "item") else cell
    if isinstance(cell, bool | int | float | str):
        return cell_text(cell)
    if isinstance(cell, Decimal) and cell.is_finite():
        return decimal_text(cell)
    if isinstance(cell, date | time):
        return moment_text(cell.isoformat())
    kind = "number" if isinstance(cell, Number) else "value"
    raise ValueError(
        f"column {name!r}, row {row} holds the {kind} {str(cell)[:80]!r} of type {type(cell).__name__}; a cell is a "
        "number, text, truth value, date or time"
    )
