"""Small files that stand for much are refused before the memory is taken."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from worker.contracts.errors import FactRFMError, TableTooLarge, UnreadableTable
from worker.tables import media
from worker.tables.files import size_limits
from worker.tables.files.raw_table import Limits
from worker.tables.files.readers import read

LIMITS = Limits(max_bytes=2**30, max_cells=10**8)
ZSTD = pa.ipc.IpcWriteOptions(compression="zstd")
LONG = "x" * 2**20


def _rows(folder: Path, body: bytes, kind: str, limits: Limits = LIMITS) -> int:
    path = folder / "body"
    path.write_bytes(body)
    return sum(len(batch[0]) for batch in read(path, kind, limits).batches())


def _parquet(table: pa.Table, **options: object) -> bytes:
    body = io.BytesIO()
    pq.write_table(table, body, compression="zstd", **options)
    return body.getvalue()


def _arrow(table: pa.Table, options: pa.ipc.IpcWriteOptions = ZSTD) -> bytes:
    body = io.BytesIO()
    with pa.ipc.new_stream(body, table.schema, options=options) as writer:
        writer.write_table(table)
    return body.getvalue()


def _one_text_in_many_rows() -> pa.Table:
    indices = pa.array(np.zeros(1000, np.int32))
    return pa.table({"a": pa.DictionaryArray.from_arrays(indices, pa.array([LONG]))})


def _many_views_of_one_text() -> pa.Table:
    _, views, text = pa.array([LONG], pa.string_view()).buffers()
    many = pa.py_buffer(bytes(views)[:16] * 1000)
    return pa.table({"a": pa.Array.from_buffers(pa.string_view(), 1000, [None, many, text])})


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "Parquet, a dictionary": (media.PARQUET, lambda: _parquet(_one_text_in_many_rows())),
    "Arrow, a dictionary": (media.ARROW_STREAM, lambda: _arrow(_one_text_in_many_rows())),
    "Arrow, views": (media.ARROW_STREAM, lambda: _arrow(_many_views_of_one_text())),
    "Parquet, a long text": (media.PARQUET, lambda: _parquet(pa.table({"a": [LONG + "x"]}))),
    "Arrow, a long text": (media.ARROW_STREAM, lambda: _arrow(pa.table({"a": [LONG + "x"]}))),
    "Parquet, columns": (media.PARQUET, lambda: _parquet(pa.table({f"c{i}": [1] for i in range(20_001)}))),
    "Arrow, columns": (media.ARROW_STREAM, lambda: _arrow(pa.table({f"c{i}": [1] for i in range(20_001)}))),
    "CSV, columns": (media.CSV, lambda: b",".join(b"c%d" % i for i in range(20_001)) + b"\n1\n"),
    "JSON, one row": (media.JSON, lambda: b'{"columns": ["a"], "rows": [[' + b"1," * 20_001 + b"1]]}"),
    "JSON, names": (media.JSON, lambda: b'{"columns": [' + b'"a",' * 20_001 + b'"b"], "rows": []}'),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_stands_for_much_is_too_large(tmp_path: Path, name: str) -> None:
    kind, make = BOMBS[name]
    with pytest.raises(TableTooLarge):
        _rows(tmp_path, make(), kind)


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_zeros_are_counted_as_what_they_become(tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pa.table({"a": np.zeros(1_000_000)})
    body = _parquet(table, use_dictionary=False) if form == "parquet" else _arrow(table)
    kind = media.PARQUET if form == "parquet" else media.ARROW_STREAM
    assert len(body) < 20_000
    assert _rows(tmp_path, body, kind) == 1_000_000
    with pytest.raises(TableTooLarge, match="bytes once decompressed"):
        _rows(tmp_path, body, kind, Limits(max_bytes=2**22, max_cells=10**8))
    monkeypatch.setattr(size_limits, "MAX_PIECE_BYTES", 2**22)
    with pytest.raises(TableTooLarge, match="smaller row groups"):
        _rows(tmp_path, body, kind)


def test_texts_that_repeat_the_text_before_are_refused_unseen(tmp_path: Path) -> None:
    encoding = {"a": "DELTA_BYTE_ARRAY"}
    body = _parquet(pa.table({"a": [LONG] * 4}), use_dictionary=False, column_encoding=encoding)
    with pytest.raises(UnreadableTable, match="DELTA_BYTE_ARRAY"):
        _rows(tmp_path, body, media.PARQUET)


@pytest.mark.parametrize("length", [2**40, 2**62, -(2**40), 7])
def test_a_buffer_that_lies_about_its_length_is_refused(tmp_path: Path, length: int) -> None:
    values = np.zeros(10_000)
    body = _arrow(pa.table({"a": values}))
    told = struct.pack("<q", values.nbytes)
    assert body.count(told) == 1
    with pytest.raises(FactRFMError):
        _rows(tmp_path, body.replace(told, struct.pack("<q", length)), media.ARROW_STREAM)


def test_an_npz_of_countless_members_is_refused_before_its_directory_is_read(tmp_path: Path) -> None:
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        for index in range(20_000):
            archive.writestr(f"{index}.npy", b"")
    with pytest.raises(TableTooLarge, match="members"):
        _rows(tmp_path, body.getvalue(), media.NPZ)


@pytest.mark.parametrize("shape", [(10**12, 1), (10**6, 10**6), (2**40, 2**40)])
def test_an_array_that_says_it_is_huge_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"shape": shape, "fortran_order": False, "descr": "<f8"})
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("X.npy", header.getvalue() + b"\0" * 80)
    with pytest.raises(UnreadableTable):
        _rows(tmp_path, body.getvalue(), media.NPZ)


def test_many_real_texts_and_categories_are_read(tmp_path: Path) -> None:
    texts = pa.array([f"text {index % 1000}" for index in range(50_000)])
    table = pa.table({"a": texts, "b": texts.dictionary_encode(), "c": texts.cast(pa.string_view())})
    assert _rows(tmp_path, _arrow(table), media.ARROW_STREAM) == 50_000
    assert _rows(tmp_path, _parquet(table), media.PARQUET) == 50_000
