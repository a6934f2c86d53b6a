"""The forms in which tables travel, and how to tell them by their first bytes."""

CSV = "text/csv"
TSV = "text/tab-separated-values"
PARQUET = "application/vnd.apache.parquet"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
NPZ = "application/x-npz"
NPY = "application/x-npy"
JSON = "application/json"

DATASET_TYPES = (CSV, TSV, PARQUET, ARROW_STREAM, ARROW_FILE, NPZ, JSON)
ROW_TYPES = (JSON, CSV, TSV, PARQUET, ARROW_STREAM, ARROW_FILE, NPY)

TEXTS = (CSV, TSV)
"""Rows of texts, whose first row may hold the names."""

SUFFIXES = {
    ".csv": CSV,
    ".tsv": TSV,
    ".parquet": PARQUET,
    ".arrow": ARROW_FILE,
    ".arrows": ARROW_STREAM,
    ".npz": NPZ,
    ".npy": NPY,
    ".json": JSON,
}
"""How names of files end, by their form."""

MAGIC = (
    (b"PAR1", PARQUET),
    (b"ARROW1", ARROW_FILE),
    (b"\xff\xff\xff\xff", ARROW_STREAM),
    (b"PK\x03\x04", NPZ),
    (b"PK\x05\x06", NPZ),
    (b"\x93NUMPY", NPY),
    (b"\x1f\x8b", "application/gzip"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x80\x04\x95", "a pickle"),
)


def sniff(start: bytes) -> str | None:
    """Return what the first bytes of a body look like; None for text and for what is unknown."""
    return next((kind for magic, kind in MAGIC if start.startswith(magic)), None)
