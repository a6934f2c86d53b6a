import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.draws import examples

from worker.tables.encoding.splits import folds, group_folds, group_holdout, holdout, latest

CODES = st.lists(st.integers(0, 4), min_size=2, max_size=60).map(np.array)


@settings(max_examples=examples(100))
@given(codes=CODES, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000), stratified=st.booleans())
def test_every_row_trains_or_validates_and_neither_is_empty(codes, fraction, seed, stratified):
    train, held_out = holdout(len(codes), fraction, seed, codes if stratified else None)
    assert sorted([*train, *held_out]) == list(range(len(codes)))
    assert len(train) >= 1
    assert len(held_out) >= 1
    assert (np.diff(train) > 0).all()
    assert (np.diff(held_out) > 0).all()


@settings(max_examples=examples(100))
@given(codes=CODES, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_every_class_trains_where_any_has_two_members(codes, fraction, seed):
    train, _ = holdout(len(codes), fraction, seed, codes)
    if np.unique(codes, return_counts=True)[1].max() > 1:
        assert set(codes[train]) == set(codes)


@pytest.mark.parametrize("seed", range(10))
def test_a_class_with_one_member_trains(seed):
    codes = np.array([0] * 50 + [1] + [2] * 49)
    train, _ = holdout(100, 0.5, seed, codes)
    assert 50 in train


def test_classes_validate_in_their_shares():
    codes = np.repeat([0, 1, 2], [600, 300, 100])
    _, held_out = holdout(1000, 0.2, 3, codes)
    assert len(held_out) == 200
    np.testing.assert_allclose(np.bincount(codes[held_out]), [120, 60, 20], atol=1)


@settings(max_examples=examples(100))
@given(codes=CODES, k=st.integers(2, 20), seed=st.integers(0, 1000), stratified=st.booleans())
def test_every_row_validates_in_exactly_one_fold(codes, k, seed, stratified):
    parts = folds(len(codes), k, seed, codes if stratified else None)
    assert sorted(row for _, held_out in parts for row in held_out) == list(range(len(codes)))
    for train, held_out in parts:
        assert sorted([*train, *held_out]) == list(range(len(codes)))
    sizes = [len(held_out) for _, held_out in parts]
    assert max(sizes) - min(sizes) <= 1


def test_classes_are_spread_over_the_folds():
    codes = np.repeat([0, 1], [90, 30])
    for _, held_out in folds(120, 5, 0, codes):
        np.testing.assert_allclose(np.bincount(codes[held_out]), [18, 6], atol=1)


@pytest.mark.parametrize("codes", [None, np.arange(200) % 3])
def test_the_same_seed_splits_the_same_and_another_otherwise(codes):
    first, again, other = (holdout(200, 0.3, seed, codes)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    first, again, other = (folds(200, 4, seed, codes)[0][1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


SEVERAL = CODES.filter(lambda codes: len(np.unique(codes)) > 1)


@settings(max_examples=examples(100))
@given(groups=SEVERAL, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 1000))
def test_no_group_is_on_both_sides_of_a_holdout(groups, fraction, seed):
    train, held_out = group_holdout(groups, fraction, seed)
    assert sorted([*train, *held_out]) == list(range(len(groups)))
    assert len(train) >= 1
    assert len(held_out) >= 1
    assert not set(groups[train]) & set(groups[held_out])
    # no group fewer or more would be nearer by more than the largest group
    largest = np.unique(groups, return_counts=True)[1].max()
    assert abs(len(held_out) - fraction * len(groups)) <= largest


@settings(max_examples=examples(100))
@given(groups=SEVERAL, seed=st.integers(0, 1000), data=st.data())
def test_every_group_validates_in_one_fold_and_folds_are_about_as_large(groups, seed, data):
    k = data.draw(st.integers(2, len(np.unique(groups))))
    pairs = group_folds(groups, k, seed)
    assert sorted(row for _, held_out in pairs for row in held_out) == list(range(len(groups)))
    for train, held_out in pairs:
        assert len(held_out) >= 1
        assert sorted([*train, *held_out]) == list(range(len(groups)))
        assert not set(groups[train]) & set(groups[held_out])
    sizes = [len(held_out) for _, held_out in pairs]
    assert max(sizes) - min(sizes) <= np.unique(groups, return_counts=True)[1].max()


@settings(max_examples=examples(100))
@given(times=SEVERAL, fraction=st.floats(0.01, 0.99))
def test_every_training_row_is_earlier_than_all_that_validate(times, fraction):
    train, held_out = latest(times, fraction)
    assert sorted([*train, *held_out]) == list(range(len(times)))
    assert times[train].max() < times[held_out].min()


def test_other_groups_are_drawn_by_another_seed():
    groups = np.arange(400) // 4
    drawn = {tuple(group_holdout(groups, 0.2, seed)[1]) for seed in range(5)}
    assert len(drawn) == 5
    assert {len(rows) for rows in drawn} == {80}
    assert np.array_equal(group_folds(groups, 4, 1)[0][1], group_folds(groups, 4, 1)[0][1])
