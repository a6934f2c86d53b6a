"""Media types of tables, and their detection by the first bytes."""

CSV = "text/csv"
TSV = "text/tab-separated-values"
PARQUET = "application/vnd.apache.parquet"
ARROW_STREAM = "application/vnd.apache.arrow.stream"
ARROW_FILE = "application/vnd.apache.arrow.file"
NPZ = "application/x-npz"
NPY = "application/x-npy"
JSON = "application/json"
NDJSON = "application/x-ndjson"

DATASET_TYPES = (CSV, TSV, PARQUET, ARROW_STREAM, ARROW_FILE, NPZ, JSON, NDJSON)
ROW_TYPES = (JSON, NDJSON, CSV, TSV, PARQUET, ARROW_STREAM, ARROW_FILE, NPY)

TEXTS = (CSV, TSV)
"""Text formats, whose first row may hold the names."""

UNMARKED = (*TEXTS, JSON, NDJSON)
"""Formats whose first bytes tell nothing."""

SUFFIXES = {
    ".csv": CSV,
    ".tsv": TSV,
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
    """Return the media type or format of a body by its first bytes; None for text and unknown formats."""
    return next((kind for magic, kind in MAGIC if start.startswith(magic)), None)
