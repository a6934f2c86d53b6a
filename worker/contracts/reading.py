"""Messages between the service and a table reader process: one JSON document per line."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from worker.contracts.base import Contract, DecimalMark
from worker.contracts.resources import Column, ModelColumn, Reading


class ReadingOptions(Contract):
    """What a caller knows of a file: see ``worker.tables.files.readers.read``. None: it is found out."""

    header: bool | None = None
    missing: tuple[str, ...] | None = None
    separator: str | None = None
    encoding: str | None = None
    decimal: DecimalMark | None = None
    sheet: str | None = None


class ReadOrder(Contract):
    """Read ``source`` and write the typed table to ``destination``: see ``worker.tables.files.ingest``."""

    kind: Literal["table"] = "table"
    source: Path
    media_type: str
    destination: Path
    max_cells: int
    max_bytes: int
    options: ReadingOptions = ReadingOptions()


class RowsOrder(Contract):
    """Read JSON rows to predict, and write the columns that the model uses to an Arrow file."""

    kind: Literal["rows"] = "rows"
    source: Path
    destination: Path
    features: list[ModelColumn]
    max_rows: int


class FileRowsOrder(Contract):
    """Read a file of rows to predict, and write its cells unchanged to an Arrow file."""

    kind: Literal["file rows"] = "file rows"
    source: Path
    media_type: str
    destination: Path
    max_rows: int
    header: bool | None = None


AnyOrder = Annotated[ReadOrder | RowsOrder | FileRowsOrder, Field(discriminator="kind")]


class ReadDone(Contract):
    """Rows and columns of the table; for rows to predict only their number."""

    rows: int
    columns: list[Column] = Field(default_factory=list)
    reading: Reading | None = None


class ReadFailed(Contract):
    """Why the table cannot be read: the error's ``code``, and ``errors`` as pointers into the body with messages."""

    code: Literal[
        "unreadable_table", "table_too_large", "storage_full", "out_of_memory", "invalid_request", "column_mismatch"
    ]
    detail: str
    errors: list[tuple[str, str]] = Field(default_factory=list)
