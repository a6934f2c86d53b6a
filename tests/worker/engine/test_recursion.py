from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import naive
from support.draws import examples

from worker.engine import features
from worker.engine.config import FitConfig
from worker.engine.errors import Inconsistent, InvalidConfig, NonFiniteValues, NotPositiveDefinite
from worker.engine.kernels import KernelPoints, kernel_of
from worker.engine.kernels.points import predict_rows
from worker.engine.model import FittedModel
from worker.engine.problem import Problem
from worker.engine.recursion import iterate, refit, verified
from worker.engine.solvers.cholesky import RIDGES
from worker.engine.targets import RegressionTargets


def _regression(n=80, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return X, (X[:, :1] * X[:, 1:2] + 0.1 * torch.randn(n, 1, generator=generator, dtype=torch.float64))


VARIANTS = {
    "fact": {},
    "geometric": {"geometric_average": True},
    "nfa": {"update": "nfa"},
    "nfa root, centred": {"update": "nfa", "agop_power": 0.5, "center_gradients": True},
    "diagonal": {"feature_matrix": "diagonal"},
    "diagonal nfa": {"feature_matrix": "diagonal", "update": "nfa"},
    "scale max": {"scale": "max"},
    "one ridge in double precision": {"ridge": 0.05, "precision": "float64"},
    "exponential": {"kernel": "exponential"},
    "patience": {"patience": 2},
}


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("name", VARIANTS)
def test_resuming_from_any_state_equals_the_uninterrupted_run_bit_for_bit(name, validated):
    X, Y = _regression()
    held_out = _regression(seed=1) if validated else None
    config = FitConfig(iterations=4, **VARIANTS[name])
    targets = RegressionTargets.fit(Y)
    whole = list(iterate(X, Y, targets, config, validation=held_out))
    for position, state in enumerate(whole):
        rest = list(iterate(X, Y, targets, config, validation=held_out, state=state))
        assert len(rest) == len(whole) - position - 1
        for ours, theirs in zip(rest, whole[position + 1 :], strict=True):
            assert torch.equal(ours.current.M, theirs.current.M)
            assert torch.equal(ours.current.alpha, theirs.current.alpha)
            assert ours.best.iteration == theirs.best.iteration
            assert (ours.stopped, ours.since_best) == (theirs.stopped, theirs.since_best)


@pytest.mark.parametrize("name", ["fact", "geometric", "nfa", "nfa root, centred", "scale max", "exponential"])
def test_few_rows_of_many_columns_learn_what_the_whole_matrices_would_and_resume_bit_for_bit(name, monkeypatch):
    X, Y = _regression(12, 30)
    config = FitConfig(iterations=2, ridge=0.1, precision="float64", **VARIANTS[name])
    targets = RegressionTargets.fit(Y)
    whole = list(iterate(X, Y, targets, config))
    for position, state in enumerate(whole):
        for ours, theirs in zip(iterate(X, Y, targets, config, state=state), whole[position + 1 :], strict=True):
            assert torch.equal(ours.current.M, theirs.current.M)
            assert torch.equal(ours.current.alpha, theirs.current.alpha)

    def dense(points, alpha, bandwidth, M, *, geometric):
        return features.next_from_fact(features.fact(points, alpha, bandwidth), M, geometric=geometric)

    def dense_agop(points, alpha, bandwidth, power, *, centered, weights):
        return features.matrix_power(features.agop(points, alpha, bandwidth, centered=centered), power)

    monkeypatch.setattr(features, "next_from_few_rows", dense)
    monkeypatch.setattr(features, "agop_power_of_few_rows", dense_agop)
    # the dense way takes roots of squared singular values: of the fourth root a quarter of the digits is left
    apart = 1e-3 if name == "geometric" else 1e-6
    for ours, theirs in zip(whole, iterate(X, Y, targets, config), strict=True):
        torch.testing.assert_close(ours.current.M, theirs.current.M, rtol=apart, atol=apart)


@pytest.mark.parametrize("name", VARIANTS)
def test_feature_matrix_stays_symmetric_positive_semidefinite_with_its_scale(name):
    X, Y = _regression()
    config = FitConfig(iterations=3, **VARIANTS[name])
    for state in iterate(X, Y, RegressionTargets.fit(Y), config):
        M = state.current.M
        full = torch.diag(M) if M.ndim == 1 else M
        assert torch.equal(full, full.T)
        assert float(torch.linalg.eigvalsh(full).min()) > -1e-10
        if config.scale == "trace":
            assert float(full.trace()) == pytest.approx(5)


@settings(max_examples=examples(10))
@given(order=st.permutations(range(40)), update=st.sampled_from(["fact", "nfa"]))
def test_the_order_of_rows_does_not_matter(order, update):
    X, Y = _regression(40)
    config = FitConfig(iterations=2, ridge=0.1, precision="float64", update=update)
    targets = RegressionTargets.fit(Y)
    *_, one = iterate(X, Y, targets, config)
    *_, other = iterate(X[order], Y[order], targets, config)
    torch.testing.assert_close(one.current.M, other.current.M, rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(one.current.alpha[order], other.current.alpha, rtol=1e-5, atol=1e-7)


def test_predictions_follow_an_affine_change_of_units():
    X, Y = _regression()
    config = FitConfig(iterations=2, ridge=0.1, precision="float64")
    predictions = []
    for changed in (Y, 40 * Y + 1000):
        targets = RegressionTargets.fit(changed)
        *_, state = iterate(X, changed, targets, config)
        predictions.append(FittedModel.from_iterate(X, state.best, config, targets).predict(X[:7] + 0.1))
    torch.testing.assert_close(40 * predictions[0] + 1000, predictions[1])


def test_iteration_0_is_kernel_ridge_regression():
    X, Y = _regression()
    config = FitConfig(update="none", kernel="laplace", bandwidth=2.0, ridge=0.5, precision="float64")
    targets = RegressionTargets.fit(Y)
    [state] = iterate(X, Y, targets, config)
    K = torch.exp(-torch.cdist(X, X, compute_mode="donot_use_mm_for_euclid_dist") / 2.0)
    alpha = torch.linalg.solve(K + 0.5 * torch.eye(len(X)), targets.encode(Y))
    torch.testing.assert_close(state.current.alpha, alpha)
    residual = targets.encode(Y) - K @ alpha
    assert state.current.metrics["train_rmse"] == pytest.approx(
        float((residual * targets.scale).square().mean().sqrt())
    )


def test_the_best_iterate_has_the_least_validation_loss():
    X, Y = _regression()
    states = list(iterate(X, Y, RegressionTargets.fit(Y), FitConfig(iterations=6), validation=_regression(seed=1)))
    losses = [state.current.loss for state in states]
    assert states[-1].best.loss == min(losses)


@pytest.mark.parametrize("ridge", ["auto", 0.01])
def test_without_rows_to_validate_on_the_best_iterate_misses_rows_left_out_least(ridge):
    X, Y = _regression(40)
    config = FitConfig(iterations=6, ridge=ridge, kernel="laplace", bandwidth=2.0, precision="float64")
    targets = RegressionTargets.fit(Y)
    states = list(iterate(X, Y, targets, config))
    losses = [state.current.loss for state in states]
    assert states[-1].best.loss == min(losses)
    assert states[-1].best.iteration == losses.index(min(losses))
    best, encoded = states[-1].best, targets.encode(Y)
    missed = []
    for row in range(len(X)):
        others = torch.arange(len(X)) != row
        points = KernelPoints(X[others], best.M, config.kernel_function)
        K = config.kernel_function.value_(points.products(X), 2.0)
        alpha = torch.linalg.solve(K[others] + best.ridge * torch.eye(len(X) - 1, dtype=torch.float64), encoded[others])
        missed.append(K[row] @ alpha - encoded[row])
    error = float(torch.cat(missed).square().mean())
    assert best.loss[0] == pytest.approx(error, rel=1e-6)
    assert best.metrics["leave_one_out_rmse"] == pytest.approx(float(targets.scale) * error**0.5, rel=1e-6)


def test_where_nothing_tells_iterates_apart_or_the_last_is_asked_for_it_is_the_last():
    X, Y = _regression(40)
    targets = RegressionTargets.fit(Y)
    for options, choose in (({"solver": "cg"}, True), ({}, False)):
        config = FitConfig(iterations=3, ridge=0.1, **options)
        states = list(iterate(X, Y, targets, config, choose=choose))
        assert [state.best.iteration for state in states] == [0, 1, 2, 3]
        assert {state.current.loss for state in states} == {None}
    direct = FitConfig(iterations=3)
    assert list(iterate(X, Y, targets, direct, choose=False))[-1].best.iteration == 3


def test_patience_stops_by_rows_left_out_too():
    X, Y = _regression()
    states = list(iterate(X, Y, RegressionTargets.fit(Y), FitConfig(iterations=50, patience=2)))
    assert (states[-1].stopped, states[-1].since_best) == ("patience", 2)


def test_patience_stops_and_says_so():
    X, Y = _regression()
    config = FitConfig(iterations=50, patience=2)
    states = list(iterate(X, Y, RegressionTargets.fit(Y), config, validation=_regression(seed=1)))
    assert states[-1].stopped == "patience"
    assert states[-1].since_best == 2
    assert len(states) < 51


def test_a_target_without_signal_ends_the_recursion_and_says_so():
    X, _ = _regression()
    Y = torch.full((len(X), 1), 7.0, dtype=torch.float64)
    states = list(iterate(X, Y, RegressionTargets.fit(Y), FitConfig(iterations=5)))
    assert [state.stopped for state in states] == ["no_signal"]


def test_duplicated_rows_train_without_nan():
    X, Y = _regression(30)
    X, Y = torch.cat([X, X, X]), torch.cat([Y, Y, Y])
    for exponent in (0.5, 1.0, 1.3):
        *_, state = iterate(X, Y, RegressionTargets.fit(Y), FitConfig(iterations=3, exponent=exponent))
        assert bool(torch.isfinite(state.current.M).all())


def test_float32_and_float64_agree_with_duplicated_rows():
    X, Y = _regression(60)
    X, Y = torch.cat([X, X]), torch.cat([Y, Y])
    found = []
    for precision in ("float32", "float64"):
        config = FitConfig(iterations=3, ridge=0.1, kernel="laplace", precision=precision)
        *_, state = iterate(X, Y, RegressionTargets.fit(Y), config)
        found.append(state.current.M)
    torch.testing.assert_close(found[0], found[1], rtol=1e-2, atol=1e-3)


def test_ridge_0_on_duplicated_rows_is_an_error_that_says_what_to_do():
    X, Y = _regression(30)
    config = FitConfig(ridge=0.0, kernel="gaussian")
    with pytest.raises(NotPositiveDefinite, match="duplicate"):
        list(iterate(torch.cat([X, X]), torch.cat([Y, Y]), RegressionTargets.fit(Y), config))


def test_not_a_number_is_refused():
    X, Y = _regression()
    X[3, 2] = torch.nan
    with pytest.raises(NonFiniteValues, match="X"):
        list(iterate(X, Y, RegressionTargets.fit(Y), FitConfig()))


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("update", "agop"),
        ("kernel", "sinc"),
        ("exponent", 2.5),
        ("bandwidth", 0.0),
        ("bandwidth_factor", -1.0),
        ("ridge", -0.1),
        ("iterations", -1),
        ("scale", "norm"),
        ("patience", 0),
        ("precision", "float16"),
        ("exponent", 0.0),
        ("agop_power", 0.0),
        ("bandwidth", float("inf")),
        ("ridge", float("nan")),
    ],
)
def test_a_wrong_option_is_named_with_its_value(option, value):
    with pytest.raises(InvalidConfig, match=option):
        replace(FitConfig(), **{option: value})


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"update": "nfa", "geometric_average": True}, "geometric_average"),
        ({"update": "fact", "agop_power": 0.5}, "agop_power"),
        ({"update": "none", "center_gradients": True}, "center_gradients"),
        ({"kernel": "gaussian", "exponent": 1.5}, "exponent"),
    ],
)
def test_options_that_do_not_belong_together_are_named(options, named):
    with pytest.raises(InvalidConfig, match=named):
        FitConfig(**options)


def test_a_first_feature_matrix_of_another_shape_is_refused():
    X, Y = _regression()
    with pytest.raises(InvalidConfig, match=r"\(5, 5\)"):
        list(iterate(X, Y, RegressionTargets.fit(Y), FitConfig(), M=torch.ones(5)))


@pytest.mark.parametrize("name", ["fact", "geometric", "nfa", "nfa root, centred"])
@pytest.mark.parametrize("kernel", ["laplace", "gaussian", "quadratic"])
def test_the_recursion_equals_the_formulas_written_down_naively(name, kernel):
    X, Y = _regression(12, 4)
    config = FitConfig(kernel=kernel, bandwidth=2.0, ridge=0.3, precision="float64", iterations=2, **VARIANTS[name])
    targets = RegressionTargets.fit(Y)
    M = torch.eye(4, dtype=torch.float64)
    for state in iterate(X, Y, targets, config):
        K = torch.stack([torch.stack([naive.kernel_value(x, z, M, config.kernel_function, 2.0) for z in X]) for x in X])
        alpha = torch.linalg.solve(K + 0.3 * torch.eye(12, dtype=torch.float64), targets.encode(Y))
        torch.testing.assert_close(state.current.M, M, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(state.current.alpha, alpha, rtol=1e-8, atol=1e-10)
        J = naive.jacobians(X, M, alpha, config.kernel_function, 2.0)
        if config.update == "nfa":
            J = J - J.mean(0) if config.center_gradients else J
            S, power = torch.einsum("icd,ice->de", J, J) / 12, config.agop_power or 1.0
        else:
            F = torch.einsum("icd,ic,ie->de", J, alpha, X)
            S, power = (F @ M @ M @ F.T, 0.25) if config.geometric_average else (F @ F.T, 0.5)
        values, vectors = torch.linalg.eigh(S)
        M = vectors @ torch.diag(values.clamp(min=0) ** power) @ vectors.T
        M = M * 4 / M.trace()


def test_an_automatic_ridge_is_the_one_that_misses_left_out_rows_least():
    X, Y = _regression(30)
    config = FitConfig(kernel="laplace", bandwidth=2.0, update="none", precision="float64")
    targets = RegressionTargets.fit(Y)
    [state] = iterate(X, Y, targets, config)
    K = torch.exp(-torch.cdist(X, X, compute_mode="donot_use_mm_for_euclid_dist") / 2.0)
    misses = {}
    for ridge in RIDGES:
        left_out = []
        for row in range(30):
            kept = [index for index in range(30) if index != row]
            alpha = torch.linalg.solve(K[kept][:, kept] + ridge * torch.eye(29), targets.encode(Y)[kept])
            left_out.append(targets.encode(Y)[row] - K[row, kept] @ alpha)
        misses[ridge] = float(torch.stack(left_out).square().mean())
    assert state.current.ridge == min(misses, key=misses.__getitem__)


def test_ridges_that_cannot_be_used_are_left_out_of_the_choice_and_said():
    X, Y = _regression(60)
    config = FitConfig(kernel="quadratic", precision="float32", iterations=0)
    [state] = iterate(20 * X, Y, RegressionTargets.fit(Y), config)
    assert state.skipped_ridges
    assert state.current.ridge not in state.skipped_ridges


def test_kernel_values_beyond_all_numbers_are_an_error():
    X, Y = _regression(20)
    config = FitConfig(kernel="exponential", bandwidth=1e-3, ridge=0.1)
    with pytest.raises(NonFiniteValues):
        list(iterate(X, Y, RegressionTargets.fit(Y), config))


def test_predictions_do_not_change_with_the_order_of_rows_or_by_moving_them():
    X, Y = _regression()
    config = FitConfig(iterations=2, ridge=0.1, precision="float64")
    targets = RegressionTargets.fit(Y)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(1))
    answers = []
    for rows, outputs, shift in ((X, Y, 0.0), (X[order], Y[order], 0.0), (X + 50, Y, 50.0)):
        *_, state = iterate(rows, outputs, targets, config)
        answers.append(FittedModel.from_iterate(rows, state.best, config, targets).predict(X[:7] + 0.1 + shift))
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(answers[2], answers[0], rtol=1e-6, atol=1e-8)


def test_the_residual_is_the_ridge_times_alpha():
    X, Y = _regression()
    config = FitConfig(iterations=2, ridge=0.2, precision="float64")
    targets = RegressionTargets.fit(Y)
    for state in iterate(X, Y, targets, config):
        fitted = FittedModel.from_iterate(X, state.current, config, targets).raw(X)
        torch.testing.assert_close(targets.encode(Y) - fitted, 0.2 * state.current.alpha)


@pytest.mark.parametrize("stacked", [1, 2, 3])
def test_the_answer_to_a_row_does_not_depend_on_the_others_it_came_with(stacked):
    X, Y = _regression()
    config = FitConfig(iterations=1, ridge=0.1, precision="float64")
    targets = RegressionTargets.fit(Y)
    *_, state = iterate(X, Y, targets, config)
    model = FittedModel.from_iterate(X, state.best, config, targets)
    alone = torch.cat([model.predict(row) for row in X.split(1)])
    together = torch.cat([model.predict(rows) for rows in X.split(stacked * 7)])
    torch.testing.assert_close(together, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_a_refit_solves_all_rows_at_the_metric_ridge_and_bandwidth_that_were_chosen(solver):
    X, Y = _regression(120)
    config = FitConfig(kernel="laplace", iterations=2, solver=solver, tolerance=1e-8, precision="float64")
    targets = RegressionTargets.fit(Y[:80])
    *_, last = iterate(X[:80], Y[:80], targets, config, validation=(X[80:], Y[80:]))
    chosen = last.best
    again = refit(X, Y, targets, config, chosen)
    assert (again.ridge, again.bandwidth, again.iteration) == (chosen.ridge, chosen.bandwidth, chosen.iteration)
    assert (again.loss, again.metrics) == (chosen.loss, chosen.metrics)
    assert torch.equal(again.M, chosen.M)
    K = torch.stack(
        [
            torch.stack([naive.kernel_value(x, z, again.M, config.kernel_function, again.bandwidth) for z in X])
            for x in X
        ]
    )
    system = K + again.ridge * torch.eye(len(X), dtype=X.dtype)
    torch.testing.assert_close(system @ again.alpha, targets.encode(Y), atol=1e-6, rtol=1e-6)


def test_large_weights_that_cancel_leave_an_answer_in_float32_as_exact_as_its_kernel():
    generator = torch.Generator().manual_seed(0)
    half = torch.randn(2500, 4, generator=generator)
    X = torch.cat([half, half + 1e-3 * torch.randn(2500, 4, generator=generator)])
    alpha = 1e3 * torch.randn(2500, 2, generator=generator)
    alpha = torch.cat([alpha, -alpha])
    points = KernelPoints(X, torch.eye(4), kernel_of("laplace"))
    # in the same tiles, so that both have the same rounded kernel
    K = torch.cat([points.kernel.value_(P, 1.0) for _, _, P in points.blocks(X[:50])], 1)
    exact = K.double() @ alpha.double()
    found = predict_rows(X[:50], points, alpha, 1.0)
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 2e-7 * exact.abs().max()
    assert (K @ alpha - exact).abs().max() > 2e-5 * exact.abs().max(), "or the test shows nothing"


def test_a_refit_on_the_same_rows_changes_nothing():
    X, Y = _regression()
    config = FitConfig(iterations=2, ridge=0.1, precision="float64")
    targets = RegressionTargets.fit(Y)
    *_, last = iterate(X, Y, targets, config)
    again = refit(X, Y, targets, config, last.best)
    assert torch.equal(again.alpha, last.best.alpha)


def test_a_refit_of_rows_that_are_no_numbers_is_refused():
    X, Y = _regression()
    config = FitConfig(iterations=1, ridge=0.1)
    *_, last = iterate(X, Y, RegressionTargets.fit(Y), config)
    X = X.clone()
    X[3, 0] = torch.nan
    with pytest.raises(NonFiniteValues, match="X holds NaN"):
        refit(X, Y, RegressionTargets.fit(Y), config, last.best)


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("size", [1e6, 1e8, 1e15])
def test_a_refit_with_one_huge_row_still_answers_the_others(precision, size):
    X, Y = _regression(400)
    X[399, 2] = size
    config = FitConfig(ridge=1e-3, iterations=1, precision=precision)
    targets = RegressionTargets.fit(Y[:300])
    *_, last = iterate(X[:300], Y[:300], targets, config, validation=(X[300:399], Y[300:399]))
    again = refit(X, Y, targets, config, last.best)
    found = FittedModel.from_iterate(X, again, config, targets).raw(X[:399])
    wanted = targets.encode(Y[:399]) - again.ridge * again.alpha[:399]
    torch.testing.assert_close(found.double(), wanted.double(), atol=1e-2, rtol=0)


def test_a_refit_that_rounding_has_eaten_is_refused(monkeypatch):
    X, Y = _regression()
    config = FitConfig(ridge=1e-3, iterations=0, precision="float32")
    *_, last = iterate(X, Y, RegressionTargets.fit(Y), config)
    monkeypatch.setattr("worker.engine.problem.predict_rows", lambda rows, points, alpha, bandwidth: 0 * alpha)
    with pytest.raises(Inconsistent, match="misses what it was solved for"):
        refit(X, Y, RegressionTargets.fit(Y), config, last.best)


def test_a_ridge_whose_loss_is_no_number_is_left_out():
    X, Y = _regression()
    far = (torch.full((3, 5), 1e6, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64))
    config = FitConfig(kernel="exponential", bandwidth=1.0, ridge="auto", iterations=1, precision="float64")
    with pytest.raises(NonFiniteValues, match="validate on"):
        list(iterate(X, Y, RegressionTargets.fit(Y), config, validation=far))


def _rows_that_float32_cannot_tell_apart(n=400, seed=0):
    """Many rows close together and some far away: rounding of their distances is more than a small ridge."""
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, 3, generator=generator, dtype=torch.float64) * torch.tensor([1e-5, 1e-5, 1e-5])
    X[::20] += torch.randn(len(X[::20]), 3, generator=generator, dtype=torch.float64)
    return X, X.sum(1, keepdim=True) + 0.1 * torch.randn(n, 1, generator=generator, dtype=torch.float64)


UNSOLVABLE = {"kernel": "gaussian", "bandwidth": 0.5, "ridge": 1e-9, "iterations": 3}
"""In float32, of those rows, on any processor: 1 + 1e-9 is 1 there."""


def _states(**options):
    X, Y = _rows_that_float32_cannot_tell_apart()
    return list(iterate(X, Y, RegressionTargets.fit(Y), FitConfig(**UNSOLVABLE, **options)))


def test_a_ridge_and_a_precision_that_were_given_fail_with_their_reason():
    with pytest.raises(NotPositiveDefinite, match=r"ridge 1e-09 .* float32"):
        _states(precision="float32")


def test_a_preferred_ridge_gives_way_to_the_next_larger_one_and_says_so():
    states = _states(precision="float32", raise_ridge=True, ridges=(1.0, 1e-10, 1e-3, 10.0))
    assert {state.current.ridge for state in states} == {1e-3}
    assert all(state.skipped_ridges == (1e-9,) for state in states)


def test_a_preferred_ridge_that_can_be_solved_is_the_one_ridge():
    [*preferred], [*given_] = (_states(precision="float64", raise_ridge=raised) for raised in (True, False))
    assert all(torch.equal(a.current.alpha, b.current.alpha) for a, b in zip(preferred, given_, strict=True))
    assert not any(state.skipped_ridges for state in preferred)


def _two_clusters(n=200, seed=0):
    """Two clusters far apart: in float32 the distances within one of them are rounding."""
    generator = torch.Generator().manual_seed(seed)
    X = 0.1 * torch.randn(n, 3, generator=generator, dtype=torch.float64)
    X[::2] += 100
    return X, X[:, :1] / 100 + 0.1 * torch.randn(n, 1, generator=generator, dtype=torch.float64)


def _clusters(**options):
    return FitConfig(kernel="laplace", bandwidth=1.0, ridge=1e-3, iterations=3, **options)


def test_what_float32_cannot_solve_is_solved_in_float64_where_the_precision_is_open():
    X, Y = _two_clusters()
    targets = RegressionTargets.fit(Y)
    with pytest.raises(NotPositiveDefinite):
        list(iterate(X, Y, targets, _clusters(precision="float32")))
    states = list(iterate(X, Y, targets, _clusters()))
    expected = list(iterate(X, Y, targets, _clusters(precision="float64")))
    assert states[0].current.alpha.dtype == torch.float64
    assert torch.equal(states[-1].current.alpha, expected[-1].current.alpha)
    assert {state.current.ridge for state in states} == {1e-3}


@pytest.mark.parametrize("fails_at", [0, 1, 2])
@pytest.mark.parametrize("options", [{}, {"precision": "float32", "raise_ridge": True}])
def test_resuming_after_a_system_that_could_not_be_solved_is_bit_for_bit_the_same(fails_at, options, monkeypatch):
    X, Y = _regression()
    targets = RegressionTargets.fit(Y)
    config = FitConfig(kernel="laplace", ridge=1e-3, iterations=4, **options)
    solve = Problem.solve

    def once(self, metric, iteration):
        config = self.config
        if iteration == fails_at and config.dtype == torch.float32 and config.ridge == 1e-3:
            if not config.raise_ridge:
                raise NotPositiveDefinite("in float32")
            self.config = replace(config, ridge=1e-2)
        try:
            return solve(self, metric, iteration)
        finally:
            self.config = config

    monkeypatch.setattr(Problem, "solve", once)
    whole = list(iterate(X, Y, targets, config))
    assert (whole[-1].current.alpha.dtype == torch.float64) == (not options)
    for position, state in enumerate(whole):
        rest = list(iterate(X, Y, targets, config, state=state))
        for again, expected in zip(rest, whole[position + 1 :], strict=True):
            assert torch.equal(again.current.alpha, expected.current.alpha)
            assert torch.equal(again.current.M, expected.current.M)
            assert torch.equal(again.best.alpha, expected.best.alpha)


def test_a_solution_that_rounding_has_eaten_is_solved_in_float64_where_the_precision_is_open():
    X, Y = _regression()
    targets = RegressionTargets.fit(Y)
    config = FitConfig(kernel="laplace", ridge=1e-3, iterations=0)
    *_, last = iterate(X, Y, targets, config)
    damaged = replace(last.best, alpha=1.5 * last.best.alpha)
    with pytest.raises(Inconsistent):
        verified(X, Y, targets, replace(config, precision="float32"), damaged)
    found = verified(X, Y, targets, config, damaged)
    assert found.alpha.dtype == torch.float64
    torch.testing.assert_close(found.alpha.float(), last.best.alpha, rtol=1e-2, atol=1e-2)
    assert verified(X, Y, targets, config, last.best) is last.best
