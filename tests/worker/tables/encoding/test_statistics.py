import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import TargetEncoder

from worker.contracts.errors import TooWide
from worker.contracts.resources import ModelColumn
from worker.tables import media
from worker.tables.encoding import encoder as encoders
from worker.tables.encoding.categories import GAP
from worker.tables.encoding.encoder import Encoder
from worker.tables.encoding.statistics import FOLDS, MANY, TrainingTargets, level_means, out_of_fold_means
from worker.tables.rows.plain import PlainRows
from worker.tables.rows.table_rows import RowReader

FEATURES = [ModelColumn(name="size", type="numeric"), ModelColumn(name="shop", type="categorical")]


def _table(shops, seed=0):
    generator = np.random.default_rng(seed)
    texts = [None if shop is None else str(shop) for shop in shops]
    return pa.table({"size": generator.normal(size=len(texts)), "shop": pa.array(texts, pa.string())})


def _drawn(n=300, shops=40, seed=0):
    generator = np.random.default_rng(seed)
    codes = generator.integers(0, shops, n)
    return [f"s{code:03}" for code in codes], generator.normal(size=shops)[codes] + generator.normal(size=n)


def _fitted(table, y, classes=None, seed=0, normalize_rows=False):
    targets = TrainingTargets.of(y, classes, seed)
    encoder = Encoder.fit(
        table, FEATURES, standardize=True, normalize_rows=normalize_rows, expanded=True, targets=targets
    )
    return encoder, targets


def _means(encoder, X):
    return X[:, [index for index, name in enumerate(encoder.names) if ": target mean" in name]]


def test_a_column_of_many_categories_has_its_mean_target_beside_their_places():
    shops, y = _drawn()
    table = _table([None, *shops[1:]])
    encoder, targets = _fitted(table, y)
    without = Encoder.fit(table, FEATURES, standardize=True, normalize_rows=False, expanded=True)
    assert encoder.names == [*without.names, "shop: target mean"]
    assert encoder.sources[-1] == "shop"
    training, later = encoder.encode_training(table, targets), encoder.encode(table)
    for X in (training, later):
        np.testing.assert_array_equal(X[:, :-1], without.encode(table))
    assert training[:, -1].mean() == pytest.approx(0)
    assert training[:, -1].std() == pytest.approx(1)
    assert (training[:, -1] != later[:, -1]).any()


@pytest.mark.parametrize("shops", [MANY, MANY + 1])
def test_a_column_of_few_categories_has_none(shops):
    table = _table([f"s{number % shops}" for number in range(120)])
    encoder, _ = _fitted(table, np.arange(120.0))
    assert ("shop: target mean" in encoder.names) == (shops > MANY) == encoder.has_many_categories


@pytest.mark.parametrize(
    ("classes", "names"),
    [(["no", "yes"], ["shop: target mean of yes"]), ([1, 2, 3], [f"shop: target mean of {n}" for n in (1, 2, 3)])],
)
def test_classes_have_a_mean_each_and_two_classes_one(classes, names):
    shops, y = _drawn()
    encoder, _ = _fitted(_table(shops), np.digitize(y, [-1, 1][: len(classes) - 1]), classes)
    assert encoder.names[-len(names) :] == names


def test_outputs_have_a_mean_each_whatever_their_units():
    shops, y = _drawn()
    table = _table(shops)
    for unit in (1.0, 1e200, 1e-200):
        encoder, targets = _fitted(table, np.column_stack([y, -y * unit]))
        assert encoder.names[-2:] == ["shop: target mean 1", "shop: target mean 2"]
        means = _means(encoder, encoder.encode_training(table, targets))
        np.testing.assert_allclose(means[:, 0], -means[:, 1], atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 20.0]), st.integers(2, 60))
def test_means_are_those_of_scikit_learn_on_the_same_folds(seed, smooth, shops):
    names, y = _drawn(200, shops, seed)
    targets = TrainingTargets.of(y, None, seed)
    _, places = np.unique(names, return_inverse=True)
    split = PredefinedSplit(targets.folds)
    peer = TargetEncoder(smooth=smooth, target_type="continuous", cv=FOLDS)
    expected = np.empty(len(y))
    Y = targets.Y[:, 0]
    for others, held in split.split():
        expected[held] = peer.fit(places[others, None], Y[others]).transform(places[held, None])[:, 0]
    found = out_of_fold_means(places, shops, targets, smooth)
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-9)
    whole, _ = level_means(places, shops, targets.Y, smooth=smooth)
    np.testing.assert_allclose(
        whole[places, 0], peer.fit(places[:, None], Y).transform(places[:, None])[:, 0], atol=1e-9
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["unique", "pairs", "few", "gaps"]))
def test_a_training_row_is_never_encoded_by_its_own_target(seed, kind):
    n = 200
    generator = np.random.default_rng(seed)
    names = {
        "unique": np.arange(n),
        "pairs": np.arange(n) // 2,
        "few": generator.integers(0, 30, n),
        "gaps": np.where(generator.random(n) < 0.5, GAP, np.arange(n)),
    }[kind]
    y = generator.normal(size=n)
    row = int(generator.integers(n))
    changed = y.copy()
    changed[row] += 100
    targets = [
        TrainingTargets(values[:, None], TrainingTargets.of(y, None, seed).folds, ("",)) for values in (y, changed)
    ]
    one, other = (out_of_fold_means(names, n, each)[:, 0] for each in targets)
    same_fold = targets[0].folds == targets[0].folds[row]
    np.testing.assert_array_equal(one[same_fold], other[same_fold])
    assert kind in ("unique", "pairs") or (one != other).any()


@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("classes", [None, ["no", "yes"]])
def test_a_column_that_names_rows_tells_nothing_of_their_targets(copies, classes):
    n = 1200
    generator = np.random.default_rng(3)
    y = generator.normal(size=n) if classes is None else generator.integers(0, 2, n)
    table = _table([f"r{number // copies}" for number in range(n)])
    encoder, targets = _fitted(table, y, classes)
    if copies == 1:
        # every category is rare, and a column of one place is constant
        assert encoder.sources.count("shop") == 0
        places = np.arange(n)
        found = out_of_fold_means(places, n, targets)[:, 0]
    else:
        found = _means(encoder, encoder.encode_training(table, targets))[:, 0]
    assert found.std() < 1e-12 or abs(np.corrcoef(found, y)[0, 1]) < 0.15
    # what scikit-learn warns of: without folds a category of one row is the target itself
    assert copies > 1 or np.abs(level_means(places, n, targets.Y, smooth=0.0)[0] - targets.Y).max() < 1e-12


def test_means_of_chance_are_drawn_together_and_not_stretched():
    generator = np.random.default_rng(0)
    shops = [f"s{code}" for code in generator.integers(0, 60, 1500)]
    y = generator.normal(size=1500)
    chance, targets = _fitted(_table(shops), y)
    assert _means(chance, chance.encode_training(_table(shops), targets)).std() < 0.6
    real, targets = _fitted(*(_table(_drawn(1500, 60)[0]), _drawn(1500, 60)[1]))
    assert _means(real, real.encode(_table(_drawn(1500, 60)[0]))).std() == pytest.approx(1, abs=0.1)


def test_later_rows_are_encoded_alike_in_any_batch_and_by_the_stored_encoder():
    shops, y = _drawn()
    table = _table([None, None, None, *shops[3:-1], "once"])
    encoder, _ = _fitted(table, y, normalize_rows=True)
    rows = _table([None, "never seen", "once", *shops[:50]], seed=1)
    whole = encoder.encode(rows)
    stored = Encoder.from_json(json.loads(json.dumps(encoder.to_json())))
    assert stored == encoder
    np.testing.assert_array_equal(stored.encode(rows), whole)
    single = np.vstack([encoder.encode(rows.slice(row, 1)) for row in range(rows.num_rows)])
    np.testing.assert_array_equal(single, whole)
    cells = {"columns": rows.column_names, "data": [list(row.values()) for row in rows.to_pylist()]}
    plain = RowReader(FEATURES).read(json.dumps(cells).encode(), media.JSON, max_rows=100)
    assert isinstance(plain, PlainRows)
    np.testing.assert_array_equal(encoder.encode(plain), whole)
    assert {name: rows.tolist() for name, rows in encoder.unknown_categories(rows.slice(0, 3)).items()} == {
        "shop": [False, True, False]
    }


def test_unknown_categories_have_the_mean_of_all_and_missing_ones_their_own():
    shops, _ = _drawn()
    table = _table([None] * 100 + shops[100:])
    y = np.array([5.0] * 100 + [0.0] * 200) + np.random.default_rng(0).normal(size=300) / 10
    encoder, _ = _fitted(table, y)
    means = _means(encoder, encoder.encode(_table([None, "never seen", shops[200]])))[:, 0]
    [code] = [code for code in encoder.codes if code.statistics is not None]
    raw = means * code.statistics.scale + code.statistics.shift[0]
    standardised = (y - y.mean()) / y.std()
    np.testing.assert_allclose(raw, [standardised[:100].mean(), 0, standardised[100:].mean()], atol=0.05)


def test_the_same_seed_and_rows_give_the_same_values():
    shops, y = _drawn()
    table = _table(shops)
    (one, of_one), (other, of_other), (third, of_third) = (_fitted(table, y, seed=seed) for seed in (4, 4, 5))
    first = one.encode_training(table, of_one)
    np.testing.assert_array_equal(other.encode_training(table, of_other), first)
    assert (third.encode_training(table, of_third) != first).any()


def test_whole_weights_count_as_copies_in_the_same_fold():
    shops, y = _drawn()
    weights = np.random.default_rng(1).integers(1, 4, len(y))
    places = np.unique(shops, return_inverse=True)[1]
    weighted = TrainingTargets.of(y, None, 0, weights.astype(float))
    copied = TrainingTargets(np.repeat(weighted.Y, weights, axis=0), np.repeat(weighted.folds, weights), ("",))
    np.testing.assert_allclose(
        np.repeat(out_of_fold_means(places, 40, weighted), weights, axis=0),
        out_of_fold_means(np.repeat(places, weights), 40, copied),
        atol=1e-9,
    )


def test_a_model_without_statistics_is_stored_as_before():
    shops, _ = _drawn()
    encoder = Encoder.fit(_table(shops), FEATURES, standardize=True, normalize_rows=False, expanded=True)
    assert all("statistics" not in code for code in encoder.to_json()["codes"])


def test_more_means_than_a_header_holds_are_refused(monkeypatch):
    shops, y = _drawn()
    monkeypatch.setattr(encoders, "MAX_MEANS", 40)
    _fitted(_table(shops), y)
    monkeypatch.setattr(encoders, "MAX_MEANS", 39)
    with pytest.raises(TooWide, match="makes 40 mean targets of categories and at most 39"):
        _fitted(_table(shops), y)
