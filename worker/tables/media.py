"""Media types of tables, and their detection by the name or the first bytes of a file."""

from pathlib import PurePath
from typing import Literal

CSV = "text/csv"
TSV = "text/tab-separated-values"
PARQUET = "application/vnd.apache.parquet"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
NPZ = "application/x-npz"
NPY = "application/x-npy"
JSON = "application/json"
NDJSON = "application/x-ndjson"

DATASET_TYPES = (CSV, TSV, XLSX, PARQUET, ARROW_STREAM, ARROW_FILE, NPZ, JSON, NDJSON)
ROW_TYPES = (JSON, NDJSON, CSV, TSV, XLSX, PARQUET, ARROW_STREAM, ARROW_FILE, NPY)

TEXTS = (CSV, TSV)
"""Text formats of rows of cells."""

WITH_HEADER = (*TEXTS, XLSX)
"""Formats whose first row may hold the names."""

UNMARKED = (*TEXTS, JSON, NDJSON)
"""Formats whose first bytes tell nothing."""

SUFFIXES = {
    ".csv": CSV,
    ".tsv": TSV,
    ".xlsx": XLSX,
    ".parquet": PARQUET,
    ".arrow": ARROW_FILE,
    ".arrows": ARROW_STREAM,
    ".npz": NPZ,
    ".npy": NPY,
    ".json": JSON,
    ".ndjson": NDJSON,
    ".jsonl": NDJSON,
}
"""Media types by the suffix of the file name."""

OLD_WORKBOOK = "a workbook of before 2007 or with a password"

COMPRESSED: dict[str, Literal["gzip", "zstd"]] = {".gz": "gzip", ".zst": "zstd"}
"""How a file is compressed, by the end of its name."""

MAGIC = (
    (b"PAR1", PARQUET),
    (b"ARROW1", ARROW_FILE),
    (b"\xff\xff\xff\xff", ARROW_STREAM),
    (b"PK\x03\x04", NPZ),
    (b"PK\x05\x06", NPZ),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLD_WORKBOOK),
    (b"\x93NUMPY", NPY),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x80\x04\x95", "a pickle"),
)


def form_of(name: str) -> tuple[str | None, Literal["gzip", "zstd"] | None]:
    """Return the media type and the compression of a file by its name; None where it tells none."""
    path = PurePath(name)
    encoding = COMPRESSED.get(path.suffix.lower())
    return SUFFIXES.get((PurePath(path.stem) if encoding else path).suffix.lower()), encoding


def sniff(start: bytes) -> str | None:
    """Return the media type or format of a body by its first bytes; None for text and unknown formats."""
    return next((kind for magic, kind in MAGIC if start.startswith(magic)), None)
