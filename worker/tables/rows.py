"""Rows to predict, in any form, as a table with just the columns that a model reads, matched by name."""

import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from types import NoneType
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import MOST_COLUMNS, ColumnType
from worker.contracts.errors import ColumnMismatch, FieldError, InvalidRequest, UnreadableTable, pointer
from worker.contracts.resources import ModelColumn
from worker.tables import media, values
from worker.tables.readers import NOT_AS_SAID, Limits, read

MOST_BYTES = 2**28
"""Of a file of rows, once decompressed."""
NUMBERS, BOOLEANS, TEXTS = (values.ARROW_TYPES[kind] for kind in ("numeric", "boolean", "categorical"))
NULL = pa.null()
FEW_ROWS = 256
CELL_TYPES = frozenset({str, int, float, bool, NoneType})
SHAPES = '{"rows": [{"column": value}]} or {"columns": ["a", "b"], "data": [[1, 2]]}'


@dataclass(frozen=True)
class Cells:
    """Rows that are no table of Arrow yet. For many requests of few rows one table is quicker than one for each.

    ``columns``: name to as many cells as there are rows, in the Python type of ``types``, an Arrow type a column.
    ``listed``: the names in the order of the body's lists; None where its rows are objects.
    """

    columns: Mapping[str, Sequence[Any]]
    types: tuple[pa.DataType, ...]
    listed: Sequence[str] | None = None

    @property
    def column_names(self) -> list[str]:
        """The names, in order."""
        return list(self.columns)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values()), ()))

    def select(self, names: Sequence[str]) -> "Cells":
        """Return some of the columns."""
        types = dict(zip(self.columns, self.types, strict=True))
        chosen = {name: self.columns[name] for name in names}
        return replace(self, columns=chosen, types=tuple(types[name] for name in names))


Rows: TypeAlias = pa.Table | Cells


class WrongCell(InvalidRequest):
    """A cell does not fit its column. ``row`` counts from 0 in the rows that were looked at."""

    def __init__(self, row: int, column: str, message: str) -> None:
        super().__init__(f"row {row + 1}, column {column!r}: {message}")
        self.row = row
        self.column = column
        self.message = message

    def pointed(self, listed: Sequence[str] | None) -> InvalidRequest:
        """Return the error with the cell's place in a body of JSON; ``listed`` as of ``Cells``."""
        if listed is None:
            place = pointer("rows", self.row, self.column)
        else:
            place = pointer("data", self.row, listed.index(self.column))
        return InvalidRequest(self.detail, errors=(FieldError(place, self.message),))


def read_rows(body: bytes, media_type: str, features: Sequence[ModelColumn], *, max_rows: int) -> Rows:
    """Return the rows of a request's body with all its columns, typed as they came.

    Raises:
        UnreadableTable: the body is not what ``media_type`` says.
        InvalidRequest: there are no rows, a file of more than ``max_rows``, or they are not a table.
    """
    if media_type == media.JSON:
        return _json_rows(body)
    if media_type == media.NPY:
        return _npy_rows(body, features)
    return _file_rows(body, media_type, max_rows)


def needed_columns(rows: Rows, features: Sequence[ModelColumn], *, max_rows: int) -> Rows:
    """Return the columns of one request that the model reads, in its order, typed as they came.

    Raises:
        ColumnMismatch: naming all missing columns.
        InvalidRequest: there are no rows or more than ``max_rows``, or a boolean of JSON stands for a number.
    """
    if rows.num_rows == 0:
        raise InvalidRequest("there are no rows to predict")
    _check_rows(rows.num_rows, max_rows)
    needed = _selected(rows, features)
    # nothing but missing values: so typed that the rows go together with those of other requests
    if isinstance(needed, Cells):
        _check_booleans(needed, features)
        types = zip(needed.types, features, strict=True)
        return replace(
            needed, types=tuple(values.ARROW_TYPES[one.type] if kind == NULL else kind for kind, one in types)
        )
    for index, (kind, column) in enumerate(zip(needed.schema.types, features, strict=True)):
        if kind == NULL:
            nothing = pa.nulls(len(needed), values.ARROW_TYPES[column.type])
            needed = needed.set_column(index, column.name, nothing)
    return needed


def _check_booleans(cells: Cells, features: Sequence[ModelColumn]) -> None:
    """A type of Arrow or of a tensor is meant; ``true`` among numbers of JSON is a slip that would pass for 1."""
    for kind, column in zip(cells.types, features, strict=True):
        # the types of cells are these very objects, and looking costs each request
        if kind is BOOLEANS and column.type == "numeric":
            found = enumerate(cells.columns[column.name])
            row, cell = next((row, cell) for row, cell in found if cell is not None)
            raise WrongCell(row, column.name, f"{json.dumps(cell)} is not numeric").pointed(cells.listed)


def column_types(rows: Rows) -> tuple[pa.DataType, ...]:
    """Return the types of the columns; rows of the same kind and types can be joined."""
    return rows.types if isinstance(rows, Cells) else tuple(rows.schema.types)


def _joined(parts: Sequence[Rows]) -> pa.Table:
    """Return rows of the same kind, columns and types as one table.

    Raises:
        InvalidRequest: a text is no valid Unicode.
    """
    first = parts[0]
    if not isinstance(first, Cells):
        return first if len(parts) == 1 else pa.concat_tables(parts)
    columns = [
        _array(name, list(chain.from_iterable(part.columns[name] for part in parts)), kind)
        for name, kind in zip(first.columns, first.types, strict=True)
    ]
    return pa.Table.from_arrays(columns, first.column_names)


def matched(parts: Sequence[Rows], features: Sequence[ModelColumn]) -> pa.Table:
    """Return the rows of one or more requests as one table, with just the columns that the model reads.

    Raises:
        InvalidRequest: a cell does not fit; where the rows are those of one body of JSON, its place in it is told.
    """
    try:
        return match_columns(_joined(parts), features)
    except WrongCell as error:
        if len(parts) == 1 and isinstance(parts[0], Cells):
            raise error.pointed(parts[0].listed) from error
        raise


def _check_rows(rows: int, max_rows: int) -> None:
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
    table = _selected(table, features)
    columns = [_fitted(found, column) for found, column in zip(table.columns, features, strict=True)]
    return pa.Table.from_arrays(columns, table.column_names)


def _selected(rows: Rows, features: Sequence[ModelColumn]) -> Rows:
    names = [column.name for column in features]
    present = rows.column_names
    if present == names:
        return rows
    missing = sorted(set(names).difference(present), key=names.index)
    if missing:
        raise ColumnMismatch(f"the rows lack columns that the model reads: {', '.join(map(repr, missing))}")
    return rows.select(names)


def _fitted(column: pa.ChunkedArray, wanted: ModelColumn) -> pa.Array | pa.ChunkedArray:
    if _is_ready(column, wanted.type):
        return column
    found = column.combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        found = pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], found.type)
    if pa.types.is_null(found.type):
        return pa.nulls(len(found), values.ARROW_TYPES[wanted.type])
    kind = values.type_of(wanted.name, found.type)
    if wanted.type == "categorical":
        return _as_texts(wanted.name, found, kind)
    if kind == "categorical":
        found = _from_texts(wanted, found)
    elif wanted.type == "boolean" and kind == "numeric":
        found = _as_booleans(wanted.name, found)
    fitted = values.typed(wanted.name, found, wanted.type)
    if wanted.type == "numeric":
        row = pc.index(pc.is_finite(fitted).fill_null(True), False).as_py()
        if row >= 0:
            raise WrongCell(row, wanted.name, f"{fitted[row].as_py()} is not a finite number")
    return fitted


def _is_ready(column: pa.ChunkedArray, wanted: ColumnType) -> bool:
    """Return whether one look says that there is nothing to do, as in the most frequent cases."""
    if wanted == "numeric":
        return column.type == NUMBERS and not column.null_count and bool(np.isfinite(column.to_numpy()).all())
    few = wanted == "categorical" and column.type == TEXTS and len(column) <= FEW_ROWS
    return few and all(map(_is_plain, column.to_pylist()))


def _is_plain(text: str | None) -> bool:
    """Return whether a text is for certain a category as it stands: letters and digits, and no word for a gap."""
    return text is not None and text.isascii() and text.isalnum() and text not in values.MISSING


def _as_texts(name: str, found: pa.Array, kind: str) -> pa.Array:
    if kind != "numeric":
        texts = values.typed(name, found, "categorical")
        return values.without_missing(texts) if kind == "categorical" else texts
    numbers = values.typed(name, found, "numeric")
    # 1 and 1.0 are the same number, and a category "1" was written without a point
    whole = pc.equal(numbers, pc.round(numbers))
    small = pc.less(pc.abs(numbers), 2.0**53)
    as_whole = pc.and_(whole, small)
    integers = pc.if_else(as_whole, numbers, 0).cast(pa.int64()).cast(pa.string())
    return pc.if_else(as_whole, integers, numbers.cast(pa.string()))


def _from_texts(wanted: ModelColumn, found: pa.Array) -> pa.Array:
    texts = values.without_missing(found.cast(pa.string()))
    fits = values.could_be_number if wanted.type == "numeric" else values.could_be_boolean
    if fits(texts):
        return values.parsed(texts, wanted.type)
    for row, text in enumerate(texts.to_pylist()):
        if text is not None and not fits(pa.array([text])):
            raise WrongCell(row, wanted.name, f"{text[:80]!r} is not {wanted.type}")
    raise InvalidRequest(f"column {wanted.name!r} is not {wanted.type}")


def _as_booleans(name: str, found: pa.Array) -> pa.Array:
    numbers = values.typed(name, found, "numeric")
    row = pc.index(pc.is_in(numbers, value_set=pa.array([0.0, 1.0, None])), False).as_py()
    if row >= 0:
        raise WrongCell(row, name, f"{found[row].as_py()} is not boolean; give true and false, or 1 and 0")
    return numbers.cast(pa.bool_())


def _json_rows(body: bytes) -> Cells:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadableTable(f"the body is not JSON: {error}; send {SHAPES}") from error
    if not isinstance(document, dict):
        raise InvalidRequest(f"the body must be an object: {SHAPES}")
    if "rows" in document:
        other = next((name for name in ("columns", "data") if name in document), None)
        if other is not None:
            raise InvalidRequest(f"the body has both 'rows' and {other!r}; it must be {SHAPES}")
        return _from_objects(document["rows"])
    if "columns" in document and "data" in document:
        return _from_lists(document["columns"], document["data"])
    raise InvalidRequest(f"the body must be {SHAPES}")


def _from_objects(rows: Any) -> Cells:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidRequest.at("/rows", "rows must be a list of objects, one a row")
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    for index, row in enumerate(rows):
        if len(row) != len(names):
            lacking = next(name for name in names if name not in row)
            raise ColumnMismatch.at(
                f"/rows/{index}",
                f"row {index + 1} has no {lacking!r}, which another row has; write null for a missing value",
            )
    return _cells({name: [row[name] for row in rows] for name in names}, None)


def _from_lists(names: Any, data: Any) -> Cells:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise InvalidRequest.at("/columns", "columns must be a list of different names")
    if not isinstance(data, list):
        raise InvalidRequest.at("/data", "data must be a list of rows")
    for index, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise InvalidRequest.at(f"/data/{index}", f"row {index + 1} must be a list of {len(names)} values")
    return _cells({name: [row[index] for row in data] for index, name in enumerate(names)}, names)


def _cells(columns: Mapping[str, Sequence[Any]], listed: Sequence[str] | None) -> Cells:
    for name in columns:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(f"the name of a column is no valid Unicode: {name!r:.80}") from error
    try:
        found = {name: _column(name, cells) for name, cells in columns.items()}
    except WrongCell as error:
        raise error.pointed(listed) from error
    types = tuple(kind for _, kind in found.values())
    return Cells({name: cells for name, (cells, _) in found.items()}, types, listed)


def _column(name: str, cells: Sequence[Any]) -> tuple[Sequence[Any], pa.DataType]:
    """Return the cells of a column in one type, and the type."""
    present = set(map(type, cells))
    if not present <= CELL_TYPES:
        row = next(row for row, cell in enumerate(cells) if type(cell) not in CELL_TYPES)
        raise WrongCell(row, name, "a cell is a number, text, boolean or null")
    whole = NoneType not in present
    present.discard(NoneType)
    if not present:
        return cells, NULL
    if present == {float}:
        return cells, NUMBERS
    if present <= {int, float}:
        return _floats(name, cells, whole), NUMBERS
    if present == {bool}:
        return cells, BOOLEANS
    # as in a column of their own kind: what a cell says does not depend on the cells beside it
    numbers = {place: cell for place, cell in enumerate(cells) if type(cell) in (int, float)}
    written = pa.array(_floats(name, list(numbers.values()), True), NUMBERS)
    as_texts = dict(zip(numbers, _as_texts(name, written, "numeric").to_pylist(), strict=True))
    texts = [json.dumps(cell) if isinstance(cell, bool) else cell for cell in cells]
    return [as_texts.get(place, text) for place, text in enumerate(texts)], TEXTS


def _floats(name: str, cells: Sequence[Any], whole: bool) -> list[float | None]:
    try:
        return list(map(float, cells)) if whole else [None if cell is None else float(cell) for cell in cells]
    except OverflowError as error:
        raise InvalidRequest(f"column {name!r} holds a number that is too large") from error


def _array(name: str, cells: Sequence[Any], kind: pa.DataType) -> pa.Array:
    try:
        return pa.array(cells, kind)
    except (pa.ArrowException, UnicodeEncodeError) as error:
        raise InvalidRequest(f"column {name!r} holds a text that is no valid Unicode") from error


def _npy_rows(body: bytes, features: Sequence[ModelColumn]) -> pa.Table:
    try:
        X = np.lib.format.read_array(io.BytesIO(body), allow_pickle=False)
    except (*NOT_AS_SAID, MemoryError) as error:
        raise UnreadableTable(f"the body is not an npy array of plain values: {error}") from error
    if X.ndim != 2 or X.shape[1] != len(features) or X.dtype.kind not in "biuf":
        raise InvalidRequest(
            f"an npy body is a matrix of numbers [n, {len(features)}] in the order of the model's features; "
            f"this one has shape {list(X.shape)} and type {X.dtype}"
        )
    # Arrow knows neither the other order of bytes nor long floats
    known = X if X.dtype.kind == "b" else X.astype(np.float64, copy=False)
    return pa.table({column.name: pa.array(known[:, index]) for index, column in enumerate(features)})


def _file_rows(body: bytes, media_type: str, max_rows: int) -> pa.Table:
    with tempfile.NamedTemporaryFile(prefix="factrfm-rows-") as file:
        file.write(body)
        file.flush()
        raw = read(Path(file.name), media_type, Limits(MOST_BYTES, max_rows * MOST_COLUMNS))
        batches: list[list[pa.Array]] = []
        for batch in raw.batches():
            batches.append(batch)
            _check_rows(sum(len(one[0]) for one in batches), max_rows)
    if not batches:
        raise InvalidRequest("there are no rows to predict")
    columns = [pa.chunked_array([batch[index] for batch in batches]) for index in range(len(raw.names))]
    return pa.table(dict(zip(raw.names, columns, strict=True)))
