"""What the tests of tables share: bytes to a file, and a file to a table or an error."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from worker.contracts.reading import ReadingOptions
from worker.contracts.resources import Column
from worker.tables import media
from worker.tables.files.ingest import IngestedTable, ingest
from worker.tables.files.readers import OPEN
from worker.tables.storage import load_table
from worker.tables.values import shown

MAX_CELLS = 1_000_000
MAX_BYTES = 50_000_000


class Ingested:
    """A table that was taken in, with the description of its columns."""

    def __init__(self, described: IngestedTable, table: pa.Table) -> None:
        self.rows = described.rows
        self.reading = described.reading
        self.columns: dict[str, Column] = {column.name: column for column in described.columns}
        self.table = table

    @property
    def types(self) -> dict[str, str]:
        return {name: column.type for name, column in self.columns.items()}


Take = Callable[..., Ingested]


@pytest.fixture
def take(tmp_path: Path) -> Take:
    """Takes a body in as a table."""
    taken = 0

    def take_in(body: bytes | str, kind: str = media.CSV, options: ReadingOptions = OPEN, **limits: int) -> Ingested:
        nonlocal taken
        taken += 1
        source, destination = tmp_path / f"{taken}.body", tmp_path / f"{taken}.parquet"
        source.write_bytes(body.encode() if isinstance(body, str) else body)
        limits = {"max_cells": MAX_CELLS, "max_bytes": MAX_BYTES, **limits}
        described = ingest(source, kind, destination, options=options, **limits)
        return Ingested(described, shown(load_table(destination)))

    return take_in
