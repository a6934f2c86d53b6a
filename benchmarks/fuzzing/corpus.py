"""Sound files of every form that the service reads: what mutations begin from."""

import gzip
import io
import json
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worker.store.files.safetensors_io import pack
from worker.tables import media

ROWS = 40
GZIP = "application/gzip"
ZSTD = "application/zstd"
SAFETENSORS = "application/vnd.safetensors"


def corpus() -> dict[str, list[bytes]]:
    """Return sound bodies by media type, small ones that use much of what their formats can do."""
    tables = [_plain(), _rich(), _nested()]
    return {
        media.CSV: [_csv(), b"\xef\xbb\xbfa,b\r\n1,2\r\n", b'a\n"1\n2"\n'],
        media.JSON: [_json(), b'{"rows": [[1, true]], "columns": ["a", "b"], "more": {"x": [1]}}'],
        media.PARQUET: [_parquet(table, **options) for table in tables for options in PARQUET_OPTIONS],
        media.ARROW_FILE: [_arrow(table, pa.ipc.new_file, how) for table in tables for how in (None, "lz4", "zstd")],
        media.ARROW_STREAM: [
            _arrow(table, pa.ipc.new_stream, how) for table in tables for how in (None, "lz4", "zstd")
        ],
        media.NPZ: [_npz(zipfile.ZIP_STORED), _npz(zipfile.ZIP_DEFLATED)],
        media.NPY: [_npy(np.arange(12.0).reshape(4, 3)), _npy(np.ones((4, 3), "<f4", order="F"))],
        GZIP: [gzip.compress(_csv(), mtime=0), gzip.compress(b"a\n1\n", mtime=0) * 2],
        ZSTD: [pa.Codec("zstd").compress(_csv(), asbytes=True)],
        SAFETENSORS: [pack({"M": np.eye(3), "n": np.arange(5)}, {"names": ["a", "b", "c"]})],
    }


PARQUET_OPTIONS: tuple[Mapping[str, object], ...] = (
    {},
    {"compression": "none", "use_dictionary": False},
    {"compression": "zstd", "data_page_version": "2.0", "data_page_size": 64},
    {"compression": "gzip", "version": "1.0", "write_statistics": False},
    {"compression": "brotli", "use_dictionary": False, "write_page_index": True},
    {"compression": "lz4", "row_group_size": 7, "write_page_checksum": True},
    {"compression": "none", "use_dictionary": False, "use_byte_stream_split": ["number"]},
    {
        "compression": "none",
        "use_dictionary": False,
        "column_encoding": {"number": "PLAIN", "text": "DELTA_BYTE_ARRAY"},
    },
)


def _plain() -> pa.Table:
    return pa.table(
        {
            "number": [index / 7 for index in range(ROWS)],
            "text": [f"town {index % 5}" for index in range(ROWS)],
            "flag": [index % 3 == 0 for index in range(ROWS)],
        }
    )


def _rich() -> pa.Table:
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    texts = [None if index % 4 == 0 else f"t{index % 6}" for index in range(ROWS)]
    return (
        _plain()
        .append_column("kind", pa.array(texts).dictionary_encode())
        .append_column("cost", pa.array([Decimal(index) / 4 for index in range(ROWS)], pa.decimal128(12, 2)))
        .append_column("at", pa.array([moment] * ROWS, pa.timestamp("us", "UTC")))
        .append_column("day", pa.array(list(range(ROWS)), pa.date32()))
        .append_column("small", pa.array(range(ROWS), pa.uint8()))
        .append_column("half", pa.array(np.arange(ROWS, dtype=np.float16)))
        .append_column("none", pa.nulls(ROWS))
    )


def _nested() -> pa.Table:
    """Return a table of types that the service refuses: its readers meet them all the same."""
    lists = [None if index % 5 == 0 else list(range(index % 4)) for index in range(ROWS)]
    objects = [{"a": index, "b": str(index)} for index in range(ROWS)]
    return _plain().append_column("list", pa.array(lists)).append_column("object", pa.array(objects))


def _csv() -> bytes:
    lines = [f'{index},"town, {index % 5}",{index / 7:.3f},{index % 2 == 0}' for index in range(ROWS)]
    return "\n".join(["id,place,number,flag", *lines, ""]).encode()


def _json() -> bytes:
    rows = [[index, f"town {index % 5} é", None if index % 6 == 0 else index / 7, index % 2 == 0] for index in range(9)]
    return json.dumps({"columns": ["id", "place", "number", "flag"], "rows": rows}).encode()


def _parquet(table: pa.Table, **options: object) -> bytes:
    body = io.BytesIO()
    pq.write_table(table, body, **options)
    return body.getvalue()


def _arrow(table: pa.Table, opened: object, compression: str | None) -> bytes:
    body = io.BytesIO()
    with opened(body, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, max_chunksize=15)
    return body.getvalue()


def _npz(how: int) -> bytes:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w", how) as archive:
        archive.writestr("X.npy", _npy(np.arange(12.0).reshape(4, 3)))
        archive.writestr("y.npy", _npy(np.array(["a", "b", "a", "b"])))
        archive.writestr("feature_names.npy", _npy(np.array(["u", "v", "w"])))
    return body.getvalue()


def _npy(array: np.ndarray) -> bytes:
    body = io.BytesIO()
    np.save(body, array, allow_pickle=False)
    return body.getvalue()
