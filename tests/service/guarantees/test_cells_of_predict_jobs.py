"""A predict job answers an uploaded table as a request with the same bytes is answered, whatever the model declares."""

import datetime as dt
import decimal
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.cells import DTYPES, FORMS, ROWS, cells_as_texts, json_table, permuted, series, texts_of
from support.draws import examples
from support.tables import as_file

from worker.contracts.errors import FactRFMError
from worker.contracts.resources import Column, ModelColumn
from worker.tables import media, values
from worker.tables.encoding.column_code import ColumnCode
from worker.tables.encoding.encoder import Encoder
from worker.tables.files.ingest import ingest
from worker.tables.frames import frame_table
from worker.tables.rows.matching import match_columns
from worker.tables.rows.table_rows import FEW_ROWS, RowReader
from worker.tables.schema import check_predict
from worker.tables.storage import iter_tables
from worker.tables.written import categories_among

BLOCK_ROWS = 7
TENTHS = [0.1, 0.2, 0.3, -0.1, 1e-7, 16777216.0]
WORDS = ["NA", "None", "?", "", " ", "nan", "NULL", "#N/A"]
NUMBERS = [
    "1.5",
    "1.50",
    "01.5",
    "2",
    "2.0",
    "+2",
    " 2",
    "2 ",
    "-0",
    "0",
    "1e-05",
    "0.00001",
    "1E5",
    "100000",
    "NA",
    "",
]
NUMBERS += ["9007199254740993", "9007199254740992.0", "12345678901.5", "0.30000000000000004", "0.300000000000000045"]
LONG = [
    "9007199254740993",
    "+9007199254740993",
    "9007199254740992",
    "9007199254740993 ",
    "-1",
    "?",
    "18446744073709551615",
]
TRUTHS = ["true", "TRUE", "True", " true", "false", "False", "FALSE\t", "NA", "", "?"]
MOMENTS = ["2020-01-01", "2020-01-01T00:00:00", "2020-01-01 00:00", "2020-01-01 05:06:07.50", " 2020-01-01", "NA"]
UPLOADED = {
    **DTYPES,
    "words for nothing": series(texts_of(*WORDS), object),
    "numbers in many spellings": series(texts_of(*NUMBERS), object),
    "numbers and words": series(texts_of(*NUMBERS, "x", "007"), object),
    "one number in two spellings": series(texts_of("1.5", "1.50"), object),
    "long integers": series(texts_of(*LONG), object),
    "infinities": series(texts_of("inf", "Infinity", "-inf", "1e400", "1"), object),
    "truth values in many spellings": series(texts_of(*TRUTHS), object),
    "yes and no": series(texts_of("yes", "Yes", "no", "NA"), object),
    "ones and zeros": series(texts_of("1", "1.0", "0", "-0", "NA"), object),
    "moments in many spellings": series(texts_of(*MOMENTS), object),
    "numbers of JSON": permuted([9007199254740993, 1.5, 2, 2.0, None, 1e300] * 2, object),
    "Float32 of tenths": permuted([*TENTHS, None] * 2, "Float32").map(lambda found: found[:ROWS]),
    "float16 of tenths": permuted(TENTHS[:4] * 3, "float16"),
    "category of float32": permuted(TENTHS * 2, "float32").map(lambda found: found.astype("category")),
    "Decimals of many digits": permuted(
        [decimal.Decimal(text) for text in ("0.00001", "1.50", "0.1234567890123456789", "12345678901234567.25")] * 3,
        object,
    ),
    "integers of Decimal": permuted([decimal.Decimal(2**53 + 1), decimal.Decimal(3), None] * 4, object),
    "float64 that float32 rounds": permuted([0.1 + 2**-50, 0.1, float(np.float32(0.1)), None] * 3, "float64"),
    "times": permuted([dt.datetime(2020, 1, 1, 5, 6, 7, 800000), dt.datetime(2020, 1, 1), None] * 4, object),
}


def _ingested(folder, body, kind):
    (folder / "source").write_bytes(body)
    return ingest(folder / "source", kind, folder / "table.parquet", max_cells=10**6, max_bytes=10**8).columns


def _trained(folder, body, kind):
    features = [ModelColumn(name=one.name, type=one.type) for one in _ingested(folder, body, kind)]
    [table] = iter_tables(folder / "table.parquet", None, 10**6)
    return features, Encoder.fit(table, features, standardize=True, normalize_rows=False, expanded=True)


def _declared(table):
    column = table.column("c")
    column = column.cast(pa.float32()) if pa.types.is_float16(column.type) else column
    return table.set_column(0, "c", column.dictionary_encode())


def _models(folder, frame):
    """Models of other declarations than what the frame's column is taken for: name, features, encoder."""
    texts = {row[0] for row in cells_as_texts(frame)}
    texts |= set(values.typed("c", frame_table(frame).column("c").combine_chunks(), "categorical").to_pylist()) - {None}
    texts |= {form for text in texts for form in (text.strip(), values.spelling(text))}
    for name, cells in {"of few": sorted(texts)[::2], "of all": sorted(texts)}.items():
        column = pa.array([*cells, "of the model alone", None]).dictionary_encode()
        table = pa.table({"c": column, "z": np.linspace(-1, 1, len(column))})
        yield f"declared categories {name}", *_trained(folder, as_file(table), media.ARROW_FILE)
        rows = [[text, place] for place, text in enumerate([*cells, "of the model alone"])]
        body = json.dumps({"columns": ["c", "z"], "rows": rows}).encode()
        yield f"inferred categories {name}", *_trained(folder, body, media.JSON)
    if frame.c.nunique() > 1:
        yield "categories of the same type", *_trained(folder, as_file(_declared(frame_table(frame))), media.ARROW_FILE)
    features = [ModelColumn(name="c", type="categorical"), ModelColumn(name="z", type="numeric")]
    blank = ColumnCode("c", "categorical", missing=True, categories=("", " ", *sorted(texts - {"", " "})))
    yield "categories of before", features, Encoder((blank, ColumnCode("z", "numeric", False)), (), False)
    for kind, cells in {"numeric": [0.5, 1.5, 0.1, None], "boolean": [True, False, True, None]}.items():
        yield kind, *_trained(folder, as_file(pa.table({"c": cells, "z": [1.0, 2.0, 3.0, 4.0]})), media.ARROW_FILE)


def _asked(body, kind, frame, reader):
    """Return the rows of a request with the same bytes, or the nearest that a request takes."""
    if kind == media.NPZ:
        cells = cells_as_texts(frame)
        return reader.fit(
            pa.table({name: [row[place] for row in cells] for place, name in enumerate(frame)}), max_rows=1000
        )
    if kind == media.JSON:
        document = json_table(frame)
        body = json.dumps({"columns": document["columns"], "data": document["rows"]}).encode()
    return reader.read(body, kind, max_rows=1000)


def _by_request(upload, frame, features, encoder):
    try:
        rows = _asked(*upload, frame, RowReader(features))
    except FactRFMError as error:
        return error
    return encoder.encode(rows), encoder.unknown_categories(rows)


def _by_job(stored: tuple[list[Column], list[pa.Table]], features, encoder):
    columns, blocks = stored
    try:
        check_predict(features, {column.name: column for column in columns})
        tables = [match_columns(block, features) for block in blocks]
    except FactRFMError as error:
        return error
    unknown_categories = [encoder.unknown_categories(table) for table in tables]
    found = {
        name: np.concatenate(
            [one.get(name, np.zeros(len(table), bool)) for one, table in zip(unknown_categories, tables, strict=True)]
        )
        for name in {name for one in unknown_categories for name in one}
    }
    return np.concatenate([encoder.encode(table) for table in tables]), found


@pytest.mark.parametrize("dtype", UPLOADED)
@settings(max_examples=examples(4), deadline=None)
@given(data=st.data(), many=st.booleans())
def test_a_predict_job_answers_as_a_request_with_the_same_bytes(tmp_path_factory, dtype, data, many):
    column = data.draw(UPLOADED[dtype])
    # requests of few rows are answered without a table
    column = pd.concat([column] * (1 + FEW_ROWS // ROWS), ignore_index=True) if many else column
    frame = pd.DataFrame({"c": column, "z": np.linspace(-1, 1, len(column))})
    folder = tmp_path_factory.mktemp("cells")
    models = list(_models(folder, frame))
    for form, write in FORMS.items():
        body, kind = write(frame)
        columns = _ingested(folder, body, kind)
        for name, features, encoder in models:
            where = f"{form} asks a model of {name}"
            blocks = list(
                iter_tables(
                    folder / "table.parquet", [one.name for one in features], BLOCK_ROWS, categories_among(features)
                )
            )
            asked = _by_request((body, kind), frame, features, encoder)
            found = _by_job((columns, blocks), features, encoder)
            if isinstance(found, FactRFMError):
                assert isinstance(asked, FactRFMError) or features[0].type != "categorical", (where, found)
                continue
            assert not isinstance(asked, FactRFMError), (where, asked)
            np.testing.assert_array_equal(found[0], asked[0], err_msg=where)
            assert {key: rows.tolist() for key, rows in found[1].items()} == {
                key: rows.tolist() for key, rows in asked[1].items()
            }, where
