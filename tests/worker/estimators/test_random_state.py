"""``random_state`` is scikit-learn's name of the spec's seed."""

import numpy as np
import pytest
from sklearn.ensemble import BaggingRegressor

from worker.estimators import FactRFMClassifier, FactRFMRegressor

QUICK = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "exponent": 1.3, "ridge": 0.1, "refit": False}


def _rows(n=60):
    X = np.random.default_rng(0).normal(size=(n, 3))
    return X, X[:, 0] ** 2 + X[:, 1]


def _answers(**options):
    X, y = _rows()
    return FactRFMRegressor(**QUICK, **options).fit(X, y).predict(X)


@pytest.mark.parametrize("number", [0, 3, np.int64(42), 2**31 - 1])
def test_a_number_is_the_seed(number):
    np.testing.assert_array_equal(_answers(random_state=number), _answers(seed=int(number)))
    X, y = _rows()
    assert FactRFMRegressor(**QUICK, random_state=number).fit(X, y).spec_["seed"] == number


def test_none_leaves_the_seed_and_a_number_replaces_it():
    np.testing.assert_array_equal(_answers(random_state=None, seed=5), _answers(seed=5))
    np.testing.assert_array_equal(_answers(random_state=5, seed=6), _answers(seed=5))
    assert not np.array_equal(_answers(random_state=5), _answers(random_state=6))


def test_a_generator_gives_another_seed_at_every_fit_and_its_copy_the_same():
    X, y = _rows()
    one, other = (FactRFMClassifier(**QUICK, random_state=np.random.RandomState(3)) for _ in range(2))
    seeds = [[model.fit(X, y > 0).spec_["seed"] for _ in range(3)] for model in (one, other)]
    assert seeds[0] == seeds[1]
    assert len(set(seeds[0])) == 3
    assert all(0 <= seed < 2**31 for seed in seeds[0])


@pytest.mark.parametrize("number", [2**31, 2**32 - 1])
def test_every_number_that_scikit_learn_takes_is_taken(number):
    np.testing.assert_array_equal(_answers(random_state=number), _answers(random_state=number))


@pytest.mark.parametrize("wrong", [-1, 2**32, 1.5, "0", np.random.default_rng(0)])
def test_what_seeds_nothing_is_named(wrong):
    with pytest.raises(ValueError, match="random_state must be"):
        _answers(random_state=wrong)


def test_an_ensemble_of_scikit_learn_seeds_its_members():
    X, y = _rows(30)
    ensemble = BaggingRegressor(FactRFMRegressor(**QUICK), n_estimators=2, random_state=0).fit(X, y)
    assert len({member.spec_["seed"] for member in ensemble.estimators_}) == 2
