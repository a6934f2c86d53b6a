import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.tables import media
from worker.tables.files import parquet_pages
from worker.tables.files.raw_table import Limits
from worker.tables.files.readers import read

TABLE = pa.table(
    {
        "number": np.arange(20_000.0),
        "text": [f"text {index % 50}" for index in range(20_000)],
        "long": [f"{index} and more" for index in range(20_000)],
        "flag": pa.array([True, False, None, True] * 5_000),
    }
)


def _written(path: Path, table: pa.Table = TABLE, **options: object) -> pq.FileMetaData:
    pq.write_table(table, path, **options)
    with pq.ParquetFile(path) as file:
        return file.metadata


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("more", [{}, {"use_dictionary": False}, {"write_page_checksum": True}])
def test_pages_are_those_that_the_footer_counts(tmp_path, version, compression, more):
    path = tmp_path / "table"
    sizes = {"data_page_size": 2_000, "write_batch_size": 500, "row_group_size": 7_000}
    metadata = _written(path, compression=compression, data_page_version=version, **sizes, **more)
    chunks = [metadata.row_group(g).column(c) for g in range(metadata.num_row_groups) for c in range(4)]
    found = [column for _, column in parquet_pages.pages(path, metadata)]
    assert len(found) == len(chunks) == 12
    assert max(map(len, found)) > 2
    for chunk, column in zip(chunks, found, strict=True):
        headers = chunk.total_uncompressed_size - sum(page.uncompressed_bytes for page in column)
        # the footer counts headers too, of some tens of bytes, and statistics in them
        assert 10 * len(column) < headers < 150 * len(column)


def test_a_table_without_rows_has_no_pages(tmp_path):
    path = tmp_path / "table"
    assert list(parquet_pages.pages(path, _written(path, TABLE.slice(0, 0)))) == []


def _varint(value: int) -> bytes:
    zigzag, out = value << 1, bytearray()
    while zigzag > 127:
        out.append(zigzag & 127 | 128)
        zigzag >>= 7
    return bytes([*out, zigzag])


def _with_false_size(size: int) -> bytes:
    body = io.BytesIO()
    values = np.random.default_rng(0).standard_normal(20_000)
    pq.write_table(pa.table({"a": values}), body, compression="snappy", use_dictionary=False)
    sound = body.getvalue()
    # the first header begins with its kind; then comes a size of three bytes. The footer tells the true one as before
    assert sound[4:7] == b"\x15\0\x15"
    assert len(_varint(values.nbytes)) == len(_varint(size)) == 3
    return sound[:7] + _varint(size) + sound[10:]


def test_a_page_that_asks_for_more_than_the_footer_tells_is_too_large(tmp_path):
    path = tmp_path / "table"
    path.write_bytes(_with_false_size(2**20 - 1))
    with pytest.raises(TableTooLarge, match="once decompressed"):
        read(path, media.PARQUET, Limits(2**19, 10**8))


@pytest.mark.parametrize("place", [4, 6, 10])
def test_a_damaged_header_is_refused(tmp_path, place):
    path = tmp_path / "table"
    metadata = _written(path, use_dictionary=False)
    body = bytearray(path.read_bytes())
    body[place] = 0xFF
    path.write_bytes(body)
    with pytest.raises(UnreadableTable, match="page"):
        list(parquet_pages.pages(path, metadata))


def test_structs_in_structs_without_end_are_refused(tmp_path):
    path = tmp_path / "table"
    metadata = _written(path, use_dictionary=False)
    body = path.read_bytes()
    path.write_bytes(body[:4] + b"\x1c" * 5_000 + body[5_004:])
    with pytest.raises(UnreadableTable, match="broken"):
        list(parquet_pages.pages(path, metadata))


def test_pages_past_the_end_that_an_old_writer_tells_are_counted(tmp_path):
    path = tmp_path / "table"
    metadata = _written(path, use_dictionary=False)
    with_more = [column for _, column in parquet_pages.pages(path, _Old(metadata))]
    plain = [column for _, column in parquet_pages.pages(path, metadata)]
    # what follows a column's pages are those of the next one
    assert [len(column) for column in plain] == [len(column) - 1 for column in with_more[:-1]] + [1]


class _Old:
    """The metadata of a file that calls itself one of an old writer."""

    created_by = "parquet-mr version 1.2.0"

    def __init__(self, metadata):
        self._metadata = metadata

    def __getattr__(self, name):
        return getattr(self._metadata, name)


def test_pages_without_end_are_too_many(tmp_path, monkeypatch):
    path = tmp_path / "table"
    metadata = _written(path, data_page_size=1000)
    monkeypatch.setattr(parquet_pages, "MAX_PAGES", 20)
    with pytest.raises(TableTooLarge, match="more than 20 pages"):
        list(parquet_pages.pages(path, metadata))


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_are_read_whatever_their_encoding(tmp_path, encoding):
    path = tmp_path / "table"
    table = TABLE.select(["long"])
    _written(path, table, use_dictionary=False, column_encoding={"long": encoding})
    batches = read(path, media.PARQUET, Limits(2**30, 10**8)).batches()
    assert [text for batch in batches for text in batch[0].to_pylist()] == table.column(0).to_pylist()
