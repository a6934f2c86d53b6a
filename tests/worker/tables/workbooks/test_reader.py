"""A sheet of a workbook is read as the table that it holds, with its cells as they are."""

import datetime as dt

import pytest
from support.workbooks import bare_workbook, workbook

from worker.contracts.errors import UnreadableTable
from worker.contracts.reading import ReadingOptions
from worker.tables import media

ROWS = [[k, round(0.5 * k, 1), "ab"[k % 2]] for k in range(30)]
NAMED = [["n", "half", "side"], *ROWS]


@pytest.fixture
def read(take):
    """Return what reads a workbook: bytes, sheets, or the rows of one."""

    def read_sheets(sheets, **options):
        body = sheets if isinstance(sheets, bytes) else workbook(sheets)
        return take(body, media.XLSX, ReadingOptions(**options))

    return read_sheets


def test_numbers_booleans_and_moments_are_what_they_are_in_the_sheet(read):
    day, moment = dt.datetime(2024, 1, 5), dt.datetime(2024, 1, 5, 10, 30, 15)
    found = read([["a", "b", "c", "d", "e"], [1, True, day, moment, "1,5 €"], [1.234, None, None, moment, "2,50 €"]])
    assert found.types == {
        "a": "numeric",
        "b": "boolean",
        "c": found.types["d"],
        "d": found.types["c"],
        "e": "numeric",
    }
    # the decimal comma of texts says nothing of cells that are numbers
    assert found.table["a"].to_pylist() == [1.0, 1.234]
    assert found.table["b"].to_pylist() == [True, None]
    assert [str(cell) for cell in found.table["e"].to_pylist()] == ["1.5", "2.5"]
    assert found.reading.sheet == "Sheet1"
    assert (found.reading.separator, found.reading.encoding) == (None, None)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (dt.datetime(2024, 1, 5), "2024-01-05"),
        (dt.datetime(2024, 1, 5, 10, 30), "2024-01-05 10:30:00"),
        (dt.datetime(1999, 12, 31, 23, 59, 59), "1999-12-31 23:59:59"),
        (True, "true"),
        (1.0, "1"),
        (0.1 + 0.2, "0.3"),
        (-7, "-7"),
        (1e300, "1e+300"),
        ("007", "007"),
        ("a,b;c", "a,b;c"),
        ('say "no"', 'say "no"'),
        ("two\nlines", "two\nlines"),
        ("東京 ü", "東京 ü"),
        ("=1+1", "=1+1"),
    ],
)
def test_each_cell_has_one_text_beside_others(read, cell, text):
    # a column of several kinds is one of texts
    found = read([["a", "b"], ["other words", 1], [cell, 2], ["more of them", 3]])
    assert found.table["a"].to_pylist() == ["other words", text, "more of them"]


@pytest.mark.parametrize("error", ["#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!"])
def test_an_error_is_no_value(read, error):
    found = read([["a", "b"], [{"formula": "=1/0", "value": error}, "x"], [2, {"formula": "=A1", "value": error}]])
    assert found.table.to_pydict() == {"a": [None, 2.0], "b": ["x", None]}


def test_a_formula_is_its_value(read):
    found = read([["a", "b"], [{"formula": "=1+1", "value": 2}, {"formula": '="x"', "value": "x"}], [3, "y"]])
    assert found.table.to_pydict() == {"a": [2.0, 3.0], "b": ["x", "y"]}


def test_numbers_that_are_texts_in_a_sheet_are_numbers_as_in_every_text(read):
    found = read([["a", "zip"], ["1", "01234"], [2, "04321"]])
    assert found.types == {"a": "numeric", "zip": "categorical"}


def test_words_for_nothing_hold_for_every_kind_of_cell(read):
    found = read([["a", "b"], [-999, "gone"], [1, "None"], [2, "x"]], missing=("-999", "gone"))
    assert found.table["a"].to_pylist() == [None, 1.0, 2.0]
    assert found.table["b"].to_pylist() == [None, "None", "x"]


SHEETS = {"Empty": [], "Notes": [["k", "v"], [1, "x"]], "Data": NAMED}


@pytest.mark.parametrize(("named", "sheet"), [(None, "Notes"), ("Data", "Data"), ("Notes", "Notes")])
def test_the_sheet_is_the_one_that_is_named_else_the_first_with_cells(read, named, sheet):
    found = read(SHEETS, sheet=named)
    assert (found.reading.sheet, found.rows) == (sheet, len(SHEETS[sheet]) - 1)


def test_a_hidden_sheet_is_read_if_it_is_named_or_no_other_has_cells(read):
    body = workbook({"Lists": [["x"], ["a"], ["b"]], "Data": NAMED, "Last": []}, hidden="Data")
    assert read(body).reading.sheet == "Lists"
    assert read(body, sheet="Data").reading.sheet == "Data"
    only = workbook({"Front": [], "Data": NAMED}, hidden="Data")
    assert read(only).reading.sheet == "Data"


@pytest.mark.parametrize(
    ("sheet", "told"),
    [
        ("data", r"no sheet 'data'; did you mean 'Data'\?; it has 'Empty', 'Notes', 'Data'"),
        ("Zzz", "no sheet 'Zzz'; it has 'Empty', 'Notes', 'Data'"),
        ("Empty", "the sheet 'Empty' has no cells"),
    ],
)
def test_a_sheet_that_is_no_table_is_named_with_those_that_are_there(read, sheet, told):
    with pytest.raises(UnreadableTable, match=told):
        read(SHEETS, sheet=sheet)
    with pytest.raises(UnreadableTable, match="no sheet of the workbook has cells"):
        read({"A": [], "B": []})


LAYOUTS = {
    "plain": (NAMED, {"skipped_rows": 0}),
    "a title": ([["Sales of May"], [], *NAMED], {"skipped_rows": 2}),
    "a title without a blank row": ([["Sales of May"], *NAMED], {"skipped_rows": 1}),
    "a title of two rows": ([["Sales"], ["of", "May"], [], *NAMED], {"skipped_rows": 3}),
    "a title in several parts": ([["Sales"], [], [None, "May"], [], *NAMED], {"skipped_rows": 4}),
    "blank rows": ([[], [], NAMED[0], [], *ROWS[:9], [], *ROWS[9:], []], {"skipped_rows": 0}),
    "away from the corner": ([[], [], *([None, None, *row] for row in NAMED)], {"dropped_columns": []}),
    "columns of nothing": ([[*row, None, "  "] for row in NAMED], {"renamed": {}}),
    "no names": (ROWS, {"header": False}),
    "a name twice": ([["n", "n", "side"], *ROWS], {"renamed": {"n_2": "n"}}),
    "no name": ([["n", None, "side"], *ROWS], {"renamed": {"column_2": ""}}),
    "an index without a name": ([[None, "half", "side"], *ROWS], {"renamed": {"column_1": ""}}),
    "years as names": ([[2021, 2022, "side"], *ROWS], {"header": True}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_table_in_a_sheet_is_found(read, layout):
    rows, told = LAYOUTS[layout]
    found = read(rows)
    assert [list(row.values()) for row in found.table.to_pylist()] == ROWS
    for name, value in told.items():
        assert getattr(found.reading, name) == value
    assert next(column.index for column in found.columns.values()) == (layout == "an index without a name")


def test_who_says_that_the_first_row_is_data_is_believed(read):
    found = read([["a", "b"], ["c", "d"]], header=False)
    assert found.table.to_pydict() == {"column_1": ["a", "c"], "column_2": ["b", "d"]}
    found = read([[1, 2], [3, 4]], header=True)
    assert found.table.to_pydict() == {"1": [3.0], "2": [4.0]}


def test_a_single_column_keeps_its_blank_cells(read):
    found = read([["a"], [1], [None], [3], [None]])
    assert found.table.to_pydict() == {"a": [1.0, None, 3.0]}


def test_a_first_row_with_few_values_is_no_title_of_numbers(read):
    assert read([[1, None, None, None], [1, 2, 3, 4], [5, 6, 7, 8]], header=False).rows == 3


@pytest.mark.parametrize(
    ("cells", "table"),
    [
        ('<row><c t="str"><v>a</v></c><c t="str"><v>b</v></c></row><row><c><v>1</v></c><c/></row>', {"a": [1.0]}),
        ("<row r='2'><c r='B2' t='str'><v>a</v></c></row><row r='3'><c r='B3'><v>1</v></c></row>", {"a": [1.0]}),
        (
            '<row><c t="inlineStr"><is><r><t>a</t></r><r><t>b</t></r></is></c></row><row><c t="b"><v>1</v></c></row>',
            {"ab": [True]},
        ),
        ('<row><c t="str"><v>a</v></c></row><row><c t="d"><v>2024-01-05T00:00:00</v></c></row>', {"a": ["2024-01-05"]}),
    ],
)
def test_what_other_programs_write_is_read(read, cells, table):
    found = read(bare_workbook(cells), header=True)
    assert {name: [str(cell) for cell in column] for name, column in found.table.to_pydict().items()} == {
        name: [str(cell) for cell in column] for name, column in table.items()
    } or found.table.to_pydict()["b"] == [None]


@pytest.mark.parametrize(
    "cells",
    [
        '<row><c t="s"><v>5</v></c></row>',
        '<row><c t="zz"><v>5</v></c></row>',
        '<row><c r="&#67;3"><v>5</v></c></row>',
        "<row><c><v>5</v></c",
        "</sheetData></worksheet>",
    ],
)
def test_a_broken_sheet_is_an_error_with_a_way_out(read, cells):
    with pytest.raises(UnreadableTable, match=r"save it as an Excel workbook|no sheet of the workbook has cells"):
        read(bare_workbook(cells))
