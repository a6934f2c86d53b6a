import dataclasses

import pytest
import torch
from support import naive

from worker.engine.blocks.learn import (
    BlockResult,
    around_ridges,
    block_feature_sum,
    mean_loss,
    next_metric,
)
from worker.engine.config import FitConfig
from worker.engine.errors import NonFiniteValues
from worker.engine.targets import RegressionTargets

CONFIG = FitConfig(bandwidth=1.7, precision="float64", ridge=0.1)


def _rows(n=24, d=4):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return X, torch.stack([X[:, 0] * X[:, 1], X[:, 2].sin()], 1)


def _dense(X, M, kernel, L):
    return torch.stack([torch.stack([naive.kernel_value(x, z, M, kernel, L) for z in X]) for x in X])


def test_the_statistic_of_a_block_is_fact_by_its_definition(M):
    X, Y = _rows()
    targets = RegressionTargets.fit(Y)
    result = block_feature_sum(X, Y, targets, CONFIG, M, seed=0)
    kernel = CONFIG.kernel_function
    K = _dense(X, M, kernel, 1.7)
    alpha = torch.linalg.solve(K + 0.1 * torch.eye(len(X)), targets.encode(Y))
    F = torch.einsum("icd,ic,ie->de", naive.jacobians(X, M, alpha, kernel, 1.7), alpha, X)
    torch.testing.assert_close(result.feature, F.diagonal() if M.ndim == 1 else F)
    assert (result.ridge, result.bandwidth, result.rows) == (0.1, 1.7, len(X))


def test_the_statistic_of_update_nfa_is_agop_by_its_definition(M):
    X, Y = _rows()
    targets = RegressionTargets.fit(Y)
    config = dataclasses.replace(CONFIG, update="nfa", agop_power=0.5)
    kernel = config.kernel_function
    alpha = torch.linalg.solve(_dense(X, M, kernel, 1.7) + 0.1 * torch.eye(len(X)), targets.encode(Y))
    J = naive.jacobians(X, M, alpha, kernel, 1.7)
    expected = torch.einsum("icd,ice->de", J, J) / len(X)
    found = block_feature_sum(X, Y, targets, config, M, seed=0).feature
    torch.testing.assert_close(found, expected.diagonal() if M.ndim == 1 else expected)


def test_the_ridge_of_a_block_is_that_with_the_least_error_of_rows_left_out():
    X, Y = _rows(40)
    targets = RegressionTargets.fit(Y)
    M = torch.eye(4, dtype=torch.float64)
    config = dataclasses.replace(CONFIG, ridge="auto")
    result = block_feature_sum(X, Y, targets, config, M, seed=0)
    K, encoded = _dense(X, M, config.kernel_function, 1.7), targets.encode(Y)
    losses = []
    for ridge in config.ridges:
        misses = []
        for left_out in range(len(X)):
            kept = torch.arange(len(X)) != left_out
            system = K[kept][:, kept] + ridge * torch.eye(len(X) - 1)
            misses.append(encoded[left_out] - K[left_out, kept] @ torch.linalg.solve(system, encoded[kept]))
        losses.append(float(torch.stack(misses).square().mean()))
    assert result.ridge == config.ridges[losses.index(min(losses))]
    assert result.loss == pytest.approx((min(losses),))


@pytest.mark.parametrize(
    ("config", "power"),
    [
        (CONFIG, lambda F, M: F @ F.T),
        (dataclasses.replace(CONFIG, geometric_average=True), lambda F, M: F @ M @ M @ F.T),
        (dataclasses.replace(CONFIG, update="nfa", agop_power=2.0), lambda F, M: F),
    ],
    ids=["fact", "geometric", "nfa"],
)
def test_the_next_metric_is_the_power_of_the_mean_with_trace_d(config, power):
    generator = torch.Generator().manual_seed(1)
    roots = torch.randn(3, 4, 4, generator=generator, dtype=torch.float64)
    statistics = roots if config.update == "fact" else roots @ roots.mT
    M = torch.diag(torch.tensor([1.0, 2.0, 0.5, 0.5], dtype=torch.float64))
    found = next_metric([BlockResult(F, (1.0,), 0.1, 1.7, 5) for F in statistics], M, config)
    assert float(found.trace()) == pytest.approx(4)
    raised = power(statistics.mean(0), M)
    exponent = {"fact": 4 if config.geometric_average else 2, "nfa": 0.5}[config.update]
    back = torch.linalg.matrix_power(found, exponent) if exponent > 1 else None
    if back is None:
        values, vectors = torch.linalg.eigh(found)
        back = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    torch.testing.assert_close(back / back.norm(), raised / raised.norm())


def test_results_are_the_same_bits_whoever_computed_them_in_whatever_order():
    X, Y = _rows(90)
    targets = RegressionTargets.fit(Y)
    M = torch.eye(4, dtype=torch.float64)
    config = FitConfig()
    blocks = [slice(0, 30), slice(30, 60), slice(60, 90)]

    def results(order):
        found = {k: block_feature_sum(X[blocks[k]], Y[blocks[k]], targets, config, M, seed=k) for k in order}
        return [found[k] for k in range(3)]

    first, second = results([0, 1, 2]), results([2, 0, 1])
    assert torch.equal(next_metric(first, M, config), next_metric(second, M, config))
    assert mean_loss(first) == mean_loss(second)


def test_blocks_that_say_nothing_give_no_metric_and_too_much_is_refused():
    M = torch.eye(2, dtype=torch.float64)
    silent = BlockResult(torch.zeros(2, 2, dtype=torch.float64), (1.0,), 0.1, 1.0, 5)
    assert next_metric([silent, silent], M, CONFIG) is None
    huge = dataclasses.replace(silent, feature=torch.full((2,), torch.inf, dtype=torch.float64))
    with pytest.raises(NonFiniteValues):
        next_metric([huge], torch.ones(2, dtype=torch.float64), CONFIG)


def test_the_next_round_tries_what_was_chosen_and_its_neighbours():
    chosen = [0.1, 0.01]
    assert around_ridges(chosen, FitConfig()).ridges == (1e-3, 1e-2, 0.1, 1.0)
    assert around_ridges(chosen[:1], FitConfig()).ridges == (1e-2, 0.1, 1.0)
    fixed = FitConfig(ridge=0.3)
    assert around_ridges(chosen, fixed) == fixed


def test_a_block_that_float32_cannot_solve_is_solved_in_float64():
    X = torch.cat([_rows(30)[0]] * 2)
    Y = X[:, :1]
    config = FitConfig(bandwidth=1e4, ridge=1e-3, kernel="gaussian", iterations=1)
    result = block_feature_sum(X, Y, RegressionTargets.fit(Y), config, torch.eye(4, dtype=torch.float64), seed=0)
    assert bool(torch.isfinite(result.feature).all())
