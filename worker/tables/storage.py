"""The typed table in storage: Parquet with columns of float64, bool and string."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 65_536


def load_table(source: Path, columns: list[str] | None = None) -> pa.Table:
    """Return the whole table, or some of its columns."""
    return pq.read_table(source, columns=columns, memory_map=True)


def iter_tables(source: Path, columns: list[str] | None, batch_rows: int) -> Iterator[pa.Table]:
    """Yield the table in blocks of at most ``batch_rows`` rows."""
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(batch_size=batch_rows, columns=columns):
            yield pa.Table.from_batches([batch])


def iter_column(source: Path | BinaryIO, column: str) -> Iterator[pa.Array]:
    """Yield one column in blocks of at most a group of rows."""
    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(batch_size=ROW_GROUP, columns=[column], use_threads=False):
            yield batch.column(0)
