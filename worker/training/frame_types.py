"""Columns of a data frame in the types that an estimator's caller says."""

from collections.abc import Mapping
from typing import get_args

import pyarrow as pa

from worker.contracts.base import ColumnType
from worker.contracts.resources import ModelColumn
from worker.tables import values
from worker.tables.cells.dates import DateFormat
from worker.tables.close_names import did_you_mean, shown
from worker.tables.column_types import read_column
from worker.tables.rows.matching import WrongCell

TYPES = (*get_args(ColumnType), "ignore")


def read_types(
    frame: pa.Table, typed: pa.Table, columns: list[ModelColumn], types: Mapping[str, str]
) -> tuple[pa.Table, list[ModelColumn]]:
    """Return a frame and its columns as a model reads them by ``types``, without those to ignore.

    ``typed``, ``columns``: as its cells tell.

    Raises:
        ValueError: a column or a type is unknown, all columns are ignored, or a cell does not fit its column.
    """
    for name, kind in types.items():
        if name not in typed.column_names:
            raise ValueError(f"X has no column {shown(name)!r}{did_you_mean(name, typed.column_names)}")
        if kind not in TYPES:
            raise ValueError(f"columns says {kind!r} of {shown(name)!r}; a type is one of {', '.join(TYPES)}")
    read: dict[str, tuple[pa.ChunkedArray, ModelColumn]] = {}
    for column in columns:
        kind = types.get(column.name, column.type)
        if kind == column.type:
            read[column.name] = typed.column(column.name), column
        elif kind != "ignore":
            # plain numbers are categories whichever way they are written; other texts are those that they are
            numbers = kind in values.AS_TEXTS and column.decimal is None and column.type != "datetime"
            try:
                read[column.name] = _read((typed if numbers else frame).column(column.name), column.name, kind)
            except WrongCell as error:
                raise ValueError(f"X: {error.detail}") from error
    if not read:
        raise ValueError("columns ignores all columns of X")
    return pa.table({name: cells for name, (cells, _) in read.items()}), [column for _, column in read.values()]


def _read(cells: pa.ChunkedArray, name: str, kind: str) -> tuple[pa.ChunkedArray, ModelColumn]:
    column = ModelColumn.model_validate({"name": name, "type": kind})
    if kind == "datetime" and values.is_text(cells.type):
        form = DateFormat()
        form.update(values.without_missing(pa.array(cells.to_pylist(), pa.string())))
        column = column.model_copy(update={"date_order": form.order(None)})
    try:
        return read_column(cells, column), column
    except WrongCell:
        if kind != "numeric" or not values.is_text(cells.type):
            raise
        with_commas = column.model_copy(update={"decimal": ","})
        try:
            return read_column(cells, with_commas), with_commas
        except WrongCell as error:
            raise error from None
