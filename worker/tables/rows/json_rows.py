"""Rows to predict that came as JSON."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from operator import itemgetter
from types import NoneType
from typing import Any

import pyarrow as pa

from worker.contracts.base import MAX_COLUMNS
from worker.contracts.errors import ColumnMismatch, InvalidRequest, UnreadableTable
from worker.contracts.json_text import parse_json, told_number
from worker.contracts.resources import ModelColumn
from worker.tables.files.raw_table import MAX_NAME_LENGTH
from worker.tables.files.size_limits import check_columns
from worker.tables.json_cells import CELL_TYPES, LARGEST, mistake
from worker.tables.rows.matching import WrongCell, check_rows, match_columns, selected
from worker.tables.rows.plain import PlainColumns, PlainRows, plain_rows
from worker.tables.values import ARROW_TYPES, cell_text

NUMBERS, BOOLEANS, TEXTS = (ARROW_TYPES[kind] for kind in ("numeric", "boolean", "categorical"))
LISTS = ("data", "rows")
"""What rows that are lists may be called beside the names of their columns."""
SHAPES = '{"rows": [{"column": value}]} or {"columns": ["a", "b"], "rows": [[1, 2]]}, or "data" for "rows" of lists'


def parsed(body: bytes) -> dict[str, Any]:
    """Return the object that a body is.

    Raises:
        UnreadableTable: it is no JSON.
        InvalidRequest: it is no object of one of the two ``SHAPES``.
    """
    try:
        document = parse_json(body, long_numbers=True)
    except ValueError as error:
        raise UnreadableTable(f"the body is not JSON: {error}; send {SHAPES}") from error
    if not isinstance(document, dict):
        raise InvalidRequest(f"the body must be an object: {SHAPES}")
    if "rows" in document and "data" in document:
        raise InvalidRequest(f"the body has both 'rows' and 'data'; it must be {SHAPES}")
    if "rows" not in document and not ("columns" in document and "data" in document):
        raise InvalidRequest(f"the body must be {SHAPES}")
    return document


def _named_lists(document: Mapping[str, Any]) -> str | None:
    """Return under which name the rows of a document are lists; None where they are objects."""
    return next(name for name in LISTS if name in document) if "columns" in document else None


def plain_of(document: Mapping[str, Any], columns: PlainColumns, *, max_rows: int) -> PlainRows | None:
    """Return the rows of a document, if all that is in it is as a model of these ``columns`` wants it.

    None says nothing but that ``table_of`` has to look more closely.
    """
    listed = _named_lists(document)
    rows = document[listed or "rows"]
    if type(rows) is not list or not 0 < len(rows) <= max_rows or set(map(type, rows)) != {list if listed else dict}:
        return None
    names = document["columns"] if listed else list(rows[0])
    if type(names) is not list or set(map(type, names)) != {str} or set(map(len, rows)) != {len(names)}:
        return None
    if len(names) > MAX_COLUMNS:
        return None
    further = [name for name in names if name not in columns.names]
    places = {name: place for place, name in enumerate(names)}
    if not len(places) == len(names) == len(columns.names) + len(further):
        return None

    def cells(wanted: Sequence[str]) -> list[Any]:
        if not wanted:
            return []
        found = map(itemgetter(*([places[name] for name in wanted] if listed else wanted)), rows)
        return list(found if len(wanted) == 1 else chain.from_iterable(found))

    try:
        if further and not (CELL_TYPES.issuperset(map(type, cells(further))) and all(map(_is_plain_name, further))):
            return None
        return plain_rows(columns, len(rows), cells)
    except KeyError:
        # of a row that lacks what the first one has
        return None


def _is_plain_name(name: str) -> bool:
    return len(name) <= MAX_NAME_LENGTH and name.isprintable()


def table_of(document: Mapping[str, Any], features: Sequence[ModelColumn], *, max_rows: int) -> pa.Table:
    """Return the columns of a document that a model reads, in its order and types.

    Raises:
        ColumnMismatch: naming all missing columns.
        InvalidRequest: the rows are no table, there are none or more than ``max_rows``, or a cell does not fit its
            column; its place in the document is told.
    """
    called = _named_lists(document)
    names = None if called is None else document["columns"]
    columns = _of_objects(document["rows"]) if called is None else _of_lists(names, called, document[called])
    check_columns(len(columns))
    try:
        for name, cells in columns.items():
            _check_cells(name, cells)
        check_rows(len(next(iter(columns.values()), ())), max_rows)
        selected(list(columns), features)
        arrays = {column.name: _array(column, columns[column.name]) for column in features}
        return match_columns(pa.table(arrays), features)
    except WrongCell as error:
        raise error.pointed(called or "rows", names) from error


def _of_objects(rows: Any) -> dict[str, list[Any]]:
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
    return {name: [row[name] for row in rows] for name in names}


def _of_lists(names: Any, called: str, data: Any) -> dict[str, list[Any]]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) != len(names):
        raise InvalidRequest.at("/columns", "columns must be a list of different names")
    if not isinstance(data, list):
        raise InvalidRequest.at(f"/{called}", f"{called} must be a list of rows")
    for index, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise InvalidRequest.at(f"/{called}/{index}", f"row {index + 1} must be a list of {len(names)} values")
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


def _array(wanted: ModelColumn, cells: Sequence[Any]) -> pa.Array:
    """Return the cells of a column in one type."""
    present = set(map(type, cells)) - {NoneType}
    if present == {bool} and wanted.type == "numeric":
        # a type of Arrow or of a tensor is meant; ``true`` among numbers of JSON is a slip that would pass for 1
        row, cell = next((row, cell) for row, cell in enumerate(cells) if cell is not None)
        raise WrongCell(row, wanted.name, f"{json.dumps(cell)} is not numeric")
    if not present <= {bool}:
        for row, cell in enumerate(cells):
            if (wrong := mistake(cell)) is not None:
                raise WrongCell(row, wanted.name, wrong)
    if present <= {int, float} and wanted.type != "categorical":
        return pa.array(
            [None if cell is None else _float(cell, row, wanted) for row, cell in enumerate(cells)], NUMBERS
        )
    if present == {bool} and wanted.type != "categorical":
        return pa.array(cells, BOOLEANS)
    # what a cell says does not depend on the cells beside it
    return pa.array([None if cell is None or cell != cell else cell_text(cell) for cell in cells], TEXTS)


def _float(cell: float, row: int, wanted: ModelColumn) -> float:
    try:
        return float(cell)
    except OverflowError as error:
        raise WrongCell(row, wanted.name, f"{told_number(str(cell))} is too large; {LARGEST}") from error
