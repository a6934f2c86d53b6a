"""Scores, probabilities and their logarithms."""

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.metrics import get_scorer, roc_auc_score

from worker.contracts.errors import UnknownCategories
from worker.estimators import FactRFMClassifier
from worker.tables.rows.matching import WrongRow

QUICK = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "exponent": 1.3, "ridge": 0.1}


def _rows(classes, n=120, noise=0.3):
    generator = np.random.default_rng(0)
    X = generator.normal(size=(n, 3))
    score = X[:, 0] + noise * generator.normal(size=n)
    return X, np.digitize(score, np.quantile(score, np.arange(1, classes) / classes))


def test_of_two_classes_there_is_one_score_a_row_above_0_for_the_second():
    X, y = _rows(2)
    y = np.array(["no", "yes"])[y]
    model = FactRFMClassifier(**QUICK).fit(X, y)
    scores = model.decision_function(X)
    assert (scores.shape, scores.dtype) == ((len(X),), np.float64)
    np.testing.assert_array_equal(model.classes_[(scores > 0).astype(int)], model.predict(X))
    probabilities = model.predict_proba(X)[:, 1]
    inside = (probabilities > 0.01) & (probabilities < 0.99)
    # (1 + score) / 2 on the simplex, mixed with a little of the uniform distribution
    np.testing.assert_allclose(probabilities[inside], 0.5 + 0.999 * scores[inside] / 2, rtol=1e-9)


@pytest.mark.parametrize("classes", [3, 5])
def test_of_more_there_is_one_a_class_and_the_largest_is_predicted(classes):
    X, y = _rows(classes)
    model = FactRFMClassifier(**QUICK).fit(X, y)
    scores = model.decision_function(X)
    assert scores.shape == (len(X), classes)
    np.testing.assert_array_equal(model.classes_[scores.argmax(1)], model.predict(X))
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
def test_logarithms_are_those_of_the_probabilities(classes):
    X, y = _rows(classes)
    model = FactRFMClassifier(**QUICK).fit(X, y)
    logarithms = model.predict_log_proba(X)
    np.testing.assert_allclose(np.exp(logarithms), model.predict_proba(X), rtol=1e-12)
    assert np.isfinite(logarithms).all()


def test_scores_tell_rows_apart_whose_probabilities_are_equal():
    X, y = _rows(2, noise=0.0)
    model = FactRFMClassifier(**QUICK).fit(X, y)
    assert len(np.unique(model.decision_function(X))) > len(np.unique(model.predict_proba(X)[:, 1]))
    assert get_scorer("roc_auc")(model, X, y) == roc_auc_score(y, model.decision_function(X))


def test_scores_come_from_a_file_as_well_and_of_frames(tmp_path):
    X, y = _rows(3)
    frame = pd.DataFrame(X, columns=list("abc")).assign(colour=np.where(X[:, 1] > 0, "red", "green"))
    model = FactRFMClassifier(**QUICK).fit(frame, y)
    model.save(tmp_path / "model")
    loaded = FactRFMClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.decision_function(frame), model.decision_function(frame))
    for answer in (model.decision_function, model.predict_log_proba, model.predict_proba, model.predict):
        with pytest.warns(UnknownCategories, match=r"colour \(120 rows\)") as told:
            answer(frame.assign(colour="blue"))
        assert [warning.filename for warning in told] == [__file__]


def test_scikit_learn_calibrates_by_the_scores():
    X, y = _rows(2, n=60)
    calibrated = CalibratedClassifierCV(FactRFMClassifier(**QUICK), cv=2).fit(X, y)
    assert calibrated.score(X, y) > 0.8


def test_before_a_fit_there_is_nothing_to_answer():
    for answer in ("decision_function", "predict_log_proba", "predict_proba"):
        with pytest.raises(NotFittedError):
            getattr(FactRFMClassifier(), answer)([[0.0]])


def test_rows_too_far_for_a_score_are_named_as_those_without_an_answer():
    X, y = _rows(2)
    model = FactRFMClassifier(**{**QUICK, "kernel": "exponential", "exponent": None}, bandwidth=1.0).fit(X, y)
    for answer in (model.predict_proba, model.decision_function):
        with pytest.raises(WrongRow, match="row 1 holds numbers so far from the training rows"):
            answer(np.full((1, 3), 1e6))
