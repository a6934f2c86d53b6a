"""A cell means the same whichever way it comes: every form of a table and type of a column, to train and to predict."""

import datetime as dt
import decimal
import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.tables import as_file, as_npz, as_parquet, as_stream

from service.client.tables import body_of
from service.inference_codec import decode
from service.inference_tensors import rows_from
from worker.contracts.resources import ModelColumn
from worker.tables import media
from worker.tables.encoder import Encoder
from worker.tables.frames import frame_table
from worker.tables.inference import typed_table
from worker.tables.ingest import ingest
from worker.tables.matching import match_columns
from worker.tables.plain import PlainRows
from worker.tables.plain_encoder import PlainEncoder
from worker.tables.rows import RowReader
from worker.tables.storage import load_table

ROWS = 12
TEXTS = ["NA", "None", "?", "", " x", "x ", "\tx", "\u00a0x", "x", "y", "1.50", "1.5", "TRUE", "true", "007", "1e0"]
TEXTS += ["a,b", 'q"q', "two\nlines", "2020-01-01T00:00:00", "N/A", "é"]


def _texts(*choices):
    return st.lists(st.sampled_from([*choices, None]), min_size=ROWS, max_size=ROWS)


def _series(cells, dtype):
    return cells.map(lambda found: pd.Series(found, dtype=dtype))


def _of(values, dtype):
    return st.permutations(values).map(lambda found: pd.Series(found, dtype=dtype))


NUMBERS = [-2, 0, 1, 1, 3, 7, 8, 8, 9, 10, 11, 2**40]
HALVES = [0.5, -1.5, 2.0, 2.0, 3.25, 1e300, 1e-300, 0.0, 7.0, 8.0, 9.0, 12.125]
GAPS = [None, *NUMBERS[1:]]
MOMENTS = pd.to_datetime(["2020-01-01", "2020-01-01 05:00", "2021-03-04 05:06:07", None] * 3, format="ISO8601")
DTYPES = {
    "object texts": _series(_texts(*TEXTS), object),
    "str": _series(_texts(*TEXTS), "str"),
    "string[python]": _series(_texts(*TEXTS), "string[python]"),
    "string[pyarrow]": _series(_texts(*TEXTS), "string[pyarrow]"),
    "category of texts": _series(_texts(*TEXTS), "category"),
    "category of integers": _of(NUMBERS, "category"),
    "category of integers with gaps": _of(GAPS, "category"),
    "category of floats": _of(HALVES, "category"),
    "category of booleans": _of([True, False] * 6, "category"),
    "numbers as texts": _of(["1.5", "1.50", "2", "1e0", " 3", "+4", "-1", "NA", "5", "6", "7", "8"], object),
    "booleans as texts": _of(["true", "True", "FALSE", "false", "TRUE ", "NA"] * 2, object),
    "codes as texts": _of(["007", "7", "0123", "80331", "x", "08", "8", "10", "00", "0", "1", "01"], object),
    "int8": _of([0, 1, 2, 3] * 3, "int8"),
    "int64": _of(NUMBERS, "int64"),
    "Int64": _of(GAPS, "Int64"),
    "int64[pyarrow]": _of(GAPS, "int64[pyarrow]"),
    "uint64": _of([2**64 - 1, 2**63, *range(10)], "uint64"),
    "float64": _of([np.nan, *HALVES[1:]], "float64"),
    "Float32": _of([None, 0.5, 1.5, -2.25] * 3, "Float32"),
    "float16": _of([0.5, 1.5, -2.25] * 4, "float16"),
    "Decimal": _of([decimal.Decimal("1.50"), decimal.Decimal("2"), None] * 4, object),
    "bool": _of([True, False] * 6, "bool"),
    "boolean": _of([True, False, None] * 4, "boolean"),
    "objects that are numbers": _of([1, 2.5, 3, None] * 3, object),
    "objects of several kinds": _of(
        [1, 2.0, 2.5, "x", "NA", True, None, decimal.Decimal("4.50"), "7", 8, " y", 9], object
    ),
    "dates": _of([dt.date(2020, 1, 1), dt.date(2020, 1, 2), None] * 4, object),
    **{f"datetime64[{unit}]": _of(list(MOMENTS), f"datetime64[{unit}]") for unit in ("s", "ms", "us", "ns")},
    "datetime64[us, UTC]": _of([*MOMENTS[:3].tz_localize("UTC")] * 4, "datetime64[us, UTC]"),
}


def _cell(value):
    """A cell as JSON has it."""
    if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, decimal.Decimal):
        return float(value)
    return value.isoformat() if isinstance(value, dt.date) else value


def _csv(frame, separator):
    return frame.to_csv(index=False, sep=separator).encode()


def _json_table(frame):
    rows = [[_cell(value) for value in row] for row in frame.astype(object).itertuples(index=False)]
    return {"columns": list(frame), "rows": rows}


def _wide_texts(frame):
    """An npz of fixed-width texts: nothing is an empty text."""
    cells = [["" if cell is None else _as_text(cell) for cell in row] for row in _json_table(frame)["rows"]]
    return as_npz(X=np.array(cells, dtype="U"), feature_names=np.array(list(frame)))


def _as_text(cell):
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


FORMS = {
    "CSV": lambda frame: (_csv(frame, ","), media.CSV),
    "TSV": lambda frame: (_csv(frame, "\t"), media.TSV),
    "Parquet": lambda frame: (as_parquet(frame_table(frame)), media.PARQUET),
    "Parquet of pandas": lambda frame: (_pandas_parquet(frame), media.PARQUET),
    "Arrow file": lambda frame: (as_file(frame_table(frame)), media.ARROW_FILE),
    "Arrow stream": lambda frame: (as_stream(frame_table(frame)), media.ARROW_STREAM),
    "NPZ of texts": lambda frame: (_wide_texts(frame), media.NPZ),
    "JSON": lambda frame: (json.dumps(_json_table(frame)).encode(), media.JSON),
    "frame of the client": lambda frame: (body_of(frame).open().read(), body_of(frame).media_type),
}


def _pandas_parquet(frame):
    target = io.BytesIO()
    try:
        frame.to_parquet(target, index=False)
    except (pa.ArrowException, OverflowError):
        # pandas writes no column of several kinds
        return as_parquet(frame_table(frame))
    return target.getvalue()


def _stored(folder, body, kind):
    """What an upload makes of a table: the typed table, and its columns."""
    (folder / "source").write_bytes(body)
    found = ingest(folder / "source", kind, folder / "table.parquet", max_cells=10**6, max_bytes=10**8)
    return load_table(folder / "table.parquet"), [ModelColumn(name=one.name, type=one.type) for one in found.columns]


def _trained(table, features, **options):
    return Encoder.fit(table, features, standardize=True, normalize_rows=False, **options)


def _encoded(encoder, features, rows):
    return (PlainEncoder(encoder, features) if isinstance(rows, PlainRows) else encoder).encode(rows)


def _ways_to_ask(folder, frame):
    """Every way in which the rows of a frame come to a model: a name, and what makes rows of them for its reader."""
    for name, form in FORMS.items():
        body, kind = form(frame)
        table, _ = _stored(folder, body, kind)
        yield f"predict job over {name}", lambda _, features, table=table: match_columns(table, features)
        if kind == media.PARQUET:
            yield name, lambda reader, _, table=table: reader.fit(table, max_rows=100)
        elif kind not in (media.NPZ, media.JSON):
            yield name, lambda reader, _, body=body, kind=kind: reader.read(body, kind, max_rows=100)
    document = _json_table(frame)
    names, rows = document["columns"], document["rows"]
    lists = {"columns": names, "data": rows}
    objects = {"rows": [dict(zip(names, row, strict=True)) for row in rows]}
    one_row = {"columns": names, "data": rows[:1]}
    for name, asked in (("JSON lists", lists), ("JSON objects", objects), ("one row of JSON", one_row)):
        body = json.dumps(asked).encode()
        yield name, lambda reader, _, body=body: reader.read(body, media.JSON, max_rows=100)
    tensors = decode(
        json.dumps({"inputs": [_tensor(name, rows, place) for place, name in enumerate(names)]}).encode(), None
    )
    yield "BYTES tensors", lambda reader, features: rows_from(tensors.inputs, reader, features, max_rows=100)
    yield "estimator", lambda _, features: match_columns(frame_table(frame), features)


def _tensor(name, rows, place):
    cells = [None if row[place] is None else _as_text(row[place]) for row in rows]
    return {"name": name, "datatype": "BYTES", "shape": [len(rows)], "data": cells}


def _trainings(folder, frame):
    for name, form in FORMS.items():
        yield name, *_stored(folder, *form(frame))
    table, types = typed_table(frame_table(frame))
    yield "estimator", table, [ModelColumn(name=one, type=kind) for one, kind in types.items()]


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_rows_are_encoded_as_in_training_whichever_way_they_come(tmp_path_factory, dtype, data):
    column = data.draw(DTYPES[dtype])
    frame = pd.DataFrame({"c": column, "z": np.linspace(-1, 1, ROWS)})
    folder = tmp_path_factory.mktemp("cells")
    ways = list(_ways_to_ask(folder, frame))
    for trained_by, table, features in _trainings(folder, frame):
        encoder = _trained(table, features, expanded=True)
        X, reader = encoder.encode(table), RowReader(features)
        for asked_by, ask in ways:
            rows = ask(reader, features)
            found = _encoded(encoder, features, rows)
            where = f"trained by {trained_by}, asked by {asked_by}"
            np.testing.assert_allclose(found, X[: len(found)], rtol=1e-6, atol=1e-9, err_msg=where)
            plain = PlainEncoder(encoder, features) if isinstance(rows, PlainRows) else encoder
            assert not any(unknown.any() for unknown in plain.strange(rows).values()), where


UNDECLARED = [name for name in DTYPES if not name.startswith(("category", "Float32", "float16", "uint64"))]


@pytest.mark.parametrize("dtype", UNDECLARED)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_every_form_of_a_table_trains_the_same_encoder(tmp_path_factory, dtype, data):
    frame = pd.DataFrame({"c": data.draw(DTYPES[dtype]), "z": np.linspace(-1, 1, ROWS)})
    folder = tmp_path_factory.mktemp("cells")
    found = {name: _trained(table, features) for name, table, features in _trainings(folder, frame)}
    shapes = {
        name: [(code.name, code.type, code.missing, len(code.names)) for code in one.codes]
        for name, one in found.items()
    }
    first = next(iter(shapes.values()))
    assert all(shape == first for shape in shapes.values()), shapes


@pytest.mark.parametrize("kind", ["parquet", "feather", "categories"])
def test_a_declared_category_stays_one(tmp_path, kind):
    months = pd.Series([1, 2, 3] * 4)
    frame = pd.DataFrame({"month": months.astype("category"), "z": np.linspace(-1, 1, ROWS)})
    target = io.BytesIO()
    table = pa.Table.from_pandas(frame)
    if kind == "parquet":
        frame.to_parquet(target)
    elif kind == "feather":
        with pa.ipc.new_file(target, table.schema) as writer:
            writer.write_table(table)
    else:
        pq.write_table(table.replace_schema_metadata(None), target)
    stored, features = _stored(tmp_path, target.getvalue(), media.ARROW_FILE if kind == "feather" else media.PARQUET)
    assert {one.name: one.type for one in features} == {"month": "categorical", "z": "numeric"}
    assert _trained(stored, features).names == ["month=1", "month=2", "month=3", "month:other", "z"]


def test_a_declared_category_may_be_named_as_a_missing_value_is(tmp_path):
    frame = pd.DataFrame({"c": pd.Categorical(["NA", "None", None, "x"] * 3), "z": np.linspace(-1, 1, ROWS)})
    table, features = _stored(tmp_path, as_parquet(frame_table(frame)), media.PARQUET)
    encoder = _trained(table, features)
    assert encoder.names == ["c=NA", "c=None", "c=x", "c:other", "c:missing", "z"]
    for name, ask in _ways_to_ask(tmp_path, frame):
        rows = ask(RowReader(features), features)
        assert _encoded(encoder, features, rows)[0, :5].tolist() == [1, 0, 0, 0, 0], name
