"""Read files of every format as record batches, or raise an error that names the fault and its place.

``read`` returns a RawTable whose batches can be read repeatedly: the types of a text are known only at its end.
"""

import lzma
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from worker.contracts.base import MAX_COLUMNS
from worker.contracts.errors import TableTooLarge, UnreadableTable, is_disk_full
from worker.contracts.reading import ReadingOptions
from worker.tables import media
from worker.tables.cells.missing_words import missing_words
from worker.tables.delimited.reader import read_delimited
from worker.tables.files.arrow_footer import check_arrow_file
from worker.tables.files.declarations import check_types, declared_categories, index_columns
from worker.tables.files.json_table import JsonTable
from worker.tables.files.npz import arrays
from worker.tables.files.raw_table import Limits, RawTable, check_names
from worker.tables.files.size_limits import check_arrow, check_columns, check_parquet, check_texts
from worker.tables.storage import open_table
from worker.tables.values import ALLOWED_CELLS, decoded, is_text, type_of
from worker.tables.workbooks.package import zip_type
from worker.tables.workbooks.reader import read_workbook

OPEN = ReadingOptions()
BATCH_ROWS = 16_384
BATCH_CELLS = 2**22
MAX_FOOTER_BYTES = 16 * 2**20
FREE_DICTIONARY_ENTRIES, DICTIONARY_ENTRIES_A_ROW = 2**24, 16
PARSE_ERRORS = (
    pa.ArrowException,
    OSError,
    ValueError,
    EOFError,
    KeyError,
    OverflowError,
    RuntimeError,  # zipfile: encrypted, or compressed in an unknown way
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tokenize.TokenError,  # numpy: the header of an array
    SyntaxError,
    SystemError,  # numpy: a text with invalid characters
)
"""Exceptions of libraries for invalid files."""


def read(
    source: Path,
    media_type: str,
    limits: Limits,
    options: ReadingOptions = OPEN,
) -> RawTable:
    """Open a file. Reading its batches may raise the same errors later.

    Options of texts: ``header``, whether the first row holds the names; if not they are ``column_1`` and so on; None:
    it does, and ``check_header`` tells if it looks like data. ``separator`` of cells, and ``encoding`` by the names of
    Python. ``sheet``, of a workbook, by its name. ``missing``, of all formats: see ``MissingWords``.

    Raises:
        UnreadableTable: the file does not match ``media_type``, or its column names are invalid.
        TableTooLarge: the sizes that it declares exceed ``limits``.
    """
    with source.open("rb") as file:
        start = file.read(64)
    if not start:
        raise UnreadableTable("the body is empty; a table has a header and at least one row")
    looks = media.sniff(start)
    if looks == media.NPZ:
        # any zip file begins alike
        looks = zip_type(source) or (media_type if media_type == media.XLSX else looks)
    elif looks == media.OLD_WORKBOOK and media_type == media.XLSX:
        looks = media_type
    if looks != media_type and (looks is not None or media_type not in media.UNMARKED):
        raise UnreadableTable(f"the Content-Type says {media_type}, but the body looks like {looks or 'text'}")
    readers: dict[str, Callable[[], RawTable]] = {
        media.CSV: lambda: read_delimited(source, ",", options),
        media.TSV: lambda: read_delimited(source, "\t", options),
        media.XLSX: lambda: read_workbook(source, options, limits),
        media.PARQUET: lambda: _parquet(source, limits),
        media.ARROW_STREAM: lambda: _arrow_stream(source, limits),
        media.ARROW_FILE: lambda: _arrow_file(source, limits),
        media.NPZ: lambda: _npz(source, limits.max_bytes),
        media.JSON: lambda: _json(source),
        media.NDJSON: lambda: _json(source, lines=True),
    }
    with _errors_named(media_type):
        table = readers[media_type]()
    check_names(table)
    missing = options.missing
    return replace(
        table, batches=lambda: _checked_batches(table, media_type, missing), missing=missing, decimal=options.decimal
    )


def _checked_batches(table: RawTable, media_type: str, missing: tuple[str, ...] | None) -> Iterator[list[pa.Array]]:
    with _errors_named(media_type):
        for batch in table.batches():
            # in Parquet, dictionaries need not be categories, and categories need not be dictionaries
            yield (
                batch
                if missing is None
                else [
                    missing_words(missing).without(column if name in table.declared else decoded(column))
                    for name, column in zip(table.names, batch, strict=True)
                ]
            )


@contextmanager
def _errors_named(media_type: str) -> Iterator[None]:
    try:
        yield
    except PARSE_ERRORS as error:
        if isinstance(error, OSError) and is_disk_full(error):
            raise  # not a fault of the body
        raise UnreadableTable(f"the body cannot be read as {media_type}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


def _parquet(source: Path, limits: Limits) -> RawTable:
    with _opened_parquet(source) as file:
        by_dictionary = check_parquet(source, file.metadata, limits.max_bytes, limits.max_cells)
        schema = file.schema_arrow
        written = (file.metadata.metadata or {}).get(b"ARROW:schema")
    check_types(schema, written)
    declared = declared_categories(schema, written)
    # each access to these attributes of a schema builds a new list
    names, types = schema.names, schema.types
    texts = [names[index] for index in sorted(by_dictionary) if is_text(types[index])]

    def batches() -> Iterator[list[pa.Array]]:
        # texts in dictionaries are measured before they are decoded
        with _opened_parquet(source, read_dictionary=texts) as file:
            for batch in file.iter_batches(batch_size=_rows_at_once(len(names)), use_threads=False):
                yield _measured(batch)

    return RawTable(names, batches, declared, index_columns(schema))


def _opened_parquet(source: Path, **options: Any) -> pq.ParquetFile:
    return open_table(
        source, thrift_string_size_limit=MAX_FOOTER_BYTES, thrift_container_size_limit=5 * MAX_COLUMNS, **options
    )


def _arrow_file(source: Path, limits: Limits) -> RawTable:
    """Read a file by its footer, because writers differ in what precedes the first batch."""
    check_arrow_file(source, limits.max_bytes)
    with _opened_arrow_file(source) as reader:
        schema = reader.schema

    def batches() -> Iterator[list[pa.Array]]:
        with _opened_arrow_file(source) as reader:
            work = _DictionaryWork()
            for number in range(reader.num_record_batches):
                batch = reader.get_batch(number)
                work.check(batch)
                yield _measured(batch)

    return _arrow_table(schema, batches)


def _arrow_stream(source: Path, limits: Limits) -> RawTable:
    with _opened_arrow(source) as reader:
        schema = reader.schema
    check_columns(len(schema))
    check_arrow(source, limits.max_bytes)

    def batches() -> Iterator[list[pa.Array]]:
        with _opened_arrow(source) as reader:
            work = _DictionaryWork()
            for batch in reader:
                work.check(batch)
                yield _measured(batch)

    return _arrow_table(schema, batches)


def _arrow_table(schema: pa.Schema, batches: Callable[[], Iterator[list[pa.Array]]]) -> RawTable:
    check_columns(len(schema))
    check_types(schema, None)
    return RawTable(list(schema.names), batches, declared_categories(schema, None), index_columns(schema))


@contextmanager
def _opened_arrow_file(source: Path) -> Iterator[pa.ipc.RecordBatchFileReader]:
    with pa.memory_map(str(source)) as file, pa.ipc.open_file(file) as reader:
        yield reader


@contextmanager
def _opened_arrow(source: Path) -> Iterator[pa.ipc.RecordBatchStreamReader]:
    with pa.memory_map(str(source)) as file, pa.ipc.open_stream(file) as reader:
        yield reader


def _measured(batch: pa.RecordBatch) -> list[pa.Array]:
    """Validate the buffers of a batch, then its text sizes, then all its values. Return its columns."""
    batch.validate()
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        check_texts(name, column)
    batch.validate(full=True)
    # few Arrow functions support string views, which polars writes
    return [column.cast(_without_views(column.type)) for column in batch.columns]


def _without_views(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _without_views(kind.value_type), kind.ordered)
    return pa.string() if pa.types.is_string_view(kind) else kind


class _DictionaryWork:
    """Bounds the work on dictionaries, which are validated again with every batch that uses them."""

    def __init__(self) -> None:
        self._left = FREE_DICTIONARY_ENTRIES

    def check(self, batch: pa.RecordBatch) -> None:
        """Refuse many batches of few rows with large dictionaries.

        Raises:
            TableTooLarge: the work exceeds the limit.
        """
        entries = sum(len(column.dictionary) for column in batch.columns if pa.types.is_dictionary(column.type))
        self._left += DICTIONARY_ENTRIES_A_ROW * len(batch) - entries
        if self._left < 0:
            raise TableTooLarge("the table has large dictionaries in record batches of few rows; write larger batches")


def _rows_at_once(columns: int) -> int:
    return max(1, min(BATCH_ROWS, BATCH_CELLS // max(columns, 1)))


def _npz(source: Path, max_bytes: int) -> RawTable:
    members = arrays(source, max_bytes)
    X = members["X"]
    y = members["y"] if "y" in members else np.empty((*X.shape[:1], 0))
    given_names = members.get("feature_names")
    if X.ndim != 2 or y.ndim not in (1, 2) or len(X) != len(y):
        raise UnreadableTable(f"the npz needs X [n, d] and y [n] or [n, c]; X has shape {X.shape} and y {y.shape}")
    for name, array in (("X", X), ("y", y)):
        _check_kind(name, array.dtype)
    # before creating names: a few bytes can declare billions of columns
    check_columns(X.shape[1] + (1 if y.ndim == 1 else y.shape[1]))
    outputs = ["y"] if y.ndim == 1 else [f"y{index}" for index in range(y.shape[1])]
    if given_names is not None and given_names.size != X.shape[1]:
        raise UnreadableTable(f"feature_names has {given_names.size} names and X {X.shape[1]} columns")
    names = [f"x{k}" for k in range(X.shape[1])] if given_names is None else [str(name) for name in given_names.ravel()]
    Y = y[:, None] if y.ndim == 1 else y

    def batches() -> Iterator[list[pa.Array]]:
        step = _rows_at_once(X.shape[1])
        for start in range(0, len(X), step):
            parts = [_native(part[start : start + step]) for part in (X, Y)]
            yield [pa.array(part[:, index]) for part in parts for index in range(part.shape[1])]

    return RawTable(names + outputs, batches)


def _check_kind(name: str, kind: np.dtype[Any]) -> None:
    try:
        type_of(name, pa.array(_native(np.empty(0, kind))).type)
    except pa.ArrowException as error:
        raise UnreadableTable(f"array {name!r} of the npz holds {kind}; {ALLOWED_CELLS}") from error


def _native(block: np.ndarray) -> np.ndarray:
    """Return a copy in memory, in native byte order, with times in a unit that Arrow supports."""
    block = np.array(block, block.dtype.newbyteorder("="))
    coarse = block.dtype.kind == "M" and np.datetime_data(block.dtype)[0] in ("Y", "M", "W", "h", "m")
    return block.astype("M8[s]") if coarse else block


def _json(source: Path, *, lines: bool = False) -> RawTable:
    table = JsonTable(source, lines=lines)
    return RawTable(table.names, lambda: table.batches(_rows_at_once(len(table.names))))
