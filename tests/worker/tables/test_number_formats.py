"""Numbers as people write them are numbers, in training and in prediction, and nothing else becomes one."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.contracts.reading import ReadingOptions
from worker.contracts.resources import ModelColumn
from worker.tables import media
from worker.tables.cells import number_formats
from worker.tables.rows.table_rows import RowReader

POINT = {
    "thousands": "{:,.2f}",
    "dollars": "${:,.2f}",
    "a code behind": "{:,.2f} EUR",
    "a code in front": "CHF {:,.2f}",
    "percent": "{:.1f}%",
    "percent with a blank": "{:.1f} %",
}
VALUES = [1234.5, 0.25, 12.0, 1_000_000.75, 99.99, 7.5]


def _with_comma(text):
    return text.translate(str.maketrans(",.", ".,"))


def _csv(cells, target="y"):
    rows = [f'"{cell}";{place}' for place, cell in enumerate(cells)]
    return "\n".join([f"x;{target}", *rows]) + "\n"


@pytest.mark.parametrize("mark", [".", ","])
@pytest.mark.parametrize("name", POINT)
def test_a_column_of_formatted_numbers_is_numeric(take, name, mark):
    cells = [POINT[name].format(value) for value in VALUES]
    taken = take(_csv(map(_with_comma, cells) if mark == "," else cells))
    assert taken.types["x"] == "numeric"
    assert taken.columns["x"].decimal == mark
    digits = 1 if "percent" in name else 2
    assert taken.table.column("x").to_pylist() == [round(value, digits) for value in VALUES]


@pytest.mark.parametrize(
    ("cells", "found"),
    [
        (["-", "1,200", "–"], [None, 1200, None]),
        (["(1,200.50)", "$5"], [-1200.5, 5]),
        (["1'200.50", "3"], [1200.5, 3]),
        (["1\u00a0200,50", "3,5"], [1200.5, 3.5]),
        (["1\u202f200,50 €", "-3,5 €"], [1200.5, -3.5]),
        (["1.234.567", "3,5"], [1234567, 3.5]),
        (["NA", "12%", ""], [None, 12, None]),
        (["k.A.", "12", "k. A."], [None, 12, None]),
        (["1.234,5 €", "keine Angabe", "k.a."], [1234.5, None, None]),
        (["#NV", "3,5", "#DIV/0!", "#WERT!"], [None, 3.5, None, None]),
        (["#VALUE!", "3.5", "#REF!", "#NUM!", "n.a."], [None, 3.5, None, None, None]),
    ],
)
def test_signs_blanks_and_dashes_among_numbers(take, cells, found):
    taken = take(_csv(cells))
    assert taken.types["x"] == "numeric"
    assert taken.table.column("x").to_pylist() == found


@pytest.mark.parametrize(
    "cells",
    [
        ["01,200", "2,300"],
        ["1.2.24", "3.4.24"],
        ["5 USD", "5 EUR"],
        ["5%", "5"],
        ["1.5", "1,5"],
        ["12-3", "14-5"],
        ["1,23,4", "2,34,5"],
        ["AB 12", "AB 13"],
        ["555-1234", "555-9876"],
        ["yes", "-"],
        ["yes", "#NV"],
        ["k.A.", "keine Angabe"],
        ["-", "k.A."],
        ["5", "unknown"],
        ["007", "k.A."],
    ],
)
def test_what_is_no_number_or_has_two_units_stays_text(take, cells):
    assert take(_csv(cells)).types["x"] == "categorical"


def test_one_column_tells_the_decimal_mark_of_the_others(take):
    taken = take("a;b;c\n1.234;1,5;7\n2.345;2,5;8\n")
    assert taken.table.column("a").to_pylist() == [1234, 2345]
    assert {name: column.decimal for name, column in taken.columns.items()} == {"a": ",", "b": ",", "c": None}
    taken = take("a;b\n1,234;1.5\n2,345;2.5\n")
    assert taken.table.column("a").to_pylist() == [1234, 2345]
    assert {name: column.decimal for name, column in taken.columns.items()} == {"a": ".", "b": None}


def test_the_caller_says_the_decimal_mark(take):
    body = "a;b\n1.234;x\n2.345;y\n"
    assert take(body).table.column("a").to_pylist() == [1.234, 2.345]
    assert take(body, options=ReadingOptions(decimal=",")).table.column("a").to_pylist() == [1234, 2345]
    body = "a;b\n1,234;x\n2,345;y\n"
    assert take(body).table.column("a").to_pylist() == [1234, 2345]
    assert take(body, options=ReadingOptions(decimal=",")).table.column("a").to_pylist() == [1.234, 2.345]


def test_missing_words_of_the_caller_leave_dashes_as_they_are(take):
    assert take(_csv(["-", "1,200"]), options=ReadingOptions(missing=("none",))).types["x"] == "categorical"
    assert take(_csv(["-", "1,200"]), options=ReadingOptions(missing=("-",))).types["x"] == "numeric"
    assert take(_csv(["#NV", "1,200"]), options=ReadingOptions(missing=("-",))).types["x"] == "categorical"


ASKED = {",": ["1.234,5", "1.234", "3,5", "12 %", "5", "k.A."], ".": ["1,234.5", "1,234", "3.5", "12 %", "5", "k.A."]}


@pytest.mark.parametrize("mark", [".", ","])
def test_rows_to_predict_are_read_by_the_mark_of_the_training_table(mark):
    reader = RowReader([ModelColumn(name="x", type="numeric", decimal=mark)])
    right = [1234.5, 1234, 3.5, 12, 5, None]
    by_json = reader.read(
        b'{"columns": ["x"], "rows": ' + str([[cell] for cell in ASKED[mark]]).replace("'", '"').encode() + b"}",
        media.JSON,
        max_rows=10,
    )
    by_csv = reader.read(("x;z\n" + "".join(f"{cell};1\n" for cell in ASKED[mark])).encode(), media.CSV, max_rows=10)
    for rows in (by_json, by_csv):
        found = reader.table(rows).column("x").to_pylist()
        assert found == right


@pytest.mark.parametrize(("mark", "front", "behind"), list(itertools.product(".,", ["", "$", "EUR "], ["", " €", "%"])))
@given(value=st.floats(0, 1e12).map(lambda number: round(number, 3)), negative=st.booleans())
def test_what_is_written_is_read(mark, front, behind, value, negative):
    if front and behind:
        behind = ""
    text = f"{value:,.3f}"
    text = ("-" if negative else "") + front + (_with_comma(text) if mark == "," else text) + behind
    assert number_formats.fit(pa.array([text]), mark)
    [found] = number_formats.numbers(pa.array([text]), mark).to_pylist()
    np.testing.assert_allclose(found, -value if negative else value, rtol=1e-15)


@given(text=st.text(alphabet="0123456789.,-+ '’()%$€EURx\u00a0", max_size=12))
@pytest.mark.parametrize("mark", [".", ","])
def test_whatever_fits_can_be_read(mark, text):
    if number_formats.fit(pa.array([text]), mark):
        assert number_formats.numbers(pa.array([text]), mark) is not None
