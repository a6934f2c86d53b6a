import json
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.draws import examples

from worker.contracts.errors import InvalidRequest
from worker.contracts.resources import ModelColumn
from worker.tables.encoding.categories import Categories
from worker.tables.encoding.column_code import VIEWS, Expansion, learn
from worker.tables.encoding.encoder import Encoder, check_finite

FEATURES = [
    ModelColumn(name="size", type="numeric"),
    ModelColumn(name="city", type="categorical"),
    ModelColumn(name="new", type="boolean"),
]
TRAINING = pa.table(
    {
        "size": [1.0, 2.0, None, 6.0],
        "city": ["Rome", "Oslo", "Rome", None],
        "new": [True, False, True, True],
    }
)


def _fit(table=TRAINING, features=FEATURES, standardize=True, normalize_rows=False):
    return Encoder.fit(table, features, standardize=standardize, normalize_rows=normalize_rows)


def _column(encoder, X, name):
    return X[:, encoder.names.index(name)]


def test_every_encoded_column_is_named_and_traced_to_its_source():
    encoder = _fit()
    assert encoder.names == [
        "size",
        "size:missing",
        "city=Oslo",
        "city=Rome",
        "city:other",
        "city:missing",
        "new",
    ]
    assert encoder.sources == ["size", "size", "city", "city", "city", "city", "new"]
    assert encoder.encode(TRAINING).shape == (4, 7)


def test_numbers_are_standardised_and_missing_ones_are_the_mean():
    encoder = _fit()
    X = encoder.encode(TRAINING)
    known = np.array([1.0, 2.0, 6.0])
    np.testing.assert_allclose(_column(encoder, X, "size")[[0, 1, 3]], (known - known.mean()) / known.std())
    assert _column(encoder, X, "size")[2] == 0
    assert _column(encoder, X, "size:missing").tolist() == [0, 0, 1, 0]


def test_without_standardisation_numbers_stay_as_they_are():
    encoder = _fit(standardize=False)
    assert _column(encoder, encoder.encode(TRAINING), "size").tolist() == [1, 2, 3, 6]
    assert _column(encoder, encoder.encode(TRAINING), "new").tolist() == [1, 0, 1, 1]


def test_texts_become_one_column_a_category():
    encoder = _fit()
    X = encoder.encode(TRAINING)
    assert _column(encoder, X, "city=Rome").tolist() == [1, 0, 1, 0]
    assert _column(encoder, X, "city=Oslo").tolist() == [0, 1, 0, 0]
    assert _column(encoder, X, "city:missing").tolist() == [0, 0, 0, 1]
    assert _column(encoder, X, "city:other").tolist() == [0, 0, 0, 0]


def test_a_category_that_training_never_saw_is_other():
    encoder = _fit()
    X = encoder.encode(pa.table({"size": [1.0], "city": ["Lima"], "new": [True]}))
    assert [_column(encoder, X, f"city{end}")[0] for end in ("=Oslo", "=Rome", ":other", ":missing")] == [0, 0, 1, 0]


@pytest.mark.parametrize(
    ("categories", "text", "place"),
    [
        (["false", "true"], "1", 1),
        (["false", "true"], "0", 0),
        (["False", "True"], "1.0", 1),
        (["true"], "0", -1),
        (["false", "true"], "2", -1),
        (["0", "true", "false"], "1", -1),
        (["false", "true", "unknown"], "1", -1),
        (["0.1", "0.2"], repr(float(np.float32(0.1))), 0),
        (["-1.5e-07"], repr(float(np.float32(-1.5e-7))), 0),
        (["0.1", repr(float(np.float32(0.1)))], repr(float(np.float32(0.1))), 1),
        (["16777217"], "16777216", -1),
        (["0.30000000000000004"], repr(float(np.float32(0.3))), -1),
        (["1e300"], "inf", -1),
    ],
)
def test_a_category_may_come_in_another_type(categories, text, place):
    assert Categories(categories).place(text) == place


def test_a_missing_text_where_training_had_none_counts_as_other():
    encoder = _fit(TRAINING.slice(0, 3))
    X = encoder.encode(pa.table({"size": [1.0], "city": pa.array([None], pa.string()), "new": [True]}))
    assert "city:missing" not in encoder.names
    assert _column(encoder, X, "city:other").tolist() == [1]


def test_a_missing_number_where_training_had_none_is_the_mean():
    encoder = _fit(TRAINING.slice(0, 2))
    X = encoder.encode(pa.table({"size": pa.array([None, 1.5]), "city": ["Rome", "Rome"], "new": [True, None]}))
    assert "size:missing" not in encoder.names
    assert np.array_equal(X[0, :1], X[1, :1])
    assert _column(encoder, X, "new")[1] == 0


def test_only_training_rows_teach():
    other = pa.table({"size": [1e6, -1e6], "city": ["Lima", "Bonn"], "new": [False, False]})
    encoder = _fit()
    before = encoder.encode(TRAINING)
    encoder.encode(other)
    assert encoder == _fit()
    assert np.array_equal(encoder.encode(pa.concat_tables([TRAINING, other]))[:4], before)


def test_columns_are_found_by_name_and_strangers_ignored():
    encoder = _fit()
    shuffled = TRAINING.select(["new", "size", "city"]).append_column("more", [["x"] * 4])
    assert np.array_equal(encoder.encode(shuffled), encoder.encode(TRAINING))


def test_chunks_of_a_table_do_not_matter():
    pieces = pa.concat_tables([TRAINING.slice(row, 1) for row in range(4)])
    assert _fit(pieces) == _fit()
    assert np.array_equal(_fit().encode(pieces), _fit().encode(TRAINING))


def test_constant_and_empty_columns_are_dropped():
    table = TRAINING.append_column("same", [[7.0] * 4]).append_column("none", pa.nulls(4, pa.float64()))
    table = table.append_column("word", [["w"] * 4])
    extra = [ModelColumn(name=name, type="numeric") for name in ("same", "none")]
    encoder = _fit(table, [*FEATURES, *extra, ModelColumn(name="word", type="categorical")])
    assert encoder.dropped == ("same", "none", "word")
    assert encoder.names == _fit().names


def test_a_column_whose_gaps_alone_differ_is_kept_for_them():
    table = pa.table({"a": [5.0, None, 5.0], "b": ["x", None, "x"]})
    features = [ModelColumn(name="a", type="numeric"), ModelColumn(name="b", type="categorical")]
    encoder = _fit(table, features)
    X = encoder.encode(table)
    assert _column(encoder, X, "a:missing").tolist() == _column(encoder, X, "b:missing").tolist() == [0, 1, 0]
    assert _column(encoder, X, "a").tolist() == [0, 0, 0]


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(InvalidRequest, match="constant or empty"):
        _fit(pa.table({"a": [1.0, 1.0]}), [ModelColumn(name="a", type="numeric")])


def test_normalised_rows_have_length_one_and_empty_rows_stay():
    table = pa.table({"a": [3.0, 0.0, 1.0], "b": [4.0, 0.0, 0.0]})
    features = [ModelColumn(name=name, type="numeric") for name in "ab"]
    X = _fit(table, features, standardize=False, normalize_rows=True).encode(table)
    np.testing.assert_allclose(X, [[0.6, 0.8], [0, 0], [1, 0]])


@settings(max_examples=examples(50))
@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.floats(-1e12, 1e12, allow_subnormal=False),
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            st.none() | st.booleans(),
        ),
        min_size=2,
        max_size=10,
    ),
    normalize=st.booleans(),
)
def test_an_encoder_written_as_json_encodes_the_same_to_the_last_bit(rows, normalize):
    size, city, new = zip(*rows, strict=True)
    table = pa.table({"size": pa.array(size, pa.float64()), "city": pa.array(city, pa.string())})
    table = table.append_column("new", pa.array(new, pa.bool_()))
    try:
        encoder = _fit(table, normalize_rows=normalize)
    except InvalidRequest:
        return
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    X = encoder.encode(table)
    assert np.array_equal(again.encode(table), X)
    assert np.isfinite(X).all()
    assert X.shape[1] == len(encoder.names) == len(encoder.sources)


@pytest.mark.parametrize("expanded", [False, True])
def test_columns_encoded_at_once_are_what_each_is_by_itself_to_the_last_bit(expanded):
    rng = np.random.default_rng(0)
    numbers = {f"x{k}": rng.normal(3.0, 10.0**k, 200) for k in range(-3, 6)}
    kinds = {"city": rng.choice(["a", "b", "c"], 200).tolist(), "new": rng.random(200) < 0.3}
    gaps = {"gap": [None if k % 7 == 0 else float(k) for k in range(200)]}
    table = pa.table({**numbers, **kinds, **gaps})
    features = [ModelColumn(name=name, type="numeric") for name in (*numbers, *gaps)]
    features += [ModelColumn(name="city", type="categorical"), ModelColumn(name="new", type="boolean")]
    encoder = Encoder.fit(table, features, standardize=True, normalize_rows=False, expanded=expanded)
    for rows in (table, table.slice(7, 1)):
        alone = np.hstack([Encoder((code,), (), normalize_rows=False).encode(rows) for code in encoder.codes])
        assert encoder.encode(rows).tobytes() == alone.tobytes()


def test_an_encoder_of_another_format_is_refused():
    with pytest.raises(ValueError, match="format version 99"):
        Encoder.from_json({**_fit().to_json(), "format_version": 99})


@pytest.mark.parametrize("values", [[1e300, -1e300, 1e300], [1.0, 1.0 + 2**-52, 1.0], [5e-324, 0.0, 0.0]])
def test_extreme_numbers_are_encoded_as_finite_ones(values):
    table = pa.table({"a": values})
    X = _fit(table, [ModelColumn(name="a", type="numeric")]).encode(table)
    assert np.isfinite(X).all()
    assert not math.isclose(X[0, 0], X[1, 0])


def _expanded(values, **options):
    table = pa.table({"a": pa.array(values, pa.float64())})
    options = {"standardize": True, "normalize_rows": False, "expanded": True, **options}
    return Encoder.fit(table, [ModelColumn(name="a", type="numeric")], **options), table


def test_an_expanded_column_has_its_rank_and_its_bins_beside_it():
    values = np.random.default_rng(0).exponential(size=400)
    encoder, table = _expanded(values)
    assert encoder.names == ["a", "a:rank", *(f"a:bin{number}" for number in range(1, 9))]
    assert encoder.sources == ["a"] * 10
    X = encoder.encode(table)
    # three views, each of a third of the weight of a standardised column, the bins together
    np.testing.assert_allclose(X.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose([X[:, 0].var(), X[:, 1].var(), X[:, 2:].var(0).sum()], 1 / 3)
    order = np.argsort(values)
    assert (np.diff(X[order], axis=0) >= -1e-12).all(), "every view grows with the value"


def test_the_rank_is_the_normal_score_whatever_the_scale():
    normal = np.random.default_rng(1).normal(size=1000)
    for values in (normal, np.exp(3 * normal)):
        encoder, table = _expanded(values)
        rank = _column(encoder, encoder.encode(table), "a:rank")
        assert np.corrcoef(rank, normal)[0, 1] > 0.999


def test_bins_are_shares_of_quantile_bins_below_the_value():
    encoder, _ = _expanded(np.arange(81.0))
    [code] = encoder.codes
    np.testing.assert_allclose(code.expansion.edges, np.arange(0, 81, 10))
    means = code.expansion.bins[2]
    binned = encoder.encode(pa.table({"a": [-5.0, 25.0, 200.0]}))[:, 2:] * np.sqrt(VIEWS)
    raw = binned * code.expansion.bin_scale + means
    np.testing.assert_allclose(raw, [[0] * 8, [1, 1, 0.5, 0, 0, 0, 0, 0], [1] * 8], atol=1e-12)


def test_values_beyond_the_training_rows_stay_at_the_ends_of_rank_and_bins():
    encoder, _ = _expanded(np.arange(50.0))
    X = encoder.encode(pa.table({"a": [49.0, 1e6, 0.0, -1e6]}))
    np.testing.assert_array_equal(X[0, 1:], X[1, 1:])
    np.testing.assert_array_equal(X[2, 1:], X[3, 1:])


def test_a_missing_value_is_nought_in_every_view():
    encoder, table = _expanded([1.0, 2.0, None, 7.0, 9.0])
    X = encoder.encode(table)
    assert encoder.names[-1] == "a:missing"
    assert X[2].tolist() == [0.0] * (X.shape[1] - 1) + [1.0]


def test_a_column_of_two_values_is_not_expanded():
    encoder, _ = _expanded([0.0, 1.0, 1.0, 0.0])
    assert encoder.names == ["a"]


def test_many_columns_have_fewer_bins_each():
    values = np.random.default_rng(0).normal(size=(60, 100))
    names = [f"c{index}" for index in range(100)]
    table = pa.table({name: values[:, index] for index, name in enumerate(names)})
    features = [ModelColumn(name=name, type="numeric") for name in names]
    encoder = Encoder.fit(table, features, standardize=True, normalize_rows=False, expanded=True)
    assert len(encoder.names) == 100 * (1 + 1 + 2)


EXTREMES = [0.0, 5e-324, -5e-324, 1e-310, 2e-308, 1e-290, 1.0, 1e300, 1.7e308, -1.7e308]


@settings(max_examples=examples(200))
@given(
    values=st.lists(
        st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(EXTREMES),
        min_size=3,
        max_size=30,
    ),
    asked=st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=5),
)
def test_an_expanded_encoder_stays_finite_and_comes_back_from_json(values, asked):
    try:
        encoder, table = _expanded(values)
    except InvalidRequest:
        return
    again = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert again == encoder
    X = encoder.encode(table)
    assert np.array_equal(again.encode(table), X)
    assert np.isfinite(encoder.encode(pa.table({"a": asked}))[:, 1:]).all()
    if not np.isfinite(X).all():
        with pytest.raises(InvalidRequest, match="'a' holds numbers whose spread is beyond all numbers"):
            check_finite(encoder, X)
        assert max(abs(value) for value in values if value is not None) > 1e307


@pytest.mark.parametrize("away", [lambda number: float(np.float32(number)), lambda number: np.nextafter(number, 9.0)])
def test_a_number_one_rounding_away_from_a_repeated_one_is_encoded_like_it(away):
    cells = [0.1] * 5 + [0.57] * 4 + [2.25, 3.0, 0.0]
    feature = [ModelColumn(name="a", type="numeric")]
    encoder = Encoder.fit(pa.table({"a": cells}), feature, standardize=True, normalize_rows=False, expanded=True)
    asked = encoder.encode(pa.table({"a": [away(cell) for cell in cells]}))
    np.testing.assert_allclose(asked, encoder.encode(pa.table({"a": cells})), atol=1e-6)


@pytest.mark.parametrize("rows", [48, 69, 83])
@pytest.mark.parametrize("weighted", [True, False])
def test_repeated_numbers_of_few_rows_are_encoded_like_those_one_rounding_away(rows, weighted):
    rng = np.random.default_rng(rows)
    values, weights = rng.normal(size=rows), rng.integers(1, 3, rows)
    expansion = Expansion.fit(values, 8, weights) if weighted else Expansion.fit(np.repeat(values, weights), 8)
    single = values.astype(np.float32).astype(float)
    np.testing.assert_allclose(expansion.middles(single), expansion.middles(values), atol=1e-3)


def test_numbers_that_float32_cannot_tell_apart_stay_apart():
    cells = [1.7e9, 1.7e9, 1.7e9 + 1, 1.7e9 + 1, 1.7e9 + 2, 1.7e9 + 3]
    expansion = Expansion.fit(np.array(cells), 2)
    assert np.diff(expansion.middles(np.unique(cells))).min() > 0


def _many(counts, *, gaps=0):
    """Return a column in which the k-th category has counts[k] rows."""
    texts = [f"c{k:03}" for k, count in enumerate(counts) for _ in range(count)] + [None] * gaps
    return pa.table({"city": pa.array(texts, pa.string())})


CITY = [ModelColumn(name="city", type="categorical")]


def test_rare_categories_of_a_column_of_many_share_one_place():
    encoder = _fit(_many([5] * 40 + [1] * 30), CITY)
    assert encoder.names == [*(f"city=c{k:03}" for k in range(40)), "city:other"]
    X = encoder.encode(pa.table({"city": ["c000", "c069", "Lima"]}))
    assert [_column(encoder, X, "city=c000").tolist(), _column(encoder, X, "city:other").tolist()] == [
        [1, 0, 0],
        [0, 1, 1],
    ]


def test_only_what_no_training_row_had_is_unknown():
    encoder = Encoder.from_json(json.loads(json.dumps(_fit(_many([5] * 40 + [1] * 30), CITY).to_json())))
    unknown = encoder.unknown_categories(pa.table({"city": ["c000", "c069", " c069 ", "Lima", None]}))
    assert unknown["city"].tolist() == [False, False, False, True, False]


def test_few_categories_have_a_place_each_however_rare():
    assert len(_fit(_many([1] * 40), CITY).names) == 41


def test_the_most_frequent_of_very_many_categories_have_a_place():
    encoder = _fit(_many([2] * 300 + [3] * 512), CITY)
    assert encoder.names == [*(f"city=c{k:03}" for k in range(300, 812)), "city:other"]


@pytest.mark.parametrize("gaps", [0, 3])
def test_a_column_of_another_text_in_each_row_tells_no_rows_apart_but_by_its_gaps(gaps):
    table = _many([1] * 60, gaps=gaps).append_column("size", pa.array(np.arange(60.0 + gaps)))
    encoder = _fit(table, [*CITY, FEATURES[0]])
    assert encoder.names == (["city:other", "city:missing", "size"] if gaps else ["size"])
    assert encoder.dropped == (() if gaps else ("city",))


def test_a_row_of_weight_two_counts_as_two_rows_of_its_category():
    column = pa.chunked_array([[f"c{k}" for k in range(60)]])
    weights = np.where(np.arange(60) < 7, 2.0, 1.0)
    code = learn(column, CITY[0], True, None, weights)
    assert code is not None
    assert code.categories == tuple(f"c{k}" for k in range(7))


@pytest.mark.parametrize("unit", [0.5, 1e-3 / 3, 1e6 / 7])
def test_the_unit_of_weights_does_not_matter_to_categories_and_words(unit):
    rows, rng = 2 * 60, np.random.default_rng(0)
    notes = [" ".join(rng.choice(["kitchen", "bath", "garden", "old", "new", "dark"], 3)) for _ in range(rows)]
    table = pa.table({"city": [f"c{k % 60}" for k in range(rows)], "notes": notes})
    features = [*CITY, ModelColumn(name="notes", type="text")]
    options = {"standardize": True, "normalize_rows": False}
    plain = Encoder.fit(table, features, **options)
    weighted = Encoder.fit(table, features, **options, weights=np.full(rows, unit))
    assert weighted.names == plain.names
    np.testing.assert_allclose(weighted.encode(table), plain.encode(table), atol=1e-4)
