"""The caller of an estimator says what the columns of a frame are, as in a request of the service."""

import numpy as np
import pandas as pd
import pytest

from worker.estimators import FactRFMRegressor

PLAIN = {"iterations": 1, "encoding": "plain", "exponent": 1.0, "feature_matrix": "full", "ridge": 1e-3}
ROWS = 60


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "zip": np.array([3011, 4001, 7000])[np.arange(ROWS) % 3],
            "code": [f"{k % 5:03d}" for k in range(ROWS)],
            "paid": [f"1.{k % 3}00,50 €" for k in range(ROWS)],
            "note": [f"note {k}" for k in range(ROWS)],
        }
    )


@pytest.fixture
def y():
    return np.array([1.0, 9.0, 2.0])[np.arange(ROWS) % 3]


def test_columns_have_the_types_that_the_caller_says(frame, y):
    columns = {"zip": "categorical", "code": "numeric", "paid": "categorical", "note": "ignore"}
    model = FactRFMRegressor(**PLAIN, columns=columns).fit(frame, y)
    names = set(model.encoded_feature_names_)
    assert {"zip=3011", "zip=4001", "zip=7000", "code", "paid=1.100,50 €"} <= names
    assert not any(name.startswith("note") for name in names)
    assert model.n_features_in_ == len(model.feature_importances_) == 4
    assert model.feature_importances_[3] == 0
    expected = model.predict(frame)
    for change in (str, "{}.0".format, float):
        np.testing.assert_allclose(model.predict(frame.assign(zip=frame["zip"].map(change))), expected)
    np.testing.assert_allclose(model.predict(frame.to_numpy()), expected)


def test_columns_of_an_array_are_named_by_their_places(y):
    X = np.column_stack([np.arange(ROWS) % 3, np.arange(ROWS) % 7]).astype(float)
    model = FactRFMRegressor(**PLAIN, columns={"x0": "categorical", "x1": "ignore"}).fit(X, y)
    assert set(model.encoded_feature_names_) == {"x0=0", "x0=1", "x0=2", "x0:other"}
    assert model.n_features_in_ == 2
    np.testing.assert_allclose(model.predict(X), y, atol=0.1)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"zpi": "ignore"}, "X has no column 'zpi'; did you mean 'zip'"),
        ({"zip": "category"}, "columns says 'category' of 'zip'; a type is one of numeric"),
        ({"note": "numeric"}, "row 1, column 'note': 'note 0' is not numeric"),
        ({"zip": "boolean"}, "row 1, column 'zip': 3011"),
        (dict.fromkeys(["zip", "code", "paid", "note"], "ignore"), "ignores all columns"),
    ],
)
def test_what_does_not_fit_is_named(frame, y, columns, words):
    with pytest.raises(ValueError, match=words):
        FactRFMRegressor(**PLAIN, columns=columns).fit(frame, y)
