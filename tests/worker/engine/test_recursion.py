from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from worker.engine import features
from worker.engine.errors import InvalidConfig, NonFiniteValues, NotPositiveDefinite
from worker.engine.model import FittedModel
from worker.engine.recursion import FitConfig, iterate
from worker.engine.targets import ClassTargets, RegressionTargets


def _regression(n=80, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return X, (X[:, :1] * X[:, 1:2] + 0.1 * torch.randn(n, 1, generator=generator, dtype=torch.float64))


def _parity(n, d, k, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randint(0, 2, (n, d), generator=generator).double() * 2 - 1
    return X, (X[:, :k].prod(1) > 0).long()


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


@settings(max_examples=10, deadline=None)
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


class _LargestTensor(TorchDispatchMode):
    """Watches every tensor that any operation makes."""

    def __init__(self):
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, torch.Tensor):
                self.numel = max(self.numel, one.numel())
        return made


def test_no_tensor_of_rows_by_outputs_by_columns_or_rows_by_rows_by_outputs_ever_exists(monkeypatch):
    monkeypatch.setattr(features, "TILE_ROWS", 64)
    n, d, c = 150, 40, 30
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, d, generator=generator)
    codes = torch.arange(n) % c
    for update in ("fact", "nfa"):
        with _LargestTensor() as watch:
            list(iterate(X, codes, ClassTargets(c), FitConfig(update=update, iterations=2, ridge=0.1)))
        assert watch.numel <= n * n < min(n * d * c, n * n * c)


@pytest.mark.parametrize(("k", "n", "iteration"), [(2, 500, 1), (3, 2000, 2)])
def test_sparse_parity_goes_from_chance_to_certainty_and_the_support_stands_out(k, n, iteration):
    X, codes = _parity(n + 500, 50, k)
    config = FitConfig(kernel="gaussian", bandwidth=5.0, ridge=1e-3, iterations=iteration + 1)
    states = list(iterate(X[:n], codes[:n], ClassTargets(2), config, validation=(X[n:], codes[n:])))
    accuracy = [state.current.metrics["validation_accuracy"] for state in states]
    assert accuracy[0] < 0.8
    assert accuracy[iteration] >= 0.99
    diagonal = states[-1].current.M.diagonal()
    order = diagonal.argsort(descending=True)
    assert set(order[:k].tolist()) == set(range(k))
    assert float(diagonal[order[k - 1]]) >= 10 * float(diagonal[order[k]])


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
    ],
)
def test_a_wrong_option_is_named_with_its_value(option, value):
    with pytest.raises(InvalidConfig, match=option):
        replace(FitConfig(), **{option: value})


def test_the_residual_is_the_ridge_times_alpha():
    X, Y = _regression()
    config = FitConfig(iterations=2, ridge=0.2, precision="float64")
    targets = RegressionTargets.fit(Y)
    for state in iterate(X, Y, targets, config):
        fitted = FittedModel.from_iterate(X, state.current, config, targets).raw(X)
        torch.testing.assert_close(targets.encode(Y) - fitted, 0.2 * state.current.alpha)


def test_modular_addition_is_understood_long_after_it_is_memorised():
    p = 31
    a, b = (grid.ravel() for grid in torch.meshgrid(torch.arange(p), torch.arange(p), indexing="ij"))
    X = torch.cat([torch.nn.functional.one_hot(part, p) for part in (a, b)], 1).double()
    codes = (a + b) % p
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(0))
    seen, unseen = order[: int(0.6 * p * p)], order[int(0.6 * p * p) :]
    config = FitConfig(kernel="gaussian", bandwidth=2.5, ridge=0.0, precision="float64", iterations=40)
    states = list(iterate(X[seen], codes[seen], ClassTargets(p), config, validation=(X[unseen], codes[unseen])))
    assert all(state.current.metrics["train_accuracy"] == 1 for state in states)
    accuracy = [state.current.metrics["validation_accuracy"] for state in states]
    assert max(accuracy[:10]) < 0.1
    assert accuracy[-1] > 0.99
    # M between the two summands depends on their difference alone
    block = states[-1].current.M[:p, p:]
    diagonals = torch.stack([block[torch.arange(p), (torch.arange(p) + shift) % p] for shift in range(p)])
    assert float(diagonals.var(1).mean()) < 0.02 * float(block.var())


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
