"""Columns in the types that a request says, where its caller knows better than the cells tell.

A stored table keeps the types that its cells have. ``with_types`` says what a request makes of the columns, and
``read_as`` reads stored cells so: numbers become categories under their plain text, so that 1234, 1234.0 and "1234" are
one category in every format; numbers that are written with signs stay the texts that they are.
"""

from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import DateOrder, DecimalMark
from worker.contracts.errors import InvalidRequest, pointer
from worker.contracts.requests import TableRequest, TypeOfColumn
from worker.contracts.resources import Column, ModelColumn
from worker.tables import values
from worker.tables.cells import dates, number_formats
from worker.tables.close_names import did_you_mean, shown
from worker.tables.rows.matching import NOT_NUMERIC, WrongCell, fitted

NO_TARGETS: Mapping[TypeOfColumn, str] = {
    "ignore": "and cannot be ignored",
    "datetime": "and cannot be dates; make numbers of them, such as days since some date",
    "text": "and cannot be text to learn from; its values are classes as 'categorical'",
}
TRUTHS = ((0, 0), (0, 1), (1, 1))
"""The smallest and the largest of whole numbers that are all truth values."""


def ignored(request: TableRequest, columns: Mapping[str, Column]) -> list[str]:
    """Return the columns that a request ignores by their type.

    Raises:
        InvalidRequest: it says the type of a column that does not exist, or of a target one that it cannot have.
    """
    for name in request.columns:
        if name not in columns:
            message = f"the dataset has no column {shown(name)!r}{did_you_mean(name, columns)}"
            raise InvalidRequest.at(pointer("columns", name), message)
    for name in request.targets:
        if request.columns.get(name) in NO_TARGETS:
            message = f"{shown(name)!r} is the target {NO_TARGETS[request.columns[name]]}"
            raise InvalidRequest.at(pointer("columns", name), message)
    return [name for name, kind in request.columns.items() if kind == "ignore"]


def types_of(request: TableRequest, columns: Mapping[str, Column]) -> dict[str, TypeOfColumn]:
    """Return the types that a request says, and those of target columns whose dates or texts are classes."""
    labels = [name for name in request.targets if name in columns and columns[name].type in ("datetime", "text")]
    return {**dict.fromkeys(labels, "categorical"), **request.columns}


def with_types(columns: Mapping[str, Column], types: Mapping[str, TypeOfColumn]) -> dict[str, Column]:
    """Return columns as a request reads them, without the statistics that its types have no use for."""
    if not types:
        return dict(columns)
    return {name: _with_type(column, types.get(name)) for name, column in columns.items()}


def _with_type(column: Column, kind: TypeOfColumn | None) -> Column:
    if kind in (None, "ignore", column.type):
        return column
    if column.type == "text" and kind == "categorical":
        return column.model_copy(update={"type": kind})
    return Column(
        name=column.name,
        type=kind,
        index=column.index,
        missing=column.missing,
        first_missing=column.first_missing,
        missing_words=column.missing_words,
        decimal=_mark(column) if kind == "numeric" else None,
        date_order=_order(column) if kind == "datetime" else None,
        inferred_from=column.inferred_from,
        distinct=column.distinct,
        infinite=0 if kind in values.AS_TEXTS else column.infinite,
    )


def _mark(column: Column) -> DecimalMark | None:
    """Return the decimal mark with which the frequent texts of a column are numbers, None for plain numbers."""
    texts = _frequent(column)
    if values.could_be_number(texts):
        return None
    return next((mark for mark in number_formats.PATTERNS if number_formats.numbers(texts, mark) is not None), None)


def _order(column: Column) -> DateOrder | None:
    """Return what comes first in the frequent texts of a column that are dates with the year last."""
    form = dates.DateFormat()
    form.update(_frequent(column))
    return form.order(None)


def _frequent(column: Column) -> pa.Array:
    texts = pa.array([str(value.value) for value in column.top or () if not value.cut], pa.string())
    return values.without_missing(texts, column.missing_words)


def model_columns(
    stored: Mapping[str, Column], names: Iterable[str], types: Mapping[str, TypeOfColumn]
) -> list[ModelColumn]:
    """Return the named columns of a dataset as the features or targets of a model that reads them by ``types``."""
    read = [_with_type(stored[name], types.get(name)) for name in names]
    return [
        ModelColumn(
            name=column.name,
            type=column.type,
            missing_words=column.missing_words,
            decimal=column.decimal,
            date_order=column.date_order,
        )
        for column in read
    ]


def changed(columns: Iterable[Column], read: Iterable[ModelColumn]) -> list[ModelColumn]:
    """Return those of ``read`` whose stored cells have another type; dates and text are stored as categories are."""
    stored = {column.name: "categorical" if column.type == "text" else column.type for column in columns}
    return [column for column in read if column.type == "datetime" or column.type != stored[column.name]]


def as_written(columns: Iterable[Column], read: Iterable[ModelColumn]) -> list[str]:
    """Return the names of the numeric columns that are read as the texts that they were written as."""
    signs = {column.name for column in columns if column.decimal is not None}
    return [column.name for column in read if column.type in values.AS_TEXTS and column.name in signs]


def fits(stored: Column, kind: TypeOfColumn) -> bool:
    """Return whether the statistics of a column tell that all of its cells fit a type."""
    if kind in ("ignore", *values.AS_TEXTS, stored.type) or not stored.distinct:
        return True
    return kind == "boolean" and stored.integer and (stored.min, stored.max) in TRUTHS


def read_as(table: pa.Table, columns: Sequence[ModelColumn]) -> pa.Table:
    """Return a stored table with these columns in the types in which a model reads them, and the others as they are.

    Raises:
        WrongCell: a cell does not fit; row, column and value are named.
    """
    for column in columns:
        place = table.column_names.index(column.name)
        table = table.set_column(place, column.name, read_column(table.column(place), column))
    return table


def read_column(cells: pa.ChunkedArray, column: ModelColumn) -> pa.ChunkedArray:
    """Return the stored cells of one column: see ``read_as``."""
    if column.type == "numeric" and pa.types.is_boolean(cells.type) and cells.null_count < len(cells):
        row = pc.index(cells.is_valid(), True).as_py()
        raise WrongCell(row, column.name, f"{values.cell_text(cells[row].as_py())} {NOT_NUMERIC}")
    read = fitted(cells, column)
    return read if isinstance(read, pa.ChunkedArray) else pa.chunked_array([read])
