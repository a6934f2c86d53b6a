import pyarrow as pa
import pytest

from worker.tables.spreadsheets import shown, shown_table


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_text_that_a_spreadsheet_would_run_is_marked(text: str) -> None:
    assert shown(text) == f"'{text}"


@pytest.mark.parametrize("text", ["", "a", "a=1", " =1", "'=1", "1-2"])
def test_another_text_stays(text: str) -> None:
    assert shown(text) == text


def test_names_and_texts_of_a_table_are_marked_and_numbers_stay_numbers() -> None:
    table = pa.table({"=name": ["-", None, "b"], "number": [-1.5, None, 2.0], "truth": [True, None, False]})
    marked = shown_table(table)
    assert marked.column_names == ["'=name", "number", "truth"]
    assert marked.column(0).to_pylist() == ["'-", None, "b"]
    assert marked.select(["number", "truth"]).equals(table.select(["number", "truth"]))
