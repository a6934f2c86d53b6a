"""Rows to predict in JSON."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import Any

import pyarrow as pa

from worker.contracts.base import MAX_COLUMNS
from worker.contracts.errors import InvalidRequest, UnreadableTable, pointer
from worker.contracts.json_text import parse_json, shorten_number
from worker.contracts.resources import ModelColumn
from worker.tables.cells.json_cells import CELL_TYPES, LARGEST, mistake
from worker.tables.files.raw_table import MAX_NAME_LENGTH
from worker.tables.files.size_limits import check_columns
from worker.tables.rows.matching import WrongCell, check_rows, match_columns, selected
from worker.tables.rows.plain import PlainColumns, PlainRows, plain_rows
from worker.tables.values import ARROW_TYPES, AS_TEXTS, cell_text

NUMBERS, BOOLEANS, TEXTS = (ARROW_TYPES[kind] for kind in ("numeric", "boolean", "categorical"))
MAX_ABSENT = 2**22
"""Cells that rows of objects lack: so many small objects would else make a table far larger than the body."""
LISTS = ("data", "rows")
"""Keys for rows that are lists, beside the names of their columns."""
SHAPES = (
    '{"rows": [{"column": value}]}, [{"column": value}] or {"columns": ["a", "b"], "rows": [[1, 2]]}, or "data" for '
    '"rows" of lists'
)


class Records(dict[str, Any]):
    """A document that is only its list of rows, as the object that it stands for."""


def of_lines(body: bytes) -> bytes:
    """Return the JSON list of the objects that are the lines of a text.

    Raises:
        UnreadableTable: a line is no object.
    """
    lines = [line for line in body.splitlines() if line.strip()]
    for number, line in enumerate(lines, 1):
        if not (line.lstrip().startswith(b"{") and line.rstrip().endswith(b"}")):
            raise UnreadableTable(f"line {number} is not a JSON object")
    return b"[" + b",".join(lines) + b"]"


def parsed(body: bytes) -> dict[str, Any]:
    """Parse a body.

    Raises:
        UnreadableTable: it is not JSON.
        InvalidRequest: it is not an object of one of the two ``SHAPES``.
    """
    try:
        document = parse_json(body, long_numbers=True)
    except ValueError as error:
        raise UnreadableTable(f"the body is not JSON: {error}; send {SHAPES}") from error
    if isinstance(document, list):
        return Records(rows=document)
    if not isinstance(document, dict):
        raise InvalidRequest(f"the body must be an object or a list: {SHAPES}")
    if "rows" in document and "data" in document:
        raise InvalidRequest(f"the body has both 'rows' and 'data'; it must be {SHAPES}")
    if "rows" not in document and not ("columns" in document and "data" in document):
        raise InvalidRequest(f"the body must be {SHAPES}")
    return document


def _lists_key(document: Mapping[str, Any]) -> str | None:
    """Return the key of the rows if they are lists; None if they are objects."""
    return next(name for name in LISTS if name in document) if "columns" in document else None


def plain_of(document: Mapping[str, Any], columns: PlainColumns, *, max_rows: int) -> PlainRows | None:
    """Return the rows of a document if its cells need no conversion for a model of these ``columns``.

    None: ``table_of`` must convert or check the document.
    """
    key = _lists_key(document)
    rows = document[key or "rows"]
    if type(rows) is not list or not 0 < len(rows) <= max_rows or set(map(type, rows)) != {list if key else dict}:
        return None
    names = document["columns"] if key else list(rows[0])
    if type(names) is not list or set(map(type, names)) != {str} or set(map(len, rows)) != {len(names)}:
        return None
    if len(names) > MAX_COLUMNS:
        return None
    extra = [name for name in names if name not in columns.names]
    places = {name: place for place, name in enumerate(names)}
    if not len(places) == len(names) == len(columns.names) + len(extra):
        return None

    def cells(subset: Sequence[str]) -> list[Any]:
        if not subset:
            return []
        values = map(itemgetter(*([places[name] for name in subset] if key else subset)), rows)
        return list(values if len(subset) == 1 else chain.from_iterable(values))

    try:
        if extra and not (CELL_TYPES.issuperset(map(type, cells(extra))) and all(map(_is_plain_name, extra))):
            return None
        return plain_rows(columns, len(rows), cells)
    except KeyError:
        # a row lacks a key of the first one
        return None


def _is_plain_name(name: str) -> bool:
    return len(name) <= MAX_NAME_LENGTH and name.isprintable()


def table_of(document: Mapping[str, Any], features: Sequence[ModelColumn], *, max_rows: int) -> pa.Table:
    """Return the columns of a document that a model reads, in its order and types.

    Raises:
        ColumnMismatch: naming all missing columns.
        InvalidRequest: the rows are not a table, there are none or more than ``max_rows``, or a cell does not fit its
            column; the message names its place in the document.
    """
    key = _lists_key(document)
    names = None if key is None else document["columns"]
    at = () if isinstance(document, Records) else (key or "rows",)
    columns = columns_of(document)
    check_columns(len(columns))
    try:
        for name, cells in columns.items():
            _check_cells(name, cells)
        check_rows(len(next(iter(columns.values()), ())), max_rows)
        selected(list(columns), features)
        arrays = {column.name: _array(column, columns[column.name]) for column in features}
        return match_columns(pa.table(arrays), features)
    except WrongCell as error:
        raise error.pointed(at, names) from error


def columns_of(document: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the cells of all columns of a document.

    Raises:
        InvalidRequest: the rows are not a table.
    """
    key = _lists_key(document)
    if key is None:
        return _columns_of_objects(document["rows"], () if isinstance(document, Records) else ("rows",))
    return _columns_of_lists(document["columns"], key, document[key])


def column_of(name: str, cells: Sequence[Any]) -> pa.Array:
    """Return cells as they are, or as texts where they are of several kinds.

    Raises:
        InvalidRequest: a cell is none of a table.
    """
    _check_cells(name, cells)
    present = set(map(type, cells)) - {NoneType}
    try:
        if len(present) < 2 or present == {int, float}:
            return pa.array(cells)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        pass
    if (row := next((row for row, cell in enumerate(cells) if mistake(cell) is not None), None)) is not None:
        raise WrongCell(row, name, mistake(cells[row]) or "")
    return pa.array([None if cell is None else cell_text(cell) for cell in cells], TEXTS)


def _columns_of_objects(rows: Any, at: tuple[str, ...]) -> dict[str, list[Any]]:
    """Return the cells of all keys; a key that a row lacks has no value there."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InvalidRequest.at(pointer(*at), "rows must be a list of objects, one a row")
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
        check_columns(len(names))
    absent = len(rows) * len(names) - sum(map(len, rows))
    if absent > MAX_ABSENT:
        raise InvalidRequest.at(
            pointer(*at),
            f"the rows lack {absent} values of keys that other rows have, and at most {MAX_ABSENT} may be absent; "
            "leave out what the model does not read, or send columns and rows of lists",
        )
    return {name: [row.get(name) for row in rows] for name in names}


def _columns_of_lists(names: Any, key: str, data: Any) -> dict[str, list[Any]]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise InvalidRequest.at("/columns", "columns must be a list of different names")
    if not isinstance(data, list):
        raise InvalidRequest.at(f"/{key}", f"{key} must be a list of rows")
    for index, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise InvalidRequest.at(f"/{key}/{index}", f"row {index + 1} must be a list of {len(names)} values")
    return {name: [row[index] for row in data] for index, name in enumerate(names)}


def _check_cells(name: str, cells: Sequence[Any]) -> None:
    if len(name) > MAX_NAME_LENGTH:
        raise InvalidRequest(f"the name of a column is longer than {MAX_NAME_LENGTH} characters: {name[:80]!r}…")
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"the name of a column is no valid Unicode: {name!r:.80}") from error
    if not CELL_TYPES.issuperset(map(type, cells)):
        row = next(row for row, cell in enumerate(cells) if type(cell) not in CELL_TYPES)
        raise WrongCell(row, name, mistake(cells[row]) or "")


def _array(column: ModelColumn, cells: Sequence[Any]) -> pa.Array:
    """Return the cells of a column as one Arrow type."""
    present = set(map(type, cells)) - {NoneType}
    if present == {bool} and column.type == "numeric":
        # numeric columns accept booleans from typed formats, but in JSON ``true`` is a mistake, not 1
        row, cell = next((row, cell) for row, cell in enumerate(cells) if cell is not None)
        raise WrongCell(row, column.name, f"{json.dumps(cell)} is not numeric")
    if not present <= {bool}:
        for row, cell in enumerate(cells):
            if (wrong := mistake(cell)) is not None:
                raise WrongCell(row, column.name, wrong)
    as_texts = column.type in AS_TEXTS
    if present <= {int, float} and not as_texts:
        return pa.array(
            [None if cell is None else _float(cell, row, column) for row, cell in enumerate(cells)], NUMBERS
        )
    if present == {bool} and not as_texts:
        return pa.array(cells, BOOLEANS)
    # the meaning of a cell does not depend on other cells
    return pa.array([None if cell is None or cell != cell else cell_text(cell) for cell in cells], TEXTS)


def _float(cell: float, row: int, column: ModelColumn) -> float:
    try:
        return float(cell)
    except OverflowError as error:
        raise WrongCell(row, column.name, f"{shorten_number(str(cell))} is too large; {LARGEST}") from error
