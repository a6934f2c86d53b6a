import io
import json
import signal
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.apart import apart
from support.draws import examples
from support.workbooks import workbook

from worker.contracts.errors import ColumnMismatch, InvalidRequest, TableTooLarge, UnreadableTable
from worker.contracts.resources import ModelColumn
from worker.tables import media
from worker.tables.rows.matching import match_columns
from worker.tables.rows.table_rows import RowReader

FEATURES = [
    ModelColumn(name="size", type="numeric"),
    ModelColumn(name="city", type="categorical"),
    ModelColumn(name="new", type="boolean"),
]
EXPECTED = pa.table({"size": [1.0, None], "city": ["Rome", "7"], "new": [True, False]})


def _read(body, kind=media.JSON, features=FEATURES, max_rows=100):
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    reader = RowReader(features)
    return reader.table(reader.read(sent, kind, max_rows=max_rows))


def _one(name, kind, cells):
    return _read({"columns": [name], "data": [[cell] for cell in cells]}, features=[ModelColumn(name=name, type=kind)])


def _file(table, opened):
    body = io.BytesIO()
    with opened(body, table.schema) as writer:
        writer.write_table(table)
    return body.getvalue()


BODIES = {
    "objects": (
        media.JSON,
        b'{"rows": [{"new": true, "size": 1, "city": "Rome"}, {"size": null, "city": "7", "new": false}]}',
    ),
    "lists": (media.JSON, b'{"columns": ["city", "new", "size"], "data": [["Rome", true, 1], ["7", false, null]]}'),
    "records": (media.JSON, b'[{"new": true, "size": 1, "city": "Rome"}, {"size": null, "city": "7", "new": false}]'),
    "lines": (
        media.NDJSON,
        b'{"new": true, "size": 1, "city": "Rome"}\n{"size": null, "city": "7", "new": false}\n',
    ),
    "csv": (media.CSV, b"more,city,size,new\nx,Rome,1,True\ny,7,,false\n"),
    "tsv": (media.TSV, b"more\tcity\tsize\tnew\nx\tRome\t1\tTrue\ny\t7\t\tfalse\n"),
    "workbook": (media.XLSX, workbook([["size", "city", "new"], [1, "Rome", True], [None, "7", False]])),
    "parquet": (media.PARQUET, _file(EXPECTED, pq.ParquetWriter)),
    "stream": (media.ARROW_STREAM, _file(EXPECTED, pa.ipc.new_stream)),
    "file": (media.ARROW_FILE, _file(EXPECTED, pa.ipc.new_file)),
    "written csv": (media.CSV, _file(EXPECTED, pa_csv.CSVWriter)),
}


@pytest.mark.parametrize("form", BODIES)
def test_the_same_rows_in_every_form_are_the_same_table(form):
    kind, body = BODIES[form]
    assert _read(body, kind).equals(EXPECTED)


def test_a_matrix_is_read_in_the_order_of_the_features():
    body = io.BytesIO()
    np.save(body, np.array([[1, 7, 1], [np.nan, 2.5, 0]]))
    assert _read(body.getvalue(), media.NPY).to_pydict() == {
        "size": [1.0, None],
        "city": ["7", "2.5"],
        "new": [True, False],
    }


@pytest.mark.parametrize(
    "array", [np.ones(3), np.ones((2, 2)), np.array([["a", "b", "c"]]), np.ones((1, 3), complex), np.ones((1, 1, 3))]
)
def test_a_matrix_of_another_shape_or_type_is_answered_with_the_right_one(array):
    body = io.BytesIO()
    np.save(body, array)
    with pytest.raises(InvalidRequest, match=r"\[n, 3\]"):
        _read(body.getvalue(), media.NPY)


def test_all_missing_columns_are_named():
    with pytest.raises(ColumnMismatch, match="'city', 'new'"):
        _read({"rows": [{"size": 1}]})


def test_a_key_that_a_row_lacks_and_another_has_has_no_value():
    rows = [{"size": 1, "city": "x", "new": True}, {"new": False, "more": 2}, {"size": 3, "city": None, "new": None}]
    whole = [{"size": None, "city": None, "new": None, "more": None, **row} for row in rows]
    assert _read({"rows": rows}).equals(_read({"rows": whole}))
    assert _read({"rows": rows})["city"].to_pylist() == ["x", None, None]


def test_a_column_that_no_row_has_is_missing_whatever_else_they_have():
    with pytest.raises(ColumnMismatch, match="'city'"):
        _read({"rows": [{"size": 1, "new": True}, {"new": True}]})


def test_many_small_objects_of_different_keys_are_refused_before_they_are_a_table():
    rows = [{f"k{number}": 1} for number in range(3000)]
    with pytest.raises(InvalidRequest, match="at most 4194304 may be absent"):
        _read({"rows": rows})
    with pytest.raises(TableTooLarge, match="more than 20000 columns"):
        _read({"rows": [{f"k{number}": 1} for number in range(20_001)]})


@pytest.mark.parametrize("name", ["Size", " size ", "sizes"])
def test_a_column_that_may_be_meant_is_named(name):
    with pytest.raises(ColumnMismatch, match=rf"is it '{name}' for 'size'\?"):
        _read({"rows": [{name: 1, "city": "x", "new": True}]})
    with pytest.raises(ColumnMismatch, match=r"'size'$"):
        _read({"rows": [{"other": 1, "city": "x", "new": True}]})


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_a_text_in_a_numeric_column_is_named_with_row_and_value(kind):
    bodies = {
        "json": (media.JSON, b'{"columns": ["size"], "data": [[1], ["2"], ["big"]]}'),
        "csv": (media.CSV, b"size\n1\n2\nbig\n"),
    }
    with pytest.raises(InvalidRequest, match="row 3, column 'size': 'big' is not numeric"):
        _read(bodies[kind][1], bodies[kind][0], FEATURES[:1])


@pytest.mark.parametrize(
    ("cell", "words"),
    [("big", "'big' is not numeric"), ("inf", "inf is not a finite number"), ([1], "a cell is a number, text")],
)
def test_a_wrong_cell_of_json_is_told_by_its_place_in_the_body(cell, words):
    features = [ModelColumn(name="kind", type="categorical"), ModelColumn(name="a/b", type="numeric")]
    rows = {"rows": [{"more": 0, "a/b": 1, "kind": "x"}, {"more": 0, "a/b": cell, "kind": "x"}]}
    lists = {"columns": ["more", "a/b", "kind"], "data": [[0, 1, "x"], [0, cell, "x"]]}
    for body, place in ((rows, "/rows/1/a~1b"), (lists, "/data/1/1")):
        with pytest.raises(InvalidRequest, match="row 2, column 'a/b': ") as caught:
            _read(body, features=features)
        assert [one.pointer for one in caught.value.errors] == [place]
        assert caught.value.errors[0].message.startswith(words)


def test_a_number_that_is_no_boolean_is_told_by_its_place():
    with pytest.raises(
        InvalidRequest, match=r"row 3, column 'new': 2\.0 is not boolean; give true and false"
    ) as caught:
        _one("new", "boolean", [1, None, 2])
    assert caught.value.errors[0].pointer == "/data/2/0"


def test_a_wrong_cell_of_a_file_has_no_place_in_a_body():
    with pytest.raises(InvalidRequest, match="row 1") as caught:
        _read(b"size\nbig\n", media.CSV, FEATURES[:1])
    assert caught.value.errors == ()


def test_numbers_written_as_texts_are_numbers():
    assert _one("a", "numeric", [1, "2.5", None, " 3 ", "NA"]).column("a").to_pylist() == [1, 2.5, None, 3, None]


@pytest.mark.parametrize("value", ["inf", "-Infinity"])
def test_infinite_numbers_are_named_with_their_row(value):
    with pytest.raises(InvalidRequest, match="row 2, column 'a'"):
        _one("a", "numeric", ["1", value])


def test_a_bare_infinity_in_json_is_refused_and_nan_is_missing():
    features = [ModelColumn(name="a", type="numeric")]
    with pytest.raises(InvalidRequest, match="row 1, column 'a'"):
        _read(b'{"columns": ["a"], "data": [[Infinity]]}', features=features)
    assert _read(b'{"columns": ["a"], "data": [[NaN]]}', features=features).column("a").to_pylist() == [None]


@pytest.mark.parametrize(("cell", "category"), [(1, "1"), (1.0, "1"), ("1", "1"), (1.5, "1.5"), (-3.0, "-3"), (0, "0")])
def test_a_number_where_categories_are_is_the_category_of_its_shortest_writing(cell, category):
    assert _one("a", "categorical", [cell]).column("a").to_pylist() == [category]


def test_a_number_that_is_too_large_is_refused_where_numbers_are_and_a_category_where_those_are():
    body = {"columns": ["a"], "data": [[10**400]]}
    with pytest.raises(InvalidRequest, match="too large"):
        _read(body, features=[ModelColumn(name="a", type="numeric")])
    assert _one("a", "categorical", [10**400]).column("a").to_pylist() == [str(10**400)]


def test_texts_come_to_the_encoder_as_they_are():
    cells = ["x", "NA", None, " y "]
    assert _one("a", "categorical", cells).column("a").to_pylist() == cells


@pytest.mark.parametrize(
    "cells",
    [
        [True, False, None],
        ["true", "FALSE", None],
        [1, 0, None],
        [1.0, 0.0, None],
        ["True", "false", ""],
        ["1", "0", "n/a"],
        ["TRUE", "0", None],
        ["1.0", "false", "NA"],
    ],
)
def test_every_writing_of_a_boolean_is_understood(cells):
    assert _one("a", "boolean", cells).column("a").to_pylist() == [True, False, None]


@pytest.mark.parametrize("cells", [[2], [0.5], ["yes"], [-1, 1]])
def test_what_is_no_boolean_is_refused_with_its_column(cells):
    with pytest.raises(InvalidRequest, match=r"column 'a': .* is not boolean; give true and false, or 1 and 0"):
        _one("a", "boolean", cells)


@pytest.mark.parametrize(
    ("cells", "complaint"),
    [
        ([True, False], "row 1, column 'a': true is not numeric"),
        ([None, False], "row 2, column 'a': false is not numeric"),
        ([1, True], "row 2, column 'a': 'true' is not numeric"),
    ],
)
def test_booleans_of_json_are_no_numbers(cells, complaint):
    with pytest.raises(InvalidRequest, match=complaint) as refused:
        _one("a", "numeric", cells)
    row = int(complaint.split()[1].rstrip(",")) - 1
    assert [error.pointer for error in refused.value.errors] == [f"/data/{row}/0"]


def test_booleans_that_are_typed_are_numbers_where_numbers_are_wanted():
    table = pa.table({"a": [True, False, None]})
    fitted = match_columns(table, [ModelColumn(name="a", type="numeric")])
    assert fitted.column("a").to_pylist() == [1.0, 0.0, None]


def test_booleans_are_the_categories_that_their_writing_would_be():
    assert _one("a", "categorical", [True, False]).column("a").to_pylist() == ["true", "false"]


def test_a_column_of_nulls_fits_every_type():
    for kind in ("numeric", "categorical", "boolean"):
        assert _one("a", kind, [None, None]).column("a").to_pylist() == [None, None]


def test_no_rows_and_too_many_rows_are_refused():
    for empty in ({"rows": []}, {"columns": ["size", "city", "new"], "data": []}):
        with pytest.raises(InvalidRequest, match="no rows"):
            _read(empty)
    with pytest.raises(InvalidRequest, match="no rows"):
        _read(b"size,city,new\n", media.CSV)
    with pytest.raises(InvalidRequest, match="101 rows are too many for one request, which takes 100"):
        _read(b"size,city,new\n" + b"1,x,true\n" * 101, media.CSV)


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ([1], "list of objects"),
        ({"data": [[1]]}, "must be"),
        ({"rows": {"a": 1}}, "list of objects"),
        ({"rows": [{"a": 1}], "columns": ["a"]}, "row 1 must be a list of 1 values"),
        ({"rows": [{"a": 1}], "columns": ["a"], "data": [[2]]}, "both 'rows' and 'data'"),
        ({"rows": [{"a": 1}], "data": [[2]]}, "both 'rows' and 'data'"),
        ({"rows": [1]}, "list of objects"),
        ({"columns": ["a", "a"], "data": []}, "different names"),
        ({"columns": [1], "data": []}, "different names"),
        ({"columns": ["a"], "data": {}}, "list of rows"),
        ({"columns": ["a"], "data": [[1], [1, 2]]}, "row 2 must be a list of 1 values"),
        ({"columns": ["a"], "data": [[[1]]]}, "row 1, column 'a': a cell is"),
        ({"columns": ["a"], "data": [["\ud800"]]}, "Unicode"),
        ({"columns": ["\ud800"], "data": [[1]]}, "name of a column"),
        ({"rows": [{"\ud800": 1}]}, "name of a column"),
    ],
)
def test_json_of_another_shape_is_refused_with_the_right_one(body, complaint):
    with pytest.raises(InvalidRequest, match=complaint):
        _read(body, features=[ModelColumn(name="a", type="categorical")])


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_is_unreadable(body):
    with pytest.raises(UnreadableTable, match="not JSON"):
        _read(body)


# numpy reads a damaged header as one of long ago, and says so
@pytest.mark.filterwarnings("ignore:Reading `.npy` or `.npz` file required additional header parsing")
@settings(max_examples=examples(200))
@given(kind=st.sampled_from(media.ROW_TYPES), data=st.data())
def test_damaged_bodies_are_rows_or_a_clear_error(kind, data):
    matrix = io.BytesIO()
    np.save(matrix, np.ones((2, 3)))
    whole = {media.NPY: matrix.getvalue()} | dict(BODIES.values())
    place = data.draw(st.integers(0, len(whole[kind])))
    noise = data.draw(st.binary(max_size=4))
    cut = data.draw(st.integers(0, 4))
    body = whole[kind][:place] + noise + whole[kind][place + cut :]
    if kind == media.PARQUET:
        # over some footers pyarrow ends its process, which is why the service reads Parquet in processes of their own
        assert apart(_read_or_refuse, body, kind) in (0, -signal.SIGABRT)
    else:
        _read_or_refuse(body, kind)


def _read_or_refuse(body, kind):
    with suppress(InvalidRequest, UnreadableTable, TableTooLarge):
        assert _read(body, kind).column_names == ["size", "city", "new"]


@pytest.mark.parametrize("kind", [media.CSV, media.NPY, media.JSON])
@settings(max_examples=examples(60))
@given(body=st.binary(max_size=100))
def test_random_bytes_are_rows_or_a_clear_error(kind, body):
    with suppress(InvalidRequest, UnreadableTable, TableTooLarge):
        assert _read(body, kind).num_rows > 0


def test_an_archive_where_a_matrix_is_expected_is_unreadable():
    body = io.BytesIO()
    np.savez(body, X=np.ones((1, 3)))
    with pytest.raises(UnreadableTable, match="npy"):
        _read(body.getvalue(), media.NPY)


@pytest.mark.parametrize("kind", [">f8", ">i2", "longdouble", "<f2"])
def test_a_matrix_of_any_kind_of_number_is_read(kind):
    body = io.BytesIO()
    np.save(body, np.array([[1, 7, 0], [2, 8, 1]]).astype(kind))
    assert _read(body.getvalue(), media.NPY).to_pydict() == {
        "size": [1.0, 2.0],
        "city": ["7", "8"],
        "new": [False, True],
    }


def test_a_pickled_matrix_is_never_loaded():
    body = io.BytesIO()
    np.save(body, np.array([[1, "x", None]], dtype=object))
    with pytest.raises(UnreadableTable, match="npy"):
        _read(body.getvalue(), media.NPY)


def test_columns_come_in_the_models_order_and_types_from_any_table():
    table = pa.table({"new": pa.chunked_array([[1], [0]]), "x": [1, 2], "city": [1, 2], "size": ["1", None]})
    assert match_columns(table, FEATURES).to_pydict() == {"size": [1.0, None], "city": ["1", "2"], "new": [True, False]}


def test_what_a_cell_says_does_not_depend_on_the_cells_beside_it():
    alone = [_one("city", "categorical", [cell])["city"].to_pylist()[0] for cell in (1, 1.0, 0.5, 2.0**60, 1e-9, True)]
    mixed = _one("city", "categorical", [1, 1.0, 0.5, 2.0**60, 1e-9, True, "A7", None])["city"].to_pylist()
    assert mixed == [*alone, "A7", None]
    assert alone[:3] == ["1", "1", "0.5"]


def test_not_a_number_among_booleans_is_a_missing_value():
    body = io.BytesIO()
    np.save(body, np.array([[1.0], [np.nan], [0.0]]))
    found = _read(body.getvalue(), media.NPY, features=[ModelColumn(name="new", type="boolean")])
    assert found["new"].to_pylist() == [True, None, False]
