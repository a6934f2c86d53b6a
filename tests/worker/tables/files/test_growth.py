"""What a table takes to read grows with its cells, whatever their shape: no reader is held for long by a small file."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from support.tables import WRITERS, as_npz

from worker.contracts.base import MAX_COLUMNS, ColumnType
from worker.tables import media
from worker.tables.files import describe
from worker.tables.files.ingest import ingest
from worker.tables.values import ARROW_TYPES

FORMS: dict[str, Callable[[pa.Table], bytes]] = {
    **WRITERS,
    media.NPZ: lambda table: as_npz(
        X=np.array([[column[0].as_py() for column in table.columns]]), y=[0.0], feature_names=table.column_names
    ),
}
TIMES = 8
MAX_GROWTH = 24
"""Between ``TIMES`` and its square, and further from what is right than a busy machine takes anyone."""


def _seconds(folder: Path, kind: str, body: bytes) -> float:
    source = folder / "body"
    source.write_bytes(body)
    began = time.process_time()
    ingest(source, kind, folder / "table", max_cells=10**9, max_bytes=2**31)
    return time.process_time() - began


def _growth(folder: Path, kind: str, body: Callable[[int], bytes], size: int) -> float:
    _seconds(folder, kind, body(2))  # what is imported and looked up but once
    small = min(_seconds(folder, kind, body(size)) for _ in range(3))
    return _seconds(folder, kind, body(TIMES * size)) / small


def _wide(width: int, *, text: bool) -> pa.Table:
    return pa.table({f"c{index}": [f"t{index}" if text else index + 0.5] for index in range(width)})


@pytest.mark.parametrize(("kind", "text"), [*((kind, False) for kind in FORMS), (media.CSV, True)])
def test_columns_cost_no_more_each_the_more_there_are(kind: str, text: bool, tmp_path: Path) -> None:
    assert _growth(tmp_path, kind, lambda width: FORMS[kind](_wide(width, text=text)), 500) < MAX_GROWTH


@pytest.mark.parametrize("kind", FORMS)
def test_the_widest_table_is_read(kind: str, tmp_path: Path) -> None:
    assert _seconds(tmp_path, kind, FORMS[kind](_wide(MAX_COLUMNS - 1, text=False))) < 60


def _batches(count: int) -> bytes:
    sink = pa.BufferOutputStream()
    schema = pa.schema([("a", pa.float64())])
    with pa.ipc.new_stream(sink, schema) as writer:
        for number in range(count):
            writer.write_batch(pa.record_batch([pa.array([float(number)])], schema=schema))
    return bytes(sink.getvalue())


def test_record_batches_of_one_row_cost_no_more_each_the_more_there_are(tmp_path: Path) -> None:
    assert _growth(tmp_path, media.ARROW_STREAM, _batches, 3000) < MAX_GROWTH


@pytest.mark.parametrize("kind", ["numeric", "categorical"])
def test_a_long_column_is_gone_through_as_often_as_a_short_one(
    kind: ColumnType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(describe, "PARTITION_ROWS", 100)
    times: list[int] = []
    for rows in (100, 10_000):
        column = pa.array(np.arange(rows)).cast(ARROW_TYPES[kind])
        reads: list[pa.Array] = []

        def blocks(column: pa.Array = column, reads: list[pa.Array] = reads) -> Iterator[pa.Array]:
            reads.append(column)
            yield column

        assert describe.describe("a", kind, blocks).distinct == rows
        times.append(len(reads))
    assert times[0] == times[1]
