"""From an uploaded file to the typed table and what its columns look like."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from worker.contracts.base import ColumnType
from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.contracts.resources import Column
from worker.tables import values
from worker.tables.describe import Blocks, describe
from worker.tables.readers import Limits, RawTable, read
from worker.tables.storage import ROW_GROUP, iter_column

GROUP_BYTES = 2**23


@dataclass(frozen=True)
class IngestedTable:
    rows: int
    columns: list[Column]


def ingest(source: Path, media_type: str, destination: Path, *, max_cells: int, max_bytes: int) -> IngestedTable:
    """Write the typed table of ``source`` to ``destination`` as Parquet, and describe its columns.

    Memory is bounded by a group of rows, whatever the length of the table.

    Raises:
        UnreadableTable: naming row and column where they are known.
        TableTooLarge: more than ``max_cells`` cells or ``max_bytes`` bytes.
    """
    raw = read(source, media_type, Limits(max_bytes, max_cells))
    types = _types(raw, max_cells)
    rows = _write(raw, types, destination, max_cells)
    if rows == 0:
        raise UnreadableTable("the table has a header and no rows")
    with pq.ParquetFile(destination) as file:
        columns = [
            describe(name, kind, _blocks(file, name, rows), destination.parent)
            for name, kind in zip(raw.names, types, strict=True)
        ]
    return IngestedTable(rows, columns)


def _blocks(file: pq.ParquetFile, name: str, rows: int) -> Blocks:
    """Return what yields the blocks of a column; one that is a single block is read once."""
    if rows > ROW_GROUP:
        return partial(iter_column, file, name)
    blocks = list(iter_column(file, name))
    return lambda: iter(blocks)


def _types(raw: RawTable, max_cells: int) -> list[ColumnType]:
    """Return the type of each column: of a text form, what all of its texts could be."""
    if not raw.textual:
        first = next(iter(raw.batches()), None)
        if first is None:
            raise UnreadableTable("the table has no rows")
        return [values.type_of(name, column.type) for name, column in zip(raw.names, first, strict=True)]
    number = [True] * len(raw.names)
    boolean = [True] * len(raw.names)
    seen = [False] * len(raw.names)
    rows = 0
    for batch in raw.batches():
        rows += len(batch[0])
        _check_cells(rows, len(raw.names), max_cells)
        for index, column in enumerate(batch):
            if not number[index] and not boolean[index]:
                continue
            texts = values.without_missing(column)
            seen[index] |= texts.null_count < len(texts)
            number[index] = number[index] and values.could_be_number(texts)
            boolean[index] = boolean[index] and values.could_be_boolean(texts)
    return [
        "numeric" if is_number else "boolean" if is_boolean and was_seen else "categorical"
        for is_number, is_boolean, was_seen in zip(number, boolean, seen, strict=True)
    ]


def _write(raw: RawTable, types: list[ColumnType], destination: Path, max_cells: int) -> int:
    schema = pa.schema([pa.field(name, values.ARROW_TYPES[kind]) for name, kind in zip(raw.names, types, strict=True)])
    rows = 0
    group: list[pa.RecordBatch] = []
    group_rows, group_bytes = 0, 0
    with pq.ParquetWriter(destination, schema) as writer:
        for batch in raw.batches():
            rows += len(batch[0])
            _check_cells(rows, len(types), max_cells)
            columns = []
            for name, column, kind in zip(raw.names, batch, types, strict=True):
                known = values.parsed(values.without_missing(column), kind) if raw.textual else column
                columns.append(values.typed(name, known, kind))
            group.append(pa.record_batch(columns, schema=schema))
            group_rows += group[-1].num_rows
            group_bytes += group[-1].nbytes
            # a group has its own entry in the file's footer, which is held in memory: not one for each small batch
            if group_bytes >= GROUP_BYTES or group_rows >= ROW_GROUP:
                writer.write_table(pa.Table.from_batches(group), row_group_size=ROW_GROUP)
                group, group_rows, group_bytes = [], 0, 0
        if group:
            writer.write_table(pa.Table.from_batches(group), row_group_size=ROW_GROUP)
    return rows


def _check_cells(rows: int, columns: int, max_cells: int) -> None:
    if rows * columns > max_cells:
        raise TableTooLarge(
            f"the table has more than {max_cells} cells: {columns} columns and at least {rows} rows; send fewer"
        )
