import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
