"""A column of free text is told as such: nearly every cell is there once, and most are sentences."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.contracts.reading import ReadingOptions
from worker.tables.files import ingest as module
from worker.tables.files.ingest import ingest

ROWS = 60
KINDS = {
    "sentences": (lambda k: f"The room {k} is bright, and quiet", "text"),
    "lines": (lambda k: f"one\ntwo\tthree {k}", "text"),
    "no blanks": (lambda k: f"部屋は明るくて静かです、駅から{k}", "text"),
    "most": (lambda k: f"The room {k} is bright" if k % 3 else f"ok{k}", "text"),
    "few": (lambda k: f"ok{k}" if k % 3 else f"The room {k} is bright", "categorical"),
    "missing too": (lambda k: f"The room {k} is bright" if k % 10 else "", "text"),
    "names": (lambda k: f"Ann Lee {k}", "categorical"),
    "mails": (lambda k: f"someone{k}@example.com", "categorical"),
    "addresses": (lambda k: f"https://example.com/a/b/c/{k}", "categorical"),
    "repeated": (lambda k: f"The room {k % 30} is bright", "categorical"),
    "dates": (lambda k: f"{1900 + k}-01-02", "datetime"),
    "amounts": (lambda k: f"{k}.50 €", "numeric"),
}


def _ingested(tmp_path, frame, **options):
    source = tmp_path / "source"
    frame.to_csv(source, index=False)
    limits = {"max_cells": 10**6, "max_bytes": 10**7}
    return ingest(source, "text/csv", tmp_path / "table", **limits, options=ReadingOptions(**options)).columns


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", [{}, {"missing": ("-",)}], ids=["", "missing"])
def test_free_text_is_told(tmp_path, kind, options):
    make, expected = KINDS[kind]
    column, _ = _ingested(tmp_path, pd.DataFrame({"c": map(make, range(ROWS)), "n": range(ROWS)}), **options)
    assert column.type == expected
    assert (column.inferred_from == "sentences") == (expected == "text")
    if expected == "text":
        assert column.top


def test_a_long_column_is_read_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "ROW_GROUP", 16)
    make, _ = KINDS["most"]
    column, _ = _ingested(tmp_path, pd.DataFrame({"c": map(make, range(ROWS)), "n": range(ROWS)}))
    assert column.type == "text"


def test_few_rows_and_declared_categories_are_no_free_text(tmp_path):
    make, _ = KINDS["sentences"]
    column, _ = _ingested(tmp_path, pd.DataFrame({"c": map(make, range(40)), "n": range(40)}))
    assert column.type == "categorical"
    source = tmp_path / "source"
    pq.write_table(pa.table({"c": pa.array([*map(make, range(ROWS))]).dictionary_encode()}), source)
    limits = {"max_cells": 10**6, "max_bytes": 10**7}
    [column] = ingest(source, "application/vnd.apache.parquet", tmp_path / "table", **limits).columns
    assert (column.type, column.inferred_from) == ("categorical", "declared category")
