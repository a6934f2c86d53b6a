"""One table in every form, for tests of readers."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from worker.tables import media
from worker.tables.files.ingest import IngestedTable, ingest


def as_csv(table: pa.Table) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.column_names)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        writer.writerow(["" if cell is None else repr(cell) if isinstance(cell, float) else cell for cell in row])
    return text.getvalue().encode()


def as_parquet(table: pa.Table) -> bytes:
    body = io.BytesIO()
    pq.write_table(table, body)
    return body.getvalue()


def as_stream(table: pa.Table) -> bytes:
    body = io.BytesIO()
    with pa.ipc.new_stream(body, table.schema) as writer:
        writer.write_table(table)
    return body.getvalue()


def as_file(table: pa.Table) -> bytes:
    body = io.BytesIO()
    with pa.ipc.new_file(body, table.schema) as writer:
        writer.write_table(table)
    return body.getvalue()


def as_json(table: pa.Table) -> bytes:
    rows = [list(row) for row in zip(*(column.to_pylist() for column in table.columns), strict=True)]
    return json.dumps({"columns": table.column_names, "rows": rows}).encode()


def as_npz(**arrays: Any) -> bytes:
    body = io.BytesIO()
    np.savez(body, **arrays)
    return body.getvalue()


WRITERS = {
    media.CSV: as_csv,
    media.PARQUET: as_parquet,
    media.ARROW_STREAM: as_stream,
    media.ARROW_FILE: as_file,
    media.JSON: as_json,
}


def take_in(
    folder: Path, body: bytes, media_type: str, max_cells: int = 10**8, max_bytes: int = 10**8
) -> tuple[IngestedTable, pa.Table]:
    """Ingest a body; return what is said of it and the typed table."""
    source, target = folder / "source", folder / "table.parquet"
    source.write_bytes(body)
    found = ingest(source, media_type, target, max_cells=max_cells, max_bytes=max_bytes)
    return found, pq.read_table(target)
