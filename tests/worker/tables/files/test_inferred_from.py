"""A column says what of its cells told the type."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.tables.files.ingest import ingest

TEXTS = {
    "numbers": (["1", "2.5", "NA", "1e3"], "numeric"),
    "money": (["$1,200.50", "$3", "$1.00"], "numeric"),
    "percent": (["12 %", "3.5 %"], "numeric"),
    "thousands": (["1,200", "3,400,000", "5"], "numeric"),
    "decimal comma": (["1,5", "2,25", "3"], "numeric"),
    "leading zeros": (["01234", "80331", "07"], "categorical"),
    "truth values": (["TRUE", "false", ""], "boolean"),
    "dates": (["2024-01-02", "2024-02-01"], "datetime"),
    "dates, day first": (["13.02.2024", "01.02.2024"], "datetime"),
    "texts": (["Bern", "Basel", "007"], "categorical"),
    "no values": (["", "NA", "?"], "numeric"),
    "long numbers": (["12345678901234567890123", "12345678901234567890124"], "categorical"),
}


@pytest.mark.parametrize("inferred", TEXTS)
def test_texts_tell_their_type(tmp_path, inferred):
    cells, kind = TEXTS[inferred]
    source = tmp_path / "source"
    pd.DataFrame({"c": cells, "n": range(len(cells))}).to_csv(source, index=False)
    column, _ = ingest(source, "text/csv", tmp_path / "table", max_cells=100, max_bytes=10**6).columns
    assert (column.type, column.inferred_from) == (kind, inferred)


@pytest.mark.parametrize(
    ("cells", "inferred"),
    [
        (pa.array([1, 2]), "numbers"),
        (pa.array([True, False]), "truth values"),
        (pa.array([1, 2]).dictionary_encode(), "declared category"),
        (pa.array(["a", "b"]), "texts"),
        (pa.array([0, 1], pa.timestamp("ns")), "dates"),
    ],
)
def test_typed_columns_say_so_too(tmp_path, cells, inferred):
    source = tmp_path / "source"
    pq.write_table(pa.table({"c": cells}), source)
    media_type = "application/vnd.apache.parquet"
    [column] = ingest(source, media_type, tmp_path / "table", max_cells=100, max_bytes=10**6).columns
    assert column.inferred_from == inferred
