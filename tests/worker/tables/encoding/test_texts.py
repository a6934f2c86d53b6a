"""Texts become their places along a few directions of hashed n-grams, the same bits whichever way they come."""

import json

import numpy as np
import pyarrow as pa
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from worker.contracts.resources import ModelColumn
from worker.tables.column_types import read_column
from worker.tables.encoding import ngrams, texts
from worker.tables.encoding.encoder import Encoder
from worker.tables.encoding.ngrams import BUCKETS, counted
from worker.tables.encoding.texts import TextCode, cells_of
from worker.tables.rows.table_rows import RowReader

NOTES = ModelColumn(name="notes", type="text")
WORDS = [
    "kitchen",
    "bath",
    "garden",
    "street",
    "old",
    "new",
    "bright",
    "dark",
    "broken",
    "clean",
    "ÉTÉ",
    "naïve",
    "東京",
    "don't",
    "x",
    "42",
]
OPTIONS = {"standardize": True, "normalize_rows": False}


def _texts(count, seed=0):
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.integers(1, 9))) for _ in range(count)]


def _fit(cells, **options):
    table = pa.table({"notes": pa.array(cells, pa.string())})
    return Encoder.fit(table, [NOTES], **{**OPTIONS, **options}), table


def _bucket(ngram):
    value = len(ngram)
    for letter in ngram:
        value = (value ^ ord(letter)) * int(ngrams.BASE) % 2**64
    return value * int(ngrams.MIXER) % 2**64 >> 64 - ngrams.BUCKET_BITS


def _matrix(cells):
    counts = np.zeros((len(cells), BUCKETS))
    for part in counted(cells):
        counts[part.owners + part.texts.start, part.buckets] = part.counts
    return counts


@pytest.mark.parametrize("chunk", [1, 40, 10**6])
def test_the_ngrams_are_those_of_scikit_learn(monkeypatch, chunk):
    monkeypatch.setattr(ngrams, "CHUNK", chunk)
    cells = [*_texts(40), "a", "ab  c\n\td", "…", "😀 grin"]
    analyzer = CountVectorizer(analyzer="char_wb", ngram_range=(3, 5)).build_analyzer()
    expected = np.zeros((len(cells), BUCKETS))
    for row, text in enumerate(cells):
        np.add.at(expected[row], [_bucket(ngram) for ngram in analyzer(text)], 1)
    np.testing.assert_array_equal(_matrix(cells), expected)


def test_the_weights_and_directions_are_those_of_scikit_learn():
    cells = _texts(300)
    code = TextCode.fit(cells)
    tfidf = TfidfTransformer(sublinear_tf=True).fit(csr_array(_matrix(cells)))
    np.testing.assert_allclose(code.idf, tfidf.idf_, rtol=1e-6)
    A = tfidf.transform(csr_array(_matrix(cells)))
    expected = TruncatedSVD(texts.COMPONENTS, algorithm="arpack", random_state=0).fit_transform(A)
    found = code.encode(cells) * code.scale + np.array(code.mean)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=1e-3)


@pytest.mark.parametrize("count", [1, 2, 3, 30])
def test_a_block_is_centred_and_of_the_spread_of_one_column(count):
    cells = [*_texts(count), "kitchen"]
    encoder, table = _fit(cells)
    X = encoder.encode(table)
    assert X.shape[1] == min(X.shape[1], len(set(cells)), texts.COMPONENTS)
    np.testing.assert_allclose(X.mean(0), 0, atol=1e-6)
    assert X.var(0).sum() == pytest.approx(1, abs=1e-6)
    assert set(encoder.sources) == {"notes"}
    assert len(set(encoder.names)) == len(encoder.names)
    assert all(name.startswith(f"notes: {number}") for number, name in enumerate(encoder.names, 1))


def test_directions_are_called_by_words_that_lie_along_them():
    encoder, _ = _fit(["bright kitchen", "dark bath"] * 20)
    assert {*encoder.names[0].split(), *encoder.names[1].split()} >= {"bright", "kitchen", "dark", "bath"}


def test_a_text_has_the_same_bits_beside_any_others(monkeypatch):
    cells = _texts(200)
    encoder, table = _fit(cells)
    X = encoder.encode(table)
    for rows in (range(200), range(199, -1, -1), [7], [3] * 70, [9, 100, 9]):
        np.testing.assert_array_equal(encoder.encode(table.take(list(rows))), X[list(rows)])
    monkeypatch.setattr(ngrams, "CHUNK", 50)
    np.testing.assert_array_equal(encoder.encode(table), X)


def test_the_number_of_threads_does_not_matter():
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            encoder, table = _fit(_texts(400))
            found.append((encoder.to_arrays()["text_0_directions"], encoder.encode(table)))
    finally:
        torch.set_num_threads(threads)
    for directions, X in found[1:]:
        np.testing.assert_array_equal(directions, found[0][0])
        np.testing.assert_array_equal(X, found[0][1])


def test_an_encoder_is_stored_without_its_weights_in_the_json():
    encoder, table = _fit([*_texts(50), None], normalize_rows=True)
    document = json.loads(json.dumps(encoder.to_json()))
    assert len(json.dumps(document)) < 10_000
    again = Encoder.from_json(document, {"X": np.zeros(3), **encoder.to_arrays()})
    assert again.names == encoder.names
    np.testing.assert_array_equal(again.encode(table), encoder.encode(table))
    assert encoder.nbytes == sum(array.nbytes for array in encoder.to_arrays().values()) > 0


def test_a_missing_text_is_flagged_and_in_the_middle():
    encoder, table = _fit([*_texts(50), None, " ", "NA", "?"])
    X = encoder.encode(table)
    assert encoder.names[-1] == "notes:missing"
    assert X[:, -1].tolist() == [0] * 50 + [1] * 4
    assert np.abs(X[50:, :-1]).max() == 0
    unflagged, _ = _fit(_texts(50))
    assert np.abs(unflagged.encode(pa.table({"notes": pa.array([None], pa.string())}))).max() == 0


def test_words_for_nothing_are_those_of_the_caller():
    column = ModelColumn(name="notes", type="text", missing_words=("-",))
    table = pa.table({"notes": ["None", "-", "", "bright", "None at all"]})
    encoder = Encoder.fit(table, [column], **OPTIONS)
    assert encoder.encode(table)[:, -1].tolist() == [0, 1, 1, 0, 0]


def test_a_column_of_one_text_tells_only_whether_it_is_there():
    table = pa.table({"notes": ["a b"] * 5, "n": np.arange(5.0)})
    columns = [NOTES, ModelColumn(name="n", type="numeric")]
    assert Encoder.fit(table, columns, **OPTIONS).dropped == ("notes",)
    encoder, table = _fit(["a b", "a b", None])
    assert encoder.names == ["notes:missing"]
    again = Encoder.from_json(encoder.to_json(), encoder.to_arrays())
    assert again.encode(table).tolist() == [[0], [0], [1]]


def test_weights_count_as_copies():
    cells, copies = _texts(60), np.arange(60) % 3 + 1
    table = pa.table({"notes": cells})
    weighted = Encoder.fit(table, [NOTES], **OPTIONS, weights=copies.astype(float))
    repeated, _ = _fit([cell for cell, count in zip(cells, copies, strict=True) for _ in range(count)])
    np.testing.assert_allclose(weighted.encode(table), repeated.encode(table), atol=1e-5)


def test_only_the_beginning_of_a_long_text_counts():
    encoder, _ = _fit(_texts(50))
    start = "bright kitchen " * 200
    long = pa.table({"notes": [start, start + "dark bath " * 10_000]})
    X = encoder.encode(long)
    np.testing.assert_array_equal(X[0], X[1])


def test_many_rows_are_learned_from_a_sample_of_them(monkeypatch):
    monkeypatch.setattr(texts, "LEARNED_ROWS", 50)
    cells = _texts(200)
    encoder, table = _fit(cells)
    assert np.isfinite(encoder.encode(table)).all()
    again, _ = _fit(cells)
    np.testing.assert_array_equal(again.encode(table), encoder.encode(table))


def test_cells_of_any_kind_are_their_text():
    assert cells_of(["1.50", " 7 ", "TRUE", "2024-01-02T00:00:00", "007", None, "N/A"], None) == [
        *("1.5", "7", "true", "2024-01-02", "007"),
        *(None, None),
    ]


CELLS = [12.0, 12, True, "bright kitchen", "  dark\nbath ", "1.50", None, "NA", "2024-01-02"]


@pytest.mark.parametrize("kind", ["json", "records", "csv", "arrow"])
@pytest.mark.parametrize("alone", [False, True])
def test_a_cell_has_the_same_bits_in_every_format(kind, alone):
    encoder, _ = _fit([*_texts(40), "12", "true", "1.5", "2024-01-02", None])
    written = ["12", "12", "true", "bright kitchen", "  dark\nbath ", "1.5", None, "NA", "2024-01-02"]
    expected = encoder.encode(pa.table({"notes": pa.array(written, pa.string())}))
    reader = RowReader([NOTES])
    groups = [[index] for index in range(len(CELLS))] if alone else [list(range(len(CELLS)))]
    for group in groups:
        rows = reader.read(*_body([CELLS[index] for index in group], kind), max_rows=100)
        np.testing.assert_array_equal(encoder.encode(rows), expected[group])
        table = reader.table(rows)
        np.testing.assert_array_equal(encoder.encode(table), expected[group])


def _body(cells, kind):
    if kind == "json":
        return json.dumps({"columns": ["notes"], "data": [[cell] for cell in cells]}).encode(), "application/json"
    if kind == "records":
        return json.dumps([{"notes": cell} for cell in cells]).encode(), "application/json"
    if kind == "csv":
        lines = ['"' + ("" if cell is None else str(cell)) + '",1' for cell in cells]
        return "\n".join(["notes,n", *lines]).encode() + b"\n", "text/csv"
    same = len({type(cell) for cell in cells}) == 1
    array = pa.array(cells if same else [None if cell is None else str(cell) for cell in cells])
    sink = pa.BufferOutputStream()
    table = pa.table({"notes": array})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes(), "application/vnd.apache.arrow.stream"


@pytest.mark.parametrize(
    "stored",
    [
        pa.array([1.0, 2.5, None, 1.0]),
        pa.array([True, False, None, True]),
        pa.array(["1", "2.5", None, "1"]).dictionary_encode(),
        pa.array(["None", "b", "NA", "None"]),
    ],
    ids=["numbers", "booleans", "categories", "texts"],
)
def test_stored_cells_are_read_as_those_to_predict(stored):
    read = read_column(pa.chunked_array([stored]), NOTES)
    assert read.type == pa.string()
    encoder = Encoder.fit(pa.table({"notes": read}), [NOTES], **OPTIONS)
    body = json.dumps({"columns": ["notes"], "data": [[cell] for cell in stored.to_pylist()]}).encode()
    rows = RowReader([NOTES]).read(body, "application/json", max_rows=10)
    np.testing.assert_array_equal(encoder.encode(rows), encoder.encode(pa.table({"notes": read})))


def test_cells_of_signs_that_are_nearly_blank_are_read():
    cells = ["\x1f", "\u200b", " \x85 ", "\u3000", "a b", "c d", " " * 3000 + "a b"]
    encoder, table = _fit(cells)
    X = encoder.encode(table)
    assert np.isfinite(X).all()
    np.testing.assert_array_equal(X[4], X[6])
