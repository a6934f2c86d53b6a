import io
import json
import pickle
import signal
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.apart import apart
from support.draws import examples
from support.workbooks import workbook

from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.tables import media
from worker.tables.files.ingest import ingest


def _parquet(table):
    body = io.BytesIO()
    pq.write_table(table, body)
    return body.getvalue()


def _arrow(table, kind):
    body = io.BytesIO()
    opened = pa.ipc.new_file if kind == media.ARROW_FILE else pa.ipc.new_stream
    with opened(body, table.schema) as writer:
        writer.write_table(table)
    return body.getvalue()


def _npz(**arrays):
    body = io.BytesIO()
    np.savez_compressed(body, **arrays)
    return body.getvalue()


NO_CHARACTER = np.array([2**31 - 1], "<u4").view("<U1")
SMALL = pa.table({"a": [1.0, 2.0, 3.0], "b": ["x", "y", "z"]})
BODIES = {
    media.NDJSON: b'{"a": 1, "b": "x"}\n{"a": 2.5, "b": null}\n',
    media.CSV: b"a,b\n1,x\n2,y\n3,z\n",
    media.TSV: b"a\tb\n1\tx\n2\ty\n3\tz\n",
    media.PARQUET: _parquet(SMALL),
    media.ARROW_FILE: _arrow(SMALL, media.ARROW_FILE),
    media.ARROW_STREAM: _arrow(SMALL, media.ARROW_STREAM),
    media.JSON: b'{"columns": ["a", "b"], "rows": [[1, "x"], [2, "y"], [3, "z"]]}',
    media.NPZ: _npz(X=np.arange(6.0).reshape(3, 2), y=np.arange(3)),
    media.XLSX: workbook([["a", "b"], [1, "x"], [2, "y"], [3, "z"]]),
}


@pytest.mark.parametrize("kind", media.DATASET_TYPES)
def test_an_empty_body_is_said_to_be_empty(take, kind):
    with pytest.raises(UnreadableTable, match="empty"):
        take(b"", kind)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("a,b\n", media.CSV),
        ("a,b", media.CSV),
        ('{"columns": ["a", "b"], "rows": []}', media.JSON),
        (_parquet(SMALL.slice(0, 0)), media.PARQUET),
        (_arrow(SMALL.slice(0, 0), media.ARROW_FILE), media.ARROW_FILE),
        (_arrow(SMALL.slice(0, 0), media.ARROW_STREAM), media.ARROW_STREAM),
        (_npz(X=np.empty((0, 2))), media.NPZ),
    ],
)
def test_a_header_without_rows_is_no_table(take, body, kind):
    with pytest.raises(UnreadableTable, match="no rows"):
        take(body, kind)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("a,b\n1,2\n3\n5,6\n", media.CSV),
        ('{"columns": ["a", "b"], "rows": [[1, 2], [3, 4, 5]]}', media.JSON),
    ],
)
def test_a_ragged_row_is_named_with_its_number_and_length(take, body, kind):
    with pytest.raises(UnreadableTable, match=r"row \d has \d values") as caught:
        take(body, kind)
    assert "row 3 has 1 values and the header 2" in str(caught.value) or "row 2 has 3 values" in str(caught.value)


NO_NAMES = [
    (["a", "a"], "two columns are named 'a'"),
    (["a", ""], "column 2 has no name"),
    (["  ", "b"], "column 1 has no name"),
]
TOO_LONG = ["a", "n" * 1001], "name of column 2 is longer"


@pytest.mark.parametrize(
    ("kind", "names", "complaint"),
    [(media.CSV, *TOO_LONG)]
    + [(kind, *case) for kind in (media.JSON, media.PARQUET, media.ARROW_FILE) for case in (*NO_NAMES, TOO_LONG)],
)
def test_names_that_are_no_names_are_refused(take, kind, names, complaint):
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=names)
    body = {
        media.CSV: lambda: ",".join(names) + "\n1,2\n",
        media.JSON: lambda: json.dumps({"columns": names, "rows": [[1, 2]]}),
        media.PARQUET: lambda: _parquet(table),
        media.ARROW_FILE: lambda: _arrow(table, media.ARROW_FILE),
    }[kind]()
    with pytest.raises(UnreadableTable, match=complaint):
        take(body, kind)


def test_nul_bytes_in_a_csv_are_named(take):
    with pytest.raises(UnreadableTable, match="NUL"):
        take(b"a,b\n1,x\0y\n")


def test_nul_characters_beyond_the_start_of_a_csv_are_found_too(take):
    with pytest.raises(UnreadableTable, match="NUL"):
        take(b"a,b\n" + b"1,long enough\n" * 100_000 + b"1,x\0y\n")


def test_a_byte_order_mark_is_not_part_of_the_first_name(take):
    assert list(take(b"\xef\xbb\xbfa,b\n1,2\n").columns) == ["a", "b"]


def test_quoted_newlines_commas_and_crlf_are_read(take):
    taken = take('a,b\r\n"x,5","two\nlines"\r\n2,"say ""so"""\r\n')
    assert taken.table.to_pydict() == {"a": ["x,5", "2"], "b": ["two\nlines", 'say "so"']}


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ('a,b\n1,"x', 2),
        ('a,b\n1,x\n2,"y\n3,z\n', 3),
        ('a,b\r\n1,"x""\r\n', 2),
        ('a,b\n1,"', 2),
        ('a\n"two\nlines"\n"é\n\n', 4),
        ('a,"b\n1,2\n', 1),
        ("a\n" + "long enough\n" * 200_000 + '"' + "x\n" * 10, 200_002),
    ],
)
def test_a_csv_that_ends_inside_a_quote_is_refused_with_the_line_where_it_opens(take, body, line):
    with pytest.raises(UnreadableTable, match=f"quote that opens on line {line};"):
        take(body)


@pytest.mark.parametrize(
    ("last", "value"), [('"\n"\n', "\n"), ('""\n', None), ('"x"y\n', "xy"), ('y"\n', 'y"'), ('"""x"""\n\n', '"x"')]
)
def test_quotes_that_are_closed_or_plain_may_end_a_csv(take, last, value):
    assert take(f"a,b\n0,z\n1,{last}").table.column("b").to_pylist() == ["z", value and (value.strip() or None)]


@pytest.mark.parametrize("kind", [media.PARQUET, media.ARROW_FILE, media.ARROW_STREAM, media.NPZ, media.JSON])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_truncated_file_is_unreadable(take, kind, share):
    body = BODIES[kind]
    with pytest.raises(UnreadableTable):
        take(body[: int(len(body) * share)], kind)


def test_a_pickle_in_an_npz_is_never_loaded(take, tmp_path):
    witness = tmp_path / "witness"

    class Evil:
        def __reduce__(self):
            return (Path.touch, (witness,))

    with pytest.raises(UnreadableTable, match="pickle"):
        take(_npz(X=np.array([[Evil()]], dtype=object)), media.NPZ)
    with pytest.raises(UnreadableTable):
        take(pickle.dumps(Evil()), media.NPZ)
    assert not witness.exists()


def test_an_npz_in_the_other_order_of_bytes_is_read(take):
    taken = take(_npz(X=np.ones((2, 1), ">f8"), y=np.array(["a", "b"], ">U1")), media.NPZ)
    assert taken.table.to_pydict() == {"x0": [1.0, 1.0], "y": ["a", "b"]}


def test_an_npz_that_says_it_is_larger_than_allowed_is_not_unpacked(take):
    body = _npz(X=np.zeros((2000, 500)))
    assert len(body) < 20_000
    with pytest.raises(TableTooLarge, match="1000000"):
        take(body, media.NPZ, max_bytes=1_000_000)


def test_an_npz_header_that_promises_more_than_it_holds_is_unreadable(take):
    body = io.BytesIO()
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**3)})
    with zipfile.ZipFile(body, "w") as archive:
        archive.writestr("X.npy", header.getvalue() + b"\0" * 80)
    with pytest.raises((UnreadableTable, TableTooLarge)):
        take(body.getvalue(), media.NPZ)


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"Z": np.ones((2, 2))}, "no array 'X'"),
        ({"X": np.ones(3)}, "shape"),
        ({"X": np.ones((3, 2)), "y": np.ones(2)}, "shape"),
        ({"X": np.ones((3, 2)), "feature_names": np.array(["a"])}, "1 names and X 2 columns"),
        ({"X": np.ones((3, 2), dtype=complex)}, "."),
        ({"X": np.float64(1.0)}, "shape"),
        ({"X": np.ones((3, 1)), "feature_names": np.array(["\ud800"])}, "half a character"),
        ({"X": np.ones((3, 1)), "feature_names": NO_CHARACTER}, "maximum character"),
    ],
)
def test_an_npz_of_other_arrays_is_refused(take, arrays, complaint):
    with pytest.raises(UnreadableTable, match=complaint):
        take(_npz(**arrays), media.NPZ)


def test_a_member_of_an_npz_that_is_no_array_is_refused(take):
    body = io.BytesIO(BODIES[media.NPZ])
    with zipfile.ZipFile(body, "a") as archive:
        archive.writestr("feature_names.npy", b"u,v")
    with pytest.raises(UnreadableTable, match="is no array"):
        take(body.getvalue(), media.NPZ)


@pytest.mark.parametrize(
    "body",
    [
        "[" * 100_000,
        '{"columns": ["a"], "rows": ' + "[" * 100_000,
        '{"columns": ["a"], "rows": [[[1]]]}',
        '{"columns": ["a"], "rows": [[{"b": 1}]]}',
        '{"columns": "a", "rows": [[1]]}',
        '{"columns": [1], "rows": [[1]]}',
        '{"rows": [[1]]}',
        "17",
        '{"columns": ["a"], "rows": [[1]',
        '{"columns": ["a"], "rows": [[nope]]}',
    ],
)
def test_json_of_another_shape_is_refused(take, body):
    with pytest.raises(UnreadableTable):
        take(body, media.JSON)


def test_json_rows_may_come_before_their_columns(take):
    assert take('{"rows": [[1, true], [2, null]], "columns": ["a", "b"]}', media.JSON).table.to_pydict() == {
        "a": [1.0, 2.0],
        "b": [True, None],
    }


@pytest.mark.parametrize("said", media.DATASET_TYPES)
@pytest.mark.parametrize("sent", [media.PARQUET, media.ARROW_FILE, media.ARROW_STREAM, media.NPZ, media.XLSX])
def test_a_body_of_another_type_than_it_says_is_named_for_what_it_is(take, said, sent):
    if said != sent:
        with pytest.raises(UnreadableTable, match=f"says {said}, but the body looks like {sent}"):
            take(BODIES[sent], said)


@pytest.mark.parametrize("said", [media.PARQUET, media.ARROW_FILE, media.ARROW_STREAM, media.NPZ, media.XLSX])
def test_text_that_says_it_is_binary_is_named_so(take, said):
    with pytest.raises(UnreadableTable, match="looks like text"):
        take(BODIES[media.CSV], said)


@pytest.mark.parametrize("kind", [media.PARQUET, media.ARROW_FILE, media.ARROW_STREAM])
def test_texts_that_are_not_utf8_are_refused_in_binary_forms_too(take, kind):
    table = pa.table({"a": pa.array([b"caf\xe9"]).view(pa.string())})
    with pytest.raises(UnreadableTable, match="UTF8"):
        take(_parquet(table) if kind == media.PARQUET else _arrow(table, kind), kind)


def test_columns_that_hold_lists_are_named(take):
    with pytest.raises(UnreadableTable, match="column 'b' holds list"):
        take(_parquet(pa.table({"a": [1], "b": [[1, 2]]})), media.PARQUET)


MAGICS = [b"", b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff", b"PK\x03\x04", b'{"columns": ["a"], "rows": [[', b"a,b\n1,"]


@pytest.mark.parametrize("kind", media.DATASET_TYPES)
@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(magic=st.sampled_from(MAGICS), noise=st.binary(max_size=200), tail=st.sampled_from([b"", b"PAR1", b"]]}"]))
def test_random_bytes_are_a_table_or_a_clear_error(tmp_path, kind, magic, noise, tail):
    _table_or_error(tmp_path, magic + noise + tail, kind)


@pytest.mark.parametrize("kind", media.DATASET_TYPES)
@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), noise=st.binary(min_size=1, max_size=4), cut=st.booleans())
def test_damaged_files_are_a_table_or_a_clear_error(tmp_path, kind, place, noise, cut):
    body = BODIES[kind]
    at = int(place * len(body))
    _table_or_error(tmp_path, body[:at] + noise + body[at + (len(noise) if cut else 0) :], kind)


HEADER = b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (3, 2), }"
"""How a stored matrix of three rows begins."""


# a header that Python 2 may have written is read, and numpy says so
@pytest.mark.filterwarnings("ignore:Reading .* required additional header parsing")
@settings(max_examples=examples(200), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 127), noise=st.binary(min_size=1, max_size=4))
# a key that is no text beside others that are
@example(place=HEADER.index(b" 'shape'"), noise=b"b")
def test_damaged_array_headers_are_a_table_or_a_clear_error(tmp_path, place, noise):
    array = io.BytesIO()
    np.save(array, np.arange(6.0).reshape(3, 2))
    body = bytearray(array.getvalue())
    body[place : place + len(noise)] = noise
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("X.npy", bytes(body))
    _table_or_error(tmp_path, archive.getvalue(), media.NPZ)


def _table_or_error(folder, body, kind):
    source = folder / "body"
    source.write_bytes(body)
    if kind == media.PARQUET:
        # over some footers pyarrow ends its process, which is why the service reads tables in processes of their own
        assert apart(_read_or_refuse, source, kind, folder) in (0, -signal.SIGABRT)
    else:
        _read_or_refuse(source, kind, folder)


def _read_or_refuse(source, kind, folder):
    with suppress(UnreadableTable, TableTooLarge):
        assert ingest(source, kind, folder / "table.parquet", max_cells=10_000, max_bytes=1_000_000).rows > 0
