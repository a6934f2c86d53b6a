"""Store typed tables as Parquet, and pass them between processes as Arrow.

Columns are float64, bool or string; numbers that float64 would round or write differently have their own type, declared
categories are dictionaries, and ``written`` may store texts beside a column. Callers name columns that they read as
categories in ``as_texts``, and get their stored texts.
"""

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worker.tables.written import columns_to_read, restore_texts

ROW_GROUP = 65_536


def load_table(source: Path, columns: list[str] | None = None, as_texts: Collection[str] = ()) -> pa.Table:
    """Return the table, or some of its columns."""
    names = columns_to_read(pq.read_schema(source, memory_map=True).names, columns, as_texts)
    return restore_texts(pq.read_table(source, columns=names, memory_map=True))


def save_arrow(table: pa.Table, destination: Path) -> None:
    """Write a table for ``load_arrow``."""
    with pa.ipc.new_file(destination, table.schema) as writer:
        writer.write_table(table)


def load_arrow(source: Path) -> pa.Table:
    """Return the memory-mapped table of an Arrow file, which may then be deleted but not changed."""
    with pa.ipc.open_file(pa.memory_map(str(source))) as reader:
        return reader.read_all()


def iter_tables(
    source: Path | BinaryIO, columns: list[str] | None, batch_rows: int, as_texts: Collection[str] = ()
) -> Iterator[pa.Table]:
    """Yield the table, or some of its columns, in blocks of at most ``batch_rows`` rows."""
    with pq.ParquetFile(source) as file:
        names = columns_to_read(file.schema_arrow.names, columns, as_texts)
        for batch in file.iter_batches(batch_size=batch_rows, columns=names):
            yield restore_texts(pa.Table.from_batches([batch]))


def take_rows(source: BinaryIO, columns: list[str], numbers: Sequence[int]) -> pa.Table:
    """Return the rows with these numbers, from 0, in that order. Memory holds one row group at a time."""
    rows = np.asarray(numbers, dtype=np.int64)
    tables: list[pa.Table] = []
    order: list[np.ndarray] = []
    with pq.ParquetFile(source) as file:
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
