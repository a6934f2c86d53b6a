"""What is seen of a fit while it runs, and kept of each iteration: callbacks, lines and bars, feature matrices."""

import io
import re

import numpy as np
import pytest
from rich.console import Console
from sklearn.base import clone

from worker.estimators import FactRFMClassifier, FactRFMRegressor
from worker.estimators.following import Progress

QUICK = {"iterations": 2, "encoding": "plain", "feature_matrix": "full", "exponent": 1.3, "ridge": 0.1}


def _rows(n=60):
    X = np.random.default_rng(0).normal(size=(n, 3))
    return X, X[:, 0] ** 2 + X[:, 1]


@pytest.mark.parametrize(
    "options", [{}, {"feature_matrix": "diagonal"}, {"update": "nfa"}, {"validation_fraction": None}]
)
def test_callbacks_see_every_iteration_as_it_is_kept(options):
    seen = []
    model = FactRFMRegressor(**{**QUICK, **options}, callbacks=[lambda *told: seen.append(told)]).fit(*_rows())
    assert [iteration for iteration, _, _ in seen] == [0, 1, 2]
    assert [metrics for _, metrics, _ in seen] == model.history_
    assert {M.shape for _, _, M in seen} == {(3, 3)}
    np.testing.assert_array_equal([M for _, _, M in seen], model.feature_matrices_)
    np.testing.assert_array_equal(model.feature_matrices_[0], np.eye(3))
    np.testing.assert_array_equal(model.feature_matrices_[model.best_iteration_], model.feature_matrix_)
    assert not np.array_equal(model.feature_matrices_[1], model.feature_matrices_[2])


def test_a_callback_changes_nothing_of_the_fit_and_each_is_called_in_order():
    order = []

    def spoil(iteration, metrics, M):
        order.append("first")
        M *= 0
        metrics.clear()

    def second(iteration, metrics, M):
        order.append("second")
        assert M.any()
        assert metrics["iteration"] == iteration

    X, y = _rows()
    followed = FactRFMRegressor(**QUICK, callbacks=[spoil, second]).fit(X, y)
    alone = FactRFMRegressor(**QUICK).fit(X, y)
    assert order == ["first", "second"] * 3
    np.testing.assert_array_equal(followed.predict(X), alone.predict(X))
    np.testing.assert_array_equal(followed.feature_matrices_, alone.feature_matrices_)
    assert [line["iteration"] for line in followed.history_] == [0, 1, 2]


def test_an_error_of_a_callback_ends_the_fit():
    def stop(iteration, metrics, M):
        raise KeyboardInterrupt

    model = FactRFMRegressor(**QUICK, callbacks=[stop], verbose=1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*_rows())
    assert not hasattr(model, "model_")


def test_matrices_are_not_kept_where_they_are_not_wanted():
    seen = []
    options = {**QUICK, "keep_feature_matrices": False, "callbacks": [lambda *told: seen.append(told)]}
    model = FactRFMClassifier(**options)
    X, y = _rows()
    model.fit(X, y > 0).fit(X, y < 0)
    assert not hasattr(model, "feature_matrices_")
    assert len(seen) == 6
    kept = model.set_params(keep_feature_matrices=True).fit(X, y > 0)
    assert len(kept.feature_matrices_) == kept.n_iter_
    assert not hasattr(kept.set_params(keep_feature_matrices=False).fit(X, y > 0), "feature_matrices_")


def test_silence_is_the_default(capfd):
    FactRFMRegressor().fit(*_rows())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", [True, 1, 2])
def test_a_log_has_a_line_for_each_iteration_and_each_choice(capfd, verbose):
    model = FactRFMRegressor(iterations=2, verbose=verbose).fit(*_rows())
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) == len(model.choices_) + 3
    for line, run in zip(lines, model.choices_, strict=False):
        assert line.startswith("choosing ")
        assert run["encoding"] in line
        assert re.search(r"loss [\d.e-]+", line)
    for line, entry in zip(lines[-3:], model.history_, strict=True):
        assert line.startswith(f"iteration {entry['iteration']} of 2")
        assert f"validation rmse {entry['validation_rmse']:.4g}" in line


def test_a_terminal_has_one_bar_that_ends_full():
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100)
    X, y = _rows()
    lines = []
    with Progress(1, iterations=2, console=console) as progress:
        FactRFMRegressor(**QUICK, callbacks=[lambda *told: lines.append(told)]).fit(X, y)
        for _, line, _ in lines:
            progress.iteration(line)
    assert "3/3" in written.getvalue()
    assert "validation rmse" in written.getvalue()
    assert "iteration 0 of 2" not in written.getvalue()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"verbose": -1}, "verbose must be"),
        ({"verbose": "yes"}, "verbose must be"),
        ({"callbacks": [3]}, "callbacks must be functions .*, not 3"),
        ({"callbacks": print}, "callbacks must be a list of functions"),
        ({"callbacks": "f"}, "callbacks must be a list of functions"),
    ],
)
def test_wrong_parameters_are_named_with_their_values(options, message):
    with pytest.raises(ValueError, match=message):
        FactRFMRegressor(**options).fit(*_rows())


def test_parameters_are_cloned():
    callbacks = [print]
    model = FactRFMRegressor(callbacks=callbacks, verbose=2, keep_feature_matrices=False, random_state=7)
    assert clone(model).get_params() == model.get_params()
