import datetime as dt
import gzip
import io
import json
import math
import re

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.draws import examples

from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.tables import media, values
from worker.tables.decompress import decompress

NUMBERS = st.one_of(st.none(), st.floats(allow_nan=False, allow_subnormal=False, allow_infinity=False))
TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12).filter(
    lambda text: (
        text.strip() == text
        and text not in values.MISSING
        and not values.could_be_number(pa.array([text]))
        and text.lower() not in ("true", "false")
    )
)


def _bodies(table):
    def written(opened):
        body = io.BytesIO()
        with opened(body, table.schema) as writer:
            writer.write_table(table)
        return body.getvalue()

    rows = [list(row.values()) for row in table.to_pylist()]
    return {
        media.CSV: written(pa_csv.CSVWriter),
        media.PARQUET: written(pq.ParquetWriter),
        media.ARROW_FILE: written(pa.ipc.new_file),
        media.ARROW_STREAM: written(pa.ipc.new_stream),
        media.JSON: json.dumps({"columns": table.column_names, "rows": rows}).encode(),
    }


@settings(max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(NUMBERS, st.booleans() | st.none(), TEXTS | st.none()), max_size=8), first=TEXTS)
def test_one_table_is_the_same_in_every_form(take, rows, first):
    rows = [(1.5, True, first), *rows]
    number, flag, text = (list(column) for column in zip(*rows, strict=True))
    table = pa.table(
        {"number": pa.array(number, pa.float64()), "flag": pa.array(flag), "text": pa.array(text, pa.string())}
    )
    for kind, body in _bodies(table).items():
        taken = take(body, kind)
        assert taken.types == {"number": "numeric", "flag": "boolean", "text": "categorical"}
        assert taken.table.equals(table), kind


@settings(max_examples=examples(25), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(X=st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8), codes=st.booleans())
def test_an_npz_of_numbers_becomes_its_columns(take, X, codes):
    array = np.array([[math.nan if value is None else value for value in row] for row in X])
    y = np.arange(len(X), dtype=np.int32 if codes else np.float32)
    body = io.BytesIO()
    np.savez(body, X=array, y=y, feature_names=np.array(["left", "right"]))
    assert take(body.getvalue(), media.NPZ).table.to_pydict() == {
        "left": [row[0] for row in X],
        "right": [row[1] for row in X],
        "y": y.tolist(),
    }


def test_types_of_a_csv_are_what_all_of_their_texts_could_be(take):
    taken = take("n,b,t,mixed,m\n1,true,x,1,\n2.5e3,FALSE,y,true,NA\n -3 ,True,1,2,?\n")
    assert taken.types == {"n": "numeric", "b": "boolean", "t": "categorical", "mixed": "categorical", "m": "numeric"}
    assert taken.table.column("n").to_pylist() == [1, 2500, -3]
    assert taken.table.column("b").to_pylist() == [True, False, True]


def test_a_text_in_the_last_of_many_rows_makes_the_column_categorical(take):
    taken = take("a\n" + "1\n" * 200_000 + "x\n", max_cells=300_000)
    assert taken.types == {"a": "categorical"}
    assert taken.columns["a"].distinct == 2


@pytest.mark.parametrize("word", values.MISSING)
def test_words_for_nothing_are_missing(take, word):
    taken = take(f'a,b\n1,x\n"{word}","{word}"\n')
    assert taken.table.to_pylist() == [{"a": 1, "b": "x"}, {"a": None, "b": None}]
    assert [taken.columns[name].missing for name in "ab"] == [1, 1]


def test_not_a_number_is_missing_in_binary_forms_too(take):
    table = pa.table({"a": pa.array([1.0, math.nan, None])})
    body = _bodies(table)[media.PARQUET]
    assert take(body, media.PARQUET).table.column("a").to_pylist() == [1.0, None, None]


@pytest.mark.parametrize(
    ("column", "kind", "expected"),
    [
        (pa.array([1, 2], pa.int8()), "numeric", [1.0, 2.0]),
        (pa.array([1, 2**63 + 1], pa.uint64()), "numeric", [1, 2**63 + 1]),
        (pa.array([1.5, 2], pa.float32()), "numeric", [1.5, 2.0]),
        (pa.array(np.array([1.5, 2], np.float16)), "numeric", [1.5, 2.0]),
        (pa.array([None, None], pa.null()), "numeric", [None, None]),
        (pa.array(["x", "y"]).dictionary_encode(), "categorical", ["x", "y"]),
        (pa.array([1.0, 2.0]).dictionary_encode(), "categorical", ["1", "2"]),
        (pa.array(["x", "y"], pa.large_string()), "categorical", ["x", "y"]),
        (pa.array([dt.date(2020, 1, 2), None]), "datetime", ["2020-01-02", None]),
        (pa.array([dt.time(12, 30), None]), "categorical", ["12:30:00", None]),
    ],
)
def test_every_plain_arrow_type_has_its_place(take, column, kind, expected):
    taken = take(_bodies_of_arrow(pa.table({"a": column})), media.ARROW_FILE)
    assert taken.types == {"a": kind}
    assert taken.table.column("a").to_pylist() == expected


def _bodies_of_arrow(table):
    body = io.BytesIO()
    with pa.ipc.new_file(body, table.schema) as writer:
        writer.write_table(table)
    return body.getvalue()


@pytest.mark.parametrize(
    "column", [pa.array([b"x"]), pa.array([[1]]), pa.array([{"x": 1}]), pa.array([1], "duration[s]")]
)
def test_types_without_a_place_in_a_table_are_named(take, column):
    with pytest.raises(UnreadableTable, match=re.escape(f"column 'odd' holds {column.type}")):
        take(_bodies_of_arrow(pa.table({"odd": column})), media.ARROW_FILE)


def test_a_nul_inside_a_text_is_refused_with_its_column(take):
    with pytest.raises(UnreadableTable, match=r"column 'a' holds a NUL"):
        take(_bodies_of_arrow(pa.table({"a": ["x\0y"]})), media.ARROW_FILE)


def test_statistics_of_a_numeric_column(take):
    column = take("a,b\n1,\n2,\n2,\n,\n7,\n").columns["a"]
    assert (column.missing, column.distinct, column.min, column.max, column.mean) == (1, 3, 1, 7, 3)
    assert column.std == pytest.approx(np.std([1, 2, 2, 7]))
    assert column.integer


def test_infinite_values_are_counted_and_left_out_of_the_statistics(take):
    column = take("a\n1\ninf\n-inf\n3\n").columns["a"]
    assert (column.infinite, column.min, column.mean, column.max, column.integer) == (2, 1, 2, 3, False)


def test_numbers_whose_mean_overflows_are_described_without_it(take):
    column = take("a\n1e308\n1.7e308\n").columns["a"]
    assert (column.mean, column.std, column.max) == (None, None, 1.7e308)


def test_the_commonest_values_come_first_and_long_ones_are_cut(take):
    column = take("a\n" + "x\n" * 3 + "y\n" * 2 + "z" * 500 + "\n").columns["a"]
    assert [(one.value, one.count) for one in column.top[:2]] == [("x", 3), ("y", 2)]
    assert len(column.top[2].value) == 100


def test_an_all_missing_column_a_constant_column_and_a_single_row_are_tables(take):
    taken = take("nothing,same,text\n,5,x\n")
    assert taken.rows == 1
    assert [taken.columns[name].distinct for name in ("nothing", "same", "text")] == [0, 1, 1]
    assert taken.columns["nothing"].missing == 1
    assert taken.columns["same"].std == 0


@pytest.mark.parametrize("kind", [media.CSV, media.PARQUET, media.ARROW_FILE, media.ARROW_STREAM, media.JSON])
def test_more_cells_than_allowed_are_refused_with_the_limit(take, kind):
    table = pa.table({"a": np.arange(60.0), "b": np.arange(60.0)})
    with pytest.raises(TableTooLarge, match="more than 100 cells: 2 columns"):
        take(_bodies(table)[kind], kind, max_cells=100)


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 5000])
def test_numbers_in_json_beyond_what_fits_are_refused(take, number):
    with pytest.raises(UnreadableTable, match=r"row 1, column 'a': .*(numbers end at|digits)"):
        take('{"columns": ["a"], "rows": [[' + number + "]]}", media.JSON)


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_decompressing_gives_back_what_was_compressed(tmp_path, encoding):
    body = b"a,b\n" + b"1,2\n" * 500_000
    source, destination = tmp_path / "in", tmp_path / "out"
    with pa.CompressedOutputStream(str(source), encoding) as stream:
        stream.write(body)
    assert decompress(source, encoding, destination, len(body)) == len(body)
    assert destination.read_bytes() == body


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_stopped_at_the_limit(tmp_path, encoding):
    source, destination = tmp_path / "in", tmp_path / "out"
    with pa.CompressedOutputStream(str(source), encoding) as stream:
        for _ in range(200):
            stream.write(bytes(2**20))
    assert source.stat().st_size < 2**20
    with pytest.raises(TableTooLarge, match="5000000 bytes"):
        decompress(source, encoding, destination, 5_000_000)
    assert destination.stat().st_size <= 5_000_000


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
@pytest.mark.parametrize("damage", ["text", "cut"])
def test_a_body_that_is_not_compressed_as_it_says_is_unreadable(tmp_path, encoding, damage):
    source = tmp_path / "in"
    whole = pa.compress(bytes(range(256)) * 100, encoding, asbytes=True)
    if encoding == "gzip":
        whole = gzip.compress(bytes(range(256)) * 100)
    source.write_bytes({"text": b"a,b\n1,2\n", "cut": whole[: len(whole) // 2]}[damage])
    with pytest.raises(UnreadableTable, match=encoding):
        decompress(source, encoding, tmp_path / "out", 10**6)
