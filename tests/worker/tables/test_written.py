"""Texts that a number or truth value does not give back are kept, and nobody sees them who does not ask for them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.samples import SAMPLE
from support.tables import WRITERS

from worker.tables import media
from worker.tables.files.ingest import ingest
from worker.tables.storage import iter_tables, load_table
from worker.tables.values import FEW_NUMBERS, number_text, typed

KEPT = {
    "numbers": ["1.5", "1.50", "2", "+2"],
    "padded": [" 1", "1 ", "1", "2"],
    "words": ["NA", "?", "3", ""],
    "truths": ["true", "TRUE", "False", "NA"],
    "nothing": ["NA", "None", "?", " "],
    "digits": ["9007199254740993", "+9007199254740993", "NA", "9007199254740993 "],
    "rounded": ["9007199254740993", "1.5", "2", "3"],
}
GIVEN_BACK = {
    "whole": ["1", "-2", "0", "1700000000123"],
    "halves": ["1.5", "-0.25", "1e-05", "0.30000000000000004"],
    "long": ["9007199254740993", "-9007199254740993", "0", "1"],
    "truth": ["true", "false", "true", "false"],
    "text": ["x", " x", "NA", "1.50"],
    "code": ["007", "7", "07", "1"],
}


def _ingested(folder: Path, table: pa.Table, kind: str = media.CSV, max_cells: int = 10**6):
    (folder / "source").write_bytes(WRITERS[kind](table))
    found = ingest(folder / "source", kind, folder / "table", max_cells=max_cells, max_bytes=10**8)
    return found, folder / "table"


@pytest.mark.parametrize("kind", [media.CSV, media.PARQUET, media.JSON])
def test_texts_that_are_not_given_back_are_kept(tmp_path, kind):
    table = pa.table({**KEPT, **GIVEN_BACK})
    _, stored = _ingested(tmp_path, table, kind)
    read = load_table(stored, list(KEPT), list(KEPT))
    assert read.to_pydict() == KEPT
    blocks = pa.concat_tables(iter_tables(stored, list(KEPT), 3, list(KEPT)))
    assert blocks.to_pydict() == KEPT
    # only where a text is lost is there one column more
    assert len(pq.read_schema(stored)) == len(table.column_names) + len(KEPT)


def test_whoever_does_not_ask_for_texts_sees_nothing_of_them(tmp_path):
    table = pa.table({**KEPT, **GIVEN_BACK})
    found, stored = _ingested(tmp_path, table, max_cells=4 * len(table.column_names))
    assert [column.name for column in found.columns] == table.column_names
    assert load_table(stored).column_names == table.column_names
    [block] = iter_tables(stored, None, 100)
    assert block.column_names == table.column_names
    assert load_table(stored, ["numbers"]).to_pydict() == {"numbers": [1.5, 1.5, 2.0, 2.0]}


@pytest.mark.parametrize("kind", [pa.float32(), pa.decimal128(38, 19)])
def test_numbers_that_float64_writes_in_another_way_are_stored_as_they_are(tmp_path, kind):
    column = pa.array(["0.1", "1.5", None]).cast(kind)
    found, stored = _ingested(tmp_path, pa.table({"a": column, "z": [1, 2, 3]}), media.PARQUET)
    assert pq.read_schema(stored).field("a").type == kind
    read = typed("a", load_table(stored).column("a").combine_chunks(), "categorical")
    assert read.to_pylist() == ["0.1", "1.5", None]
    assert (found.columns[0].type, found.columns[0].distinct, found.columns[0].max) == ("numeric", 2, 1.5)


@given(
    st.lists(st.floats() | st.floats(-1e16, 1e16) | st.integers(-(2**54), 2**54).map(float) | st.floats(-1e-3, 1e-3))
)
def test_columns_of_numbers_are_written_as_single_numbers_are(numbers):
    wanted = [None if np.isnan(number) else number_text(number) for number in numbers]
    # long columns pass through Arrow, and short ones do not
    for times in (1, FEW_NUMBERS + 1):
        texts = typed("a", pa.array(numbers * times, pa.float64()), "categorical")
        assert texts.to_pylist() == wanted * times


def test_tables_of_before_keep_no_texts_and_are_read(tmp_path):
    for stored in (SAMPLE / "artifacts" / "datasets").glob("*/table.parquet"):
        names = pq.read_schema(stored).names
        assert load_table(stored, names, names).equals(pq.read_table(stored))
        assert pa.concat_tables(iter_tables(stored, names, 7, names)).equals(pq.read_table(stored))
