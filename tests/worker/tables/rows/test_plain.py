"""What needs no table of Arrow is what the table would have been."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.draws import examples

from worker.contracts.errors import InvalidRequest, UnreadableTable
from worker.contracts.resources import ModelColumn
from worker.tables import media
from worker.tables.encoding.encoder import Encoder
from worker.tables.rows import json_rows
from worker.tables.rows.matching import match_columns
from worker.tables.rows.plain import PlainColumns, PlainRows, joined
from worker.tables.rows.table_rows import FEW_ROWS, RowReader

KINDS = ("numeric", "boolean", "categorical")
FITTING = {
    "numeric": st.none() | st.integers(-(2**60), 2**60) | st.floats(allow_infinity=False),
    "boolean": st.none() | st.booleans(),
    "categorical": st.none()
    | st.sampled_from(["Rome", "Zürich", "New York", "7"])
    | st.text("aß0-é\u4e00", min_size=1),
}
ODD = st.sampled_from(
    ["", "NA", " x ", "x\u00a0", "\u2003y", "\x00", "\ud800", "true", "1", 2, 0.5, 10**400, True, [1], {}, 1e308, "inf"]
) | st.sampled_from([float("inf"), float("-inf"), float("nan"), 2**53 + 1, -0.0])


@st.composite
def _features(draw):
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    return [ModelColumn(name=f"c{index}", type=kind) for index, kind in enumerate(kinds)]


def _rows(draw, features, odd):
    cells = [FITTING[one.type] | ODD if odd else FITTING[one.type] for one in features]
    return draw(st.lists(st.tuples(*cells), min_size=1, max_size=5))


def _document(draw, features, rows):
    """The rows as objects or as lists, their columns in any order and others among them."""
    further = draw(st.lists(st.sampled_from(["id", "note", "ü"]), max_size=2, unique=True))
    names = draw(st.permutations([*(one.name for one in features), *further]))
    found = [dict(zip([one.name for one in features], row, strict=True)) for row in rows]
    for row in found:
        row.update({name: draw(st.sampled_from([1, "x", None, True, 0.5])) for name in further})
    if draw(st.booleans()):
        return {"rows": [{name: row[name] for name in names} for row in found]}
    return {"columns": names, "data": [[row[name] for name in names] for row in found]}


def _same(found, expected):
    """Compare tables; NaN is not in them."""
    assert found.schema.equals(expected.schema)
    assert found.to_pydict() == expected.to_pydict()


def _end(read):
    """Return the cells that a reader gives, or what it says."""
    try:
        return read().to_pydict()
    except InvalidRequest as error:
        return str(error)


@given(data=st.data())
def test_cells_that_fit_their_columns_need_no_table(data):
    features = data.draw(_features())
    document = _document(data.draw, features, _rows(data.draw, features, odd=False))
    plain = json_rows.plain_of(document, PlainColumns.of(features), max_rows=10)
    assert plain is not None
    _same(plain.table(features), json_rows.table_of(document, features, max_rows=10))


@settings(max_examples=examples(300))
@given(data=st.data())
def test_json_that_needs_no_table_is_what_its_table_is(data):
    features = data.draw(_features())
    document = _document(data.draw, features, _rows(data.draw, features, odd=True))
    plain = json_rows.plain_of(document, PlainColumns.of(features), max_rows=10)
    if plain is not None:
        _same(plain.table(features), json_rows.table_of(document, features, max_rows=10))


@settings(max_examples=examples(200))
@given(data=st.data())
def test_json_of_any_shape_is_as_its_table_or_left_to_it(data):
    names = st.sampled_from(["c0", "c1", "id", "\ud800", 1, None])
    cell = st.sampled_from([1, "x", None, True, [1]])
    row = st.dictionaries(names.filter(lambda name: isinstance(name, str)), cell, max_size=3) | st.lists(
        cell, max_size=3
    )
    rows = st.lists(row | cell, max_size=3) | cell
    document = data.draw(
        st.fixed_dictionaries({"rows": rows}) | st.fixed_dictionaries({"columns": st.lists(names) | cell, "data": rows})
    )
    features = [ModelColumn(name="c0", type="numeric"), ModelColumn(name="c1", type="categorical")]
    plain = json_rows.plain_of(document, PlainColumns.of(features), max_rows=2)
    if plain is not None:
        _same(plain.table(features), json_rows.table_of(document, features, max_rows=2))


@pytest.mark.parametrize("rows", [[], [{"c0": 1}] * 3])
def test_no_rows_and_too_many_are_left_to_who_refuses_them(rows):
    columns = PlainColumns.of([ModelColumn(name="c0", type="numeric")])
    assert json_rows.plain_of({"rows": rows}, columns, max_rows=2) is None


@settings(max_examples=examples(200))
@given(data=st.data())
def test_a_matrix_that_needs_no_table_is_what_its_table_is(data):
    features = data.draw(_features())
    numbers = st.sampled_from([0, 1, -3, 0.5, 2**53, 2.0**60, -0.0, float("nan"), float("inf"), 1e-300])
    rows = data.draw(
        st.lists(st.lists(numbers, min_size=len(features), max_size=len(features)), min_size=1, max_size=4)
    )
    kind = data.draw(st.sampled_from(["<f8", ">f8", "<f4", "<i8"]))
    with np.errstate(invalid="ignore"):
        X = np.array(rows, float).astype(kind)
    body = io.BytesIO()
    np.save(body, X)
    cells = X if X.dtype == np.float32 else X.astype(float)
    columns = {one.name: pa.array(cells[:, index]) for index, one in enumerate(features)}
    reader = RowReader(features)
    found = _end(lambda: reader.table(reader.read(body.getvalue(), media.NPY, max_rows=10)))
    assert found == _end(lambda: match_columns(pa.table(columns), features))


ARROW = {
    "numeric": [
        pa.float64(),
        pa.float32(),
        pa.int64(),
        pa.uint8(),
        pa.bool_(),
        pa.string(),
        pa.null(),
        pa.decimal128(9),
    ],
    "boolean": [pa.bool_(), pa.int64(), pa.float64(), pa.string(), pa.null()],
    "categorical": [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.int64(), pa.bool_()],
}


@settings(max_examples=examples(200))
@given(data=st.data())
def test_a_small_table_is_matched_as_any_other(data):
    features = data.draw(_features())
    rows = data.draw(st.integers(1, 4))
    columns = {}
    for one in features:
        kind = data.draw(st.sampled_from(ARROW[one.type]))
        cells = data.draw(st.lists(st.sampled_from([0, 1, None]), min_size=rows, max_size=rows))
        if pa.types.is_null(kind):
            cells = [None] * rows
        if kind in (pa.string(), pa.large_string()) or pa.types.is_dictionary(kind):
            cells = [None if cell is None else str(cell) for cell in cells]
        if pa.types.is_boolean(kind):
            cells = [None if cell is None else bool(cell) for cell in cells]
        columns[one.name] = pa.array(cells, kind)
    table = pa.table({"more": [0] * rows, **columns})
    reader = RowReader(features)
    found = _end(lambda: reader.table(reader.fit(table, max_rows=10)))
    assert found == _end(lambda: match_columns(table, features))


def test_a_table_of_many_rows_stays_one():
    features = [ModelColumn(name="x", type="numeric")]
    for rows, plain in ((FEW_ROWS, True), (FEW_ROWS + 1, False)):
        found = RowReader(features).fit(pa.table({"x": np.zeros(rows)}), max_rows=1000)
        assert isinstance(found, PlainRows) is plain


def _training(draw, features):
    """Rows to fit an encoder on, most of which tell apart."""
    rows = draw(st.integers(4, 12))
    cells = {
        "numeric": st.none() | st.floats(-100, 100, allow_subnormal=False),
        "boolean": FITTING["boolean"],
        "categorical": st.none() | st.sampled_from(["Rome", "Zürich", "7"]),
    }
    return {one.name: draw(st.lists(cells[one.type], min_size=rows, max_size=rows)) for one in features}


@settings(max_examples=examples(300))
@given(data=st.data())
def test_the_encoder_does_the_same_with_and_without_a_table(data):
    features = [*data.draw(_features()), ModelColumn(name="sure", type="numeric")]
    cells = _training(data.draw, features)
    cells["sure"] = [float(index) for index in range(len(cells["sure"]))]
    training = match_columns(pa.table(cells), features)
    encoder = Encoder.fit(
        training,
        features,
        standardize=data.draw(st.booleans()),
        normalize_rows=data.draw(st.booleans()),
        expanded=data.draw(st.booleans()),
    )
    document = {"columns": [one.name for one in features], "data": _rows(data.draw, features, odd=False)}
    plain = RowReader(features).read(json.dumps(document).encode(), media.JSON, max_rows=10)
    assert isinstance(plain, PlainRows)
    # rows may be as far away as there are numbers
    with np.errstate(all="ignore"):
        expected = encoder.encode(plain.table(features))
        found = encoder.encode(plain)
        together = encoder.encode(joined([plain, plain]))
    assert found.shape == (len(document["data"]), len(encoder.names))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(together, np.vstack([expected, expected]))
    unknown_categories = {name: rows.tolist() for name, rows in encoder.unknown_categories(plain).items()}
    assert unknown_categories == {
        name: rows.tolist() for name, rows in encoder.unknown_categories(plain.table(features)).items()
    }
    texts = {one.name: set(training.column(one.name).to_pylist()) for one in features if one.type == "categorical"}
    kept = [name for name in texts if name not in encoder.dropped]
    asked = {name: plain.table(features).column(name).to_pylist() for name in kept}
    unseen = {name: [cell is not None and cell not in texts[name] for cell in asked[name]] for name in kept}
    assert unknown_categories == {name: rows for name, rows in unseen.items() if any(rows)}


@given(body=st.binary(max_size=60))
def test_a_body_of_bytes_is_rows_or_a_clear_error(body):
    reader = RowReader([ModelColumn(name="a", type="numeric")])
    for head in (b"", b'{"rows": [', b'{"columns": ["a"], "data": [['):
        with pytest.raises((InvalidRequest, UnreadableTable)):
            reader.read(head + body, media.JSON, max_rows=10)
