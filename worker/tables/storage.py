"""Store typed tables as Parquet, and pass them between processes as Arrow.

Columns are float64, bool or string; numbers that float64 would round or write differently have their own type, declared
categories are dictionaries, and ``written`` may store texts beside a column. Callers name columns that they read as
categories in ``as_texts``, and get their stored texts.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worker.tables.written import columns_to_read, restore_texts

ROW_GROUP = 65_536


def load_table(source: Path, columns: list[str] | None = None, as_texts: Collection[str] = ()) -> pa.Table:
    """Return the table, or some of its columns."""
    names = columns_to_read(pq.read_schema(source, memory_map=True).names, columns, as_texts)
    return restore_texts(pq.read_table(source, columns=names, memory_map=True))


def open_table(source: Path | BinaryIO, **options: Any) -> pq.ParquetFile:
    """Open a Parquet file for reading in blocks. ``options``: of ``ParquetFile``.

    Its pre-buffer, which is on by default, would keep all that was read until the last block.
    """
    return pq.ParquetFile(source, pre_buffer=False, buffer_size=2**20, **options)


def save_arrow(table: pa.Table, destination: Path) -> None:
    """Write a table for ``load_arrow``."""
    with pa.ipc.new_file(destination, table.schema) as writer:
        writer.write_table(table)


def load_arrow(source: Path) -> pa.Table:
    """Return the memory-mapped table of an Arrow file, which may then be deleted but not changed."""
    with pa.ipc.open_file(pa.memory_map(str(source))) as reader:
        return reader.read_all()


def iter_arrow(source: Path) -> Iterator[pa.Table]:
    """Yield the batches of an Arrow file. Memory holds one of them."""
    with pa.ipc.open_file(pa.memory_map(str(source))) as reader:
        for number in range(reader.num_record_batches):
            yield pa.Table.from_batches([reader.get_batch(number)])


def iter_tables(
    source: Path | BinaryIO,
    columns: list[str] | None,
    batch_rows: int,
    as_texts: Collection[str] = (),
    *,
    first: int = 0,
    rows: int | None = None,
    numbers: np.ndarray | None = None,
) -> Iterator[pa.Table]:
    """Yield the table, or some of its columns, in blocks of ``batch_rows`` rows; the last one may have fewer.

    ``first``: the row to begin with, from 0, and ``rows``: how many there will be, None for all. Row groups in front
    of the first row and behind the last one are not read. ``numbers``: instead, the ascending numbers of the rows.
    """
    with open_table(source) as file:
        names = columns_to_read(file.schema_arrow.names, columns, as_texts)
        groups, skipped = _row_groups(file, first, rows)
        batches = file.iter_batches(batch_size=batch_rows, row_groups=groups, columns=names)
        chosen = batches if numbers is None else _numbered(batches, numbers)
        for table in _blocks(chosen, first - skipped, rows, batch_rows):
            yield restore_texts(table)


def _row_groups(file: pq.ParquetFile, first: int, rows: int | None) -> tuple[list[int], int]:
    """Return the row groups that hold any of the rows, and how many rows are in front of them."""
    groups, skipped, begin = [], 0, 0
    for group in range(file.num_row_groups):
        end = begin + file.metadata.row_group(group).num_rows
        if end <= first:
            skipped = end
        elif rows is None or begin < first + rows:
            groups.append(group)
        begin = end
    return groups, skipped


def _numbered(batches: Iterator[pa.RecordBatch], numbers: np.ndarray) -> Iterator[pa.RecordBatch]:
    """Yield the rows of batches that have one of the ascending ``numbers``."""
    first = 0
    for batch in batches:
        after = first + batch.num_rows
        inside = numbers[np.searchsorted(numbers, first) : np.searchsorted(numbers, after)]
        if len(inside):
            yield batch if len(inside) == batch.num_rows else batch.take(pa.array(inside - first))
        first = after


def _blocks(batches: Iterator[pa.RecordBatch], skip: int, rows: int | None, block_rows: int) -> Iterator[pa.Table]:
    """Yield ``rows`` rows behind the first ``skip`` of batches, cut into blocks anew: batches begin at a row group."""
    held: pa.Table | None = None
    for batch in batches:
        if rows == 0:
            break
        table = pa.Table.from_batches([batch]).slice(skip, rows)
        skip = max(skip - batch.num_rows, 0)
        rows = None if rows is None else rows - table.num_rows
        held = table if held is None else pa.concat_tables([held, table])
        while held.num_rows >= block_rows:
            yield held.slice(0, block_rows)
            held = held.slice(block_rows)
    if held is not None and held.num_rows:
        yield held


def take_rows(source: BinaryIO, columns: list[str], numbers: Sequence[int]) -> pa.Table:
    """Return the rows with these numbers, from 0, in that order. Memory holds one row group at a time."""
    rows = np.asarray(numbers, dtype=np.int64)
    tables: list[pa.Table] = []
    order: list[np.ndarray] = []
    with open_table(source) as file:
        first = 0
        for group in range(file.num_row_groups):
            after = first + file.metadata.row_group(group).num_rows
            inside = np.flatnonzero((rows >= first) & (rows < after))
            if len(inside):
                table = file.read_row_group(group, columns=columns, use_threads=False)
                tables.append(table.take(rows[inside] - first))
                order.append(inside)
            first = after
    return pa.concat_tables(tables).take(np.argsort(np.concatenate(order)))


def iter_column(file: pq.ParquetFile, column: str) -> Iterator[pa.Array]:
    """Yield one column of an open file in blocks of at most a row group.

    The caller opens the file once for all columns, because opening reads the whole footer.
    """
    for batch in file.iter_batches(batch_size=ROW_GROUP, columns=[column], use_threads=False):
        yield batch.column(0)
