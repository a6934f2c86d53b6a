"""The memory that reading takes does not grow with the rows: it is that of a block, a row group and a partition."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from worker.tables import media

SHORT, LONG = 60_000, 240_000
NUMBERS = 3
READ = """
import sys
import tracemalloc
from pathlib import Path
import pyarrow as pa
from worker.tables import storage
from worker.tables.delimited import reader
from worker.tables.files import describe, ingest

# so small that the short table has several of each too
reader.CSV_BLOCK = 2**16
describe.PARTITION_ROWS = 2**14
storage.ROW_GROUP = ingest.ROW_GROUP = 2**12
ingest.GROUP_BYTES = 2**18
folder, kind = Path(sys.argv[1]), sys.argv[2]
tracemalloc.start()
found = ingest.ingest(folder / "body", kind, folder / "table", max_cells=10**9, max_bytes=2**31)
print(found.rows, pa.default_memory_pool().max_memory(), tracemalloc.get_traced_memory()[1])
"""


def _write(target: Path, kind: str, rows: int) -> None:
    """Write numbers that do not compress, a text that no two rows share, and a number and a text of few values."""
    draw = np.random.default_rng(0)
    columns = {f"x{number}": draw.normal(size=rows) for number in range(NUMBERS)}
    table = pa.table({**columns, "id": [f"row {number:08}" for number in range(rows)]})
    table = table.append_column("one", pa.array(np.ones(rows)))
    table = table.append_column("side", pa.array(np.array(["left", "right"])[draw.integers(0, 2, rows)]))
    if kind == media.CSV:
        pyarrow.csv.write_csv(table, target)
    else:
        pq.write_table(table, target, row_group_size=2**14)


def _peaks(folder: Path, kind: str, rows: int) -> tuple[int, int]:
    """Return the most bytes that Arrow, and that Python and numpy have held while a process of its own read a table."""
    folder.mkdir()
    _write(folder / "body", kind, rows)
    arguments = [sys.executable, "-c", READ, str(folder), kind]
    told = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
    assert int(told[0]) == rows
    return int(told[1]), int(told[2])


@pytest.mark.parametrize("kind", [media.CSV, media.PARQUET])
def test_a_longer_table_takes_no_more_memory(kind: str, tmp_path: Path) -> None:
    short, long = _peaks(tmp_path / "short", kind, SHORT), _peaks(tmp_path / "long", kind, LONG)
    column = 8 * (LONG - SHORT)
    for library, before, after in zip(("Arrow", "Python"), short, long, strict=True):
        assert after - before < column / 2, f"{library}: {before} bytes of {SHORT} rows, {after} of {LONG}"
