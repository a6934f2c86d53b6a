"""What the service and a process that reads tables tell each other: one JSON document a line."""

from pathlib import Path
from typing import Literal

from worker.contracts.base import Contract
from worker.contracts.resources import Column


class ReadOrder(Contract):
    """Read ``source`` and write the typed table to ``destination``: see ``worker.tables.ingest``."""

    source: Path
    media_type: str
    destination: Path
    max_cells: int
    max_bytes: int


class ReadDone(Contract):
    """What the table looks like."""

    rows: int
    columns: list[Column]


class ReadFailed(Contract):
    """Why there is no table. ``code`` is that of the error."""

    code: Literal["unreadable_table", "table_too_large", "storage_full", "out_of_memory"]
    detail: str
