"""A cell means the same whichever way it comes: every form of a table and type of a column, to train and to predict."""

import io
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cells import DTYPES, FORMS, ROWS, as_text, json_shapes, json_table
from support.draws import examples
from support.tables import as_parquet

from service.inference.open_inference.codec import decode
from service.inference.open_inference.tensors import rows_from
from worker.tables import media
from worker.tables.column_types import model_columns, read_as
from worker.tables.encoding.encoder import Encoder
from worker.tables.files.inference import typed_table
from worker.tables.files.ingest import ingest
from worker.tables.frames import frame_table
from worker.tables.rows.matching import match_columns
from worker.tables.rows.table_rows import RowReader
from worker.tables.storage import load_table


def _stored(folder, body, kind):
    """What an upload makes of a table: the typed table, and its columns."""
    (folder / "source").write_bytes(body)
    found = ingest(folder / "source", kind, folder / "table.parquet", max_cells=10**6, max_bytes=10**8)
    stored = {column.name: column for column in found.columns}
    return load_table(folder / "table.parquet"), model_columns(stored, stored, {})


def _trained(table, features, **options):
    return Encoder.fit(table, features, standardize=True, normalize_rows=False, **options)


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
    document = json_table(frame)
    names, rows = document["columns"], document["rows"]
    one_row = {"columns": names, "data": rows[:1]}
    for name, asked in {**json_shapes(frame), "one row of JSON": one_row}.items():
        body = json.dumps(asked).encode()
        yield name, lambda reader, _, body=body: reader.read(body, media.JSON, max_rows=100)
    tensors = decode(
        json.dumps({"inputs": [_tensor(name, rows, place) for place, name in enumerate(names)]}).encode(), None
    )
    yield "BYTES tensors", lambda reader, features: rows_from(tensors.inputs, reader, features, max_rows=100)
    yield "estimator", lambda _, features: match_columns(frame_table(frame), features)


def _tensor(name, rows, place):
    cells = [None if row[place] is None else as_text(row[place]) for row in rows]
    return {"name": name, "datatype": "BYTES", "shape": [len(rows)], "data": cells}


def _trainings(folder, frame):
    for name, form in FORMS.items():
        table, features = _stored(folder, *form(frame))
        moments = [column for column in features if column.type == "datetime"]
        yield name, read_as(table, moments), features
    yield "estimator", *typed_table(frame_table(frame))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=examples(3), deadline=None)
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
            found = encoder.encode(rows)
            where = f"trained by {trained_by}, asked by {asked_by}"
            np.testing.assert_allclose(found, X[: len(found)], rtol=1e-6, atol=1e-9, err_msg=where)
            assert not any(unknown.any() for unknown in encoder.unknown_categories(rows).values()), where


UNDECLARED = [name for name in DTYPES if not name.startswith(("category", "Float32", "float16", "uint64"))]


@pytest.mark.parametrize("dtype", UNDECLARED)
@settings(max_examples=examples(3), deadline=None)
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
        assert encoder.encode(rows)[0, :5].tolist() == [1, 0, 0, 0, 0], name
