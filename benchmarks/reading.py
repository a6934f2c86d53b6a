"""Large tables: the time and the memory of the process that reads them, as CSV and as Parquet.

A table has 30 columns: 22 of numbers with four decimals, one of them with a tenth missing, four of integers, two of
categories, a boolean and an identifier that no two rows share. Each file is read by a reader process of its own, with
the default limits. Peak memory is that of the whole process.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from benchmarks import memory
from benchmarks.report import Cell, Report
from service.runtime.reader_pool import TableReaders
from service.settings import ServiceSettings
from worker.contracts.reading import ReadOrder
from worker.tables import media

ROWS = (1_000_000, 10_000_000)
QUICK_ROWS = (10_000, 40_000)
BLOCK_ROWS = 100_000
ROW_GROUP = 2**20
"""Rows of a row group that pyarrow writes by default."""
NUMBERS, INTEGERS = 22, 4
MIB = 2**20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--folder", type=Path, help="where files are written meanwhile; a CSV of 10^7 rows has 2.5 GB")


def run(arguments: argparse.Namespace, report: Report) -> None:
    report.note(__doc__ or "")
    sizes = QUICK_ROWS if arguments.quick else arguments.rows
    cells: list[list[Cell]] = []
    for write in (write_csv, write_parquet):
        for rows in sizes:
            with TemporaryDirectory(prefix="factrfm-reading-", dir=arguments.folder) as name:
                cells.append(_measured(write, rows, Path(name), arguments.seed))
            print(*cells[-1], flush=True)
    report.table("Reading", ["form", "rows", "file, MB", "seconds", "MB a second", "peak, MiB", "bound, MiB"], cells)


def _measured(write: Callable[[Path, Iterator[pa.Table]], str], rows: int, folder: Path, seed: int) -> list[Cell]:
    settings = ServiceSettings()
    source = folder / "body"
    media_type = write(source, blocks(rows, seed))
    readers = TableReaders(1, settings.table_reader_bytes, settings.table_reader_seconds)
    order = ReadOrder(
        source=source,
        media_type=media_type,
        destination=folder / "table.parquet",
        max_cells=settings.max_cells,
        max_bytes=settings.max_body_bytes,
    )
    began = time.perf_counter()
    try:
        found = readers.read(order)
        seconds = time.perf_counter() - began
        [reader] = psutil.Process().children()
        peak = memory.peak(reader.pid)
    finally:
        readers.close()
    if found.rows != rows:
        raise RuntimeError(f"{found.rows} rows were read of {rows}")
    size = source.stat().st_size / 1e6
    bound = settings.table_reader_bytes / MIB
    return [media_type, rows, round(size, 1), round(seconds, 1), round(size / seconds, 1), round(peak / MIB), bound]


def blocks(rows: int, seed: int) -> Iterator[pa.Table]:
    """Yield the table in blocks, which are drawn one at a time."""
    random = np.random.default_rng(seed)
    cities = pa.array([f"city {number}" for number in range(1000)])
    for start in range(0, rows, BLOCK_ROWS):
        n = min(BLOCK_ROWS, rows - start)
        columns: dict[str, pa.Array] = {f"x{k}": pa.array(np.round(random.normal(size=n), 4)) for k in range(NUMBERS)}
        columns["x0"] = pa.array(np.round(random.normal(size=n), 4), mask=random.random(n) < 0.1)
        columns |= {f"n{k}": pa.array(random.integers(0, 10 ** (k + 2), n)) for k in range(INTEGERS)}
        columns["city"] = cities.take(pa.array(random.integers(0, len(cities), n)))
        columns["kind"] = pa.array(np.array(["flat", "house", "garage"])[random.integers(0, 3, n)])
        columns["sold"] = pa.array(random.random(n) < 0.3)
        columns["id"] = pa.array([f"u{number:09d}" for number in range(start, start + n)])
        yield pa.table(columns)


def write_csv(target: Path, tables: Iterator[pa.Table]) -> str:
    """Write tables as one CSV; return its media type."""
    first = next(tables)
    with pa_csv.CSVWriter(target, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)
    return media.CSV


def write_parquet(target: Path, tables: Iterator[pa.Table]) -> str:
    """Write tables as one Parquet file with row groups of a common size; return its media type."""
    first = next(tables)
    group = [first]
    with pq.ParquetWriter(target, first.schema) as writer:
        for table in tables:
            group.append(table)
            if sum(map(len, group)) >= ROW_GROUP:
                writer.write_table(pa.concat_tables(group))
                group = []
        if group:
            writer.write_table(pa.concat_tables(group))
    return media.PARQUET
