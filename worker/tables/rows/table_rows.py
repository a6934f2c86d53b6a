"""Rows to predict in any format, matched by name to the columns that a model reads."""

import io
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow as pa

from worker.contracts.base import MAX_COLUMNS
from worker.contracts.errors import ColumnMismatch, InvalidRequest, UnreadableTable
from worker.contracts.reading import ReadingOptions
from worker.contracts.resources import ModelColumn
from worker.tables import media
from worker.tables.files.raw_table import Limits, is_numbered
from worker.tables.files.readers import PARSE_ERRORS, read
from worker.tables.rows import json_rows, plain
from worker.tables.rows.matching import check_rows, match_columns
from worker.tables.rows.plain import PlainColumns, PlainRows, Rows, plain_rows
from worker.tables.values import AS_TEXTS, EXACT_INTEGERS, decoded_type, is_text

MAX_BYTES = 2**28
"""Per file of rows, once decompressed."""
FEW_ROWS = 64
"""For more rows a table is faster than plain rows."""


class RowReader:
    """Reads rows of any format for a model with these ``features``."""

    def __init__(self, features: Sequence[ModelColumn]) -> None:
        self._features = features
        self._columns = PlainColumns.of(features)
        # every cell must be compared with the caller's missing words, and every date read
        self._may_be_plain = all(column.missing_words is None and column.type != "datetime" for column in features)
        kinds = np.array([column.type for column in features])
        places = [np.flatnonzero(kinds == kind) for kind in ("numeric", "boolean", *AS_TEXTS)]
        self._places = [*places[:2], np.concatenate(places[2:])]

    def read(self, body: bytes, media_type: str, *, max_rows: int, header: bool | None = None) -> Rows:
        """Return the rows of a request's body. ``header``: of a text, see ``readers.read``.

        Raises:
            UnreadableTable: the body does not match ``media_type``.
            ColumnMismatch: naming all missing columns.
            InvalidRequest: there are no rows or more than ``max_rows``, they are not a table, or a cell does not fit
                its column; in JSON the message names its place.
        """
        if media_type in (media.JSON, media.NDJSON):
            document = json_rows.parsed(json_rows.of_lines(body) if media_type == media.NDJSON else body)
            rows = json_rows.plain_of(document, self._columns, max_rows=max_rows) if self._may_be_plain else None
            return json_rows.table_of(document, self._features, max_rows=max_rows) if rows is None else rows
        if media_type == media.NPY:
            return self.fit_matrix(_matrix(body, len(self._features)), max_rows=max_rows)
        if media_type not in media.WITH_HEADER:
            return self.fit(file_table(body, media_type, max_rows, header), max_rows=max_rows)
        return self.fit_with_header(lambda row: file_table(body, media_type, max_rows, row), header, max_rows=max_rows)

    def fit_with_header(
        self, table_of: Callable[[bool | None], pa.Table], header: bool | None, *, max_rows: int
    ) -> Rows:
        """Return the rows of a file whose first row may hold the names. ``table_of`` reads it with this ``header``.

        Raises:
            ColumnMismatch, InvalidRequest: see ``fit``.
        """
        try:
            return self.fit(table_of(header), max_rows=max_rows)
        except (ColumnMismatch, InvalidRequest):
            # the model may have learned from a file without names, and this is one too
            unnamed = all(is_numbered(feature.name) for feature in self._features)
            if header is not None or not unnamed:
                raise
            return self.fit(table_of(False), max_rows=max_rows)

    def fit(self, table: pa.Table, *, max_rows: int) -> Rows:
        """Return the rows of any table.

        Raises:
            ColumnMismatch: naming all missing columns.
            InvalidRequest: there are no rows or more than ``max_rows``, or a cell does not fit its column.
        """
        check_rows(table.num_rows, max_rows)
        rows = self._plain(table) if self._may_be_plain and table.num_rows <= FEW_ROWS else None
        return match_columns(table, self._features) if rows is None else rows

    def table(self, rows: Rows) -> pa.Table:
        """Return the rows as a table."""
        return rows.table(self._features) if isinstance(rows, PlainRows) else rows

    def fit_matrix(self, X: np.ndarray, *, max_rows: int) -> Rows:
        """Return the rows of a matrix of numbers or booleans, whose columns are the features in order.

        Raises:
            InvalidRequest: see ``fit``.
        """
        check_rows(len(X), max_rows)
        plain = self._may_be_plain and X.dtype.kind == "f" and len(X) <= FEW_ROWS
        rows = self._plain_matrix(X) if plain else None
        if rows is not None:
            return rows
        return match_columns(
            pa.table({column.name: pa.array(X[:, index]) for index, column in enumerate(self._features)}),
            self._features,
        )

    def _plain_matrix(self, X: np.ndarray) -> PlainRows | None:
        numeric, truths, codes = (X[:, places] for places in self._places)
        numbers = np.hstack([numeric, truths]).astype(np.float64, copy=False)
        # longer float32 numbers are not exact as texts
        most = 2**24 if X.dtype == np.float32 else EXACT_INTEGERS
        exact = np.isnan(codes) | ((codes == np.round(codes)) & (np.abs(codes) < most))
        if np.isinf(numbers).any() or not (np.isnan(truths) | np.isin(truths, (0, 1))).all() or not exact.all():
            return None
        return PlainRows(
            self._columns, numbers, [None if code != code else str(int(code)) for code in codes.ravel().tolist()]
        )

    def _plain(self, table: pa.Table) -> PlainRows | None:
        def cells(names: Sequence[str]) -> list[object]:
            columns = [table.column(name).to_pylist() for name in names]
            return [cell for row in zip(*columns, strict=True) for cell in row]

        if not all(map(_has_plain_cells, table.schema.types)):
            return None
        try:
            return plain_rows(self._columns, table.num_rows, cells)
        except KeyError:
            # a column is missing or ambiguous
            return None


def _has_plain_cells(kind: pa.DataType) -> bool:
    """Return whether all cells of an Arrow type convert to Python numbers, booleans or texts."""
    kind = decoded_type(kind)
    return is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_float64(kind)


def joined(parts: Sequence[Rows]) -> Rows:
    """Concatenate rows of the same kind for the same model."""
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], PlainRows):
        return plain.joined(cast("Sequence[PlainRows]", parts))
    return pa.concat_tables(parts)


def _matrix(body: bytes, columns: int) -> np.ndarray:
    """Return the matrix of an npy body: booleans and float32 unchanged, other numbers as float64."""
    try:
        X = np.lib.format.read_array(io.BytesIO(body), allow_pickle=False)
    except (*PARSE_ERRORS, MemoryError) as error:
        raise UnreadableTable(f"the body is not an npy array of plain values: {error}") from error
    if X.ndim != 2 or X.shape[1] != columns or X.dtype.kind not in "biuf":
        raise InvalidRequest(
            f"an npy body is a matrix of numbers [n, {columns}] in the order of the model's features; "
            f"this one has shape {list(X.shape)} and type {X.dtype}"
        )
    if X.dtype.kind == "b" or X.dtype == np.float32:
        # the float32 digits of a category count
        return X
    # Arrow supports neither foreign byte order nor long doubles
    return X.astype(np.float64, copy=False)


def file_table(body: bytes, media_type: str, max_rows: int, header: bool | None) -> pa.Table:
    """Return the rows of a file in memory, as ``read_rows`` does."""
    with tempfile.NamedTemporaryFile(prefix="factrfm-rows-") as file:
        file.write(body)
        file.flush()
        return read_rows(Path(file.name), media_type, max_rows, header)


def read_rows(source: Path, media_type: str, max_rows: int, header: bool | None = None) -> pa.Table:
    """Return the rows of a file with unchanged cells. ``header``: see ``readers.read``.

    Raises:
        UnreadableTable, TableTooLarge: see ``readers.read``.
        InvalidRequest: there are no rows, or more than ``max_rows``.
    """
    raw = read(source, media_type, Limits(MAX_BYTES, max_rows * MAX_COLUMNS), ReadingOptions(header=header))
    batches: list[list[pa.Array]] = []
    rows = 0
    for batch in raw.batches():
        if len(batch[0]):
            batches.append(batch)
            rows += len(batch[0])
            check_rows(rows, max_rows)
    if not batches:
        raise InvalidRequest("there are no rows to predict")
    columns = {name: pa.chunked_array([batch[index] for batch in batches]) for index, name in enumerate(raw.names)}
    # in Parquet, categories of numbers are columns of numbers
    declared = [name for name in raw.declared if not pa.types.is_dictionary(columns[name].type)]
    return pa.table({**columns, **{name: columns[name].dictionary_encode() for name in declared}})
