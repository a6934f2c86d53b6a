import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.tables.storage import iter_tables, load_table

TABLE = pa.table({"a": [float(row) for row in range(1000)], "b": [str(row) for row in range(1000)]})


@pytest.fixture
def stored(tmp_path):
    pq.write_table(TABLE, tmp_path / "table.parquet", row_group_size=300)
    return tmp_path / "table.parquet"


@pytest.mark.parametrize("columns", [None, ["b"], ["b", "a"]])
@pytest.mark.parametrize("rows", [1, 64, 300, 5000])
def test_blocks_put_together_are_the_table(stored, columns, rows):
    blocks = list(iter_tables(stored, columns, rows))
    assert max(block.num_rows for block in blocks) <= rows
    whole = pa.concat_tables(blocks)
    names = columns or TABLE.column_names
    assert whole.select(names).equals(TABLE.select(names))
    assert load_table(stored, columns).select(names).equals(TABLE.select(names))


@given(
    groups=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    block_rows=st.integers(1, 50),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_blocks_of_some_rows_are_those_rows_however_row_groups_are_cut(groups, block_rows, cut):
    total = sum(groups)
    first, end = sorted(round(share * total) for share in cut)
    file = io.BytesIO()
    with pq.ParquetWriter(file, TABLE.schema) as writer:
        begin = 0
        for rows in groups:
            writer.write_table(TABLE.slice(begin, rows))
            begin += rows
    blocks = list(iter_tables(file, None, block_rows, first=first, rows=end - first))
    whole, rest = divmod(end - first, block_rows)
    assert [block.num_rows for block in blocks] == [block_rows] * whole + [rest] * (rest > 0)
    if blocks:
        assert pa.concat_tables(blocks).equals(TABLE.slice(first, end - first))


def test_row_groups_around_the_rows_are_not_read(stored, monkeypatch):
    read = []
    batches = pq.ParquetFile.iter_batches

    def noted(file, *, row_groups, **others):
        read.append(row_groups)
        return batches(file, row_groups=row_groups, **others)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", noted)
    [block] = iter_tables(stored, ["a"], 1000, first=350, rows=300)
    assert block.column("a").to_pylist() == [float(row) for row in range(350, 650)]
    assert read == [[1, 2]]
