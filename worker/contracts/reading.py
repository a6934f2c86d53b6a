"""What the service and a process that reads tables tell each other: one JSON document a line."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from worker.contracts.base import Contract
from worker.contracts.resources import Column, ModelColumn


class ReadOrder(Contract):
    """Read ``source`` and write the typed table to ``destination``: see ``worker.tables.files.ingest``."""

    kind: Literal["table"] = "table"
    source: Path
    media_type: str
    destination: Path
    max_cells: int
    max_bytes: int
    header: bool | None = None
    missing: tuple[str, ...] | None = None


class RowsOrder(Contract):
    """Read rows to predict, in JSON, and write those columns of them that a model reads as an Arrow file."""

    kind: Literal["rows"] = "rows"
    source: Path
    destination: Path
    features: list[ModelColumn]
    max_rows: int


class FileRowsOrder(Contract):
    """Read a file of rows to predict, and write them with their cells as they are as an Arrow file."""

    kind: Literal["file rows"] = "file rows"
    source: Path
    media_type: str
    destination: Path
    max_rows: int


AnyOrder = Annotated[ReadOrder | RowsOrder | FileRowsOrder, Field(discriminator="kind")]


class ReadDone(Contract):
    """What the table looks like. Of rows to predict there is no more to tell than how many they are."""

    rows: int
    columns: list[Column] = Field(default_factory=list)


class ReadFailed(Contract):
    """Why there is no table. ``code`` is that of the error; ``errors`` are pointers into the body, with messages."""

    code: Literal[
        "unreadable_table", "table_too_large", "storage_full", "out_of_memory", "invalid_request", "column_mismatch"
    ]
    detail: str
    errors: list[tuple[str, str]] = Field(default_factory=list)
