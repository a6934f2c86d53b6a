"""A row with a whole number as its weight counts as so many copies of it, in every figure and every iteration."""

from dataclasses import replace

import pytest
import torch

from worker.engine.choice import Candidate, successive_halving
from worker.engine.config import FitConfig
from worker.engine.errors import InvalidConfig
from worker.engine.kernels import KERNELS
from worker.engine.model import FittedModel
from worker.engine.recursion import iterate, refit, verified
from worker.engine.targets import ClassTargets, RegressionTargets
from worker.engine.weights import RowWeights, weighted_mean, weighted_median

SAME = {"rtol": 1e-8, "atol": 1e-9}
CONFIG = FitConfig(precision="float64", iterations=2, exponent=1.3, ridge=0.1)


def _problem(n=30, d=4, m=12, classes=0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X, V = (torch.randn(size, d, generator=generator, dtype=torch.float64) for size in (n, m))
    weights, held = (torch.randint(1, 5, (size,), generator=generator) for size in (n, m))
    outputs = [torch.stack([Z[:, 0] ** 2 + Z[:, 1], (Z[:, 2] * 2).sin()], 1) for Z in (X, V)]
    if classes:
        outputs = [torch.bucketize(Y[:, 0].contiguous(), torch.linspace(0.3, 2, classes - 1).double()) for Y in outputs]
    return X, outputs[0], weights, V, outputs[1], held


def _copies(X, Y, weights, seed=1):
    """Return so many copies of every row, in another order."""
    rows = torch.repeat_interleave(torch.arange(len(X)), weights)
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
    return X[rows], Y[rows], rows


def _targets(Y, weights=None):
    w = None if weights is None else weights.double()
    return RegressionTargets.fit(Y, w) if Y.ndim == 2 else ClassTargets.fit(Y, int(Y.max()) + 1, w)


def _compare(config, *, validate, classes=0, **sizes):
    X, Y, weights, V, held_Y, held = _problem(classes=classes, **sizes)
    copies, copied_Y, rows = _copies(X, Y, weights)
    V_copies, V_Y, _ = _copies(V, held_Y, held)
    targets, of_copies = _targets(Y, weights), _targets(copied_Y)
    row_weights = RowWeights(weights.double(), held.double() if validate else None)
    weighted = list(iterate(X, Y, targets, config, validation=(V, held_Y) if validate else None, weights=row_weights))
    copied = list(iterate(copies, copied_Y, of_copies, config, validation=(V_copies, V_Y) if validate else None))
    assert len(weighted) == len(copied) > 1
    for one, other in zip(weighted, copied, strict=True):
        assert one.current.ridge == other.current.ridge
        assert one.best.iteration == other.best.iteration
        lengths = [state.current.bandwidth or 0.0 for state in (one, other)]
        assert lengths[0] == pytest.approx(lengths[1], rel=1e-8)
        torch.testing.assert_close(one.current.M, other.current.M, **SAME)
        assert one.current.metrics == pytest.approx(other.current.metrics, rel=1e-8, abs=1e-10)
        assert one.current.loss == (None if other.current.loss is None else pytest.approx(other.current.loss, rel=1e-8))
        together = torch.zeros_like(one.current.alpha).index_add_(0, rows, other.current.alpha)
        torch.testing.assert_close(one.current.alpha, together, **SAME)
    of_weights = FittedModel.from_iterate(X, weighted[-1].best, config, targets)
    alone = FittedModel.from_iterate(copies, copied[-1].best, config, of_copies)
    torch.testing.assert_close(of_weights.raw(V), alone.raw(V), **SAME)


@pytest.mark.parametrize("validate", [False, True])
@pytest.mark.parametrize("feature_matrix", ["full", "diagonal"])
@pytest.mark.parametrize(
    "update",
    [
        {"update": "fact"},
        {"update": "fact", "geometric_average": True},
        {"update": "nfa"},
        {"update": "nfa", "center_gradients": True, "agop_power": 0.5},
    ],
)
def test_iterations_are_those_of_copies(update, feature_matrix, validate):
    _compare(replace(CONFIG, feature_matrix=feature_matrix, **update), validate=validate)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("update", ["fact", "nfa"])
def test_so_they_are_with_every_kernel(kernel, update):
    _compare(replace(CONFIG, kernel=kernel, exponent=None, update=update), validate=True)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("validate", [False, True])
def test_so_they_are_for_classes_and_the_ridge_that_is_chosen(classes, validate):
    _compare(replace(CONFIG, ridge="auto"), validate=validate, classes=classes)


@pytest.mark.parametrize(("update", "columns"), [("nfa", 16), ("nfa", 64), ("fact", 64)])
def test_so_they_are_where_there_are_fewer_rows_than_columns(update, columns):
    # of 16 columns there are more copies, which take the other way to M; FACT's loses half of its digits there
    config = replace(CONFIG, update=update, center_gradients=update == "nfa", iterations=1)
    _compare(config, validate=True, n=12, d=columns)


def test_the_last_solve_of_all_rows_and_its_check_are_those_of_copies():
    X, Y, weights, V, _, _ = _problem()
    copies, copied_Y, _ = _copies(X, Y, weights)
    targets = _targets(Y, weights)
    *_, last = iterate(X, Y, targets, CONFIG, weights=RowWeights(weights.double()))
    own, other = (
        refit(rows, outputs, targets, CONFIG, last.best, w)
        for rows, outputs, w in [(X, Y, RowWeights(weights.double())), (copies, copied_Y, None)]
    )
    answers = [
        FittedModel.from_iterate(rows, solved, CONFIG, targets).raw(V) for rows, solved in [(X, own), (copies, other)]
    ]
    torch.testing.assert_close(*answers, **SAME)
    assert verified(X, Y, targets, CONFIG, last.best, RowWeights(weights.double())) is last.best


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.7])
def test_weights_that_are_all_alike_are_another_ridge(factor):
    X, Y, *_ = _problem()
    targets = _targets(Y)
    config = replace(CONFIG, iterations=0, bandwidth=2.0)
    alike = RowWeights(torch.full((len(X),), factor).double())
    [weighted] = iterate(X, Y, targets, replace(config, ridge=0.1 * factor), weights=alike)
    [plain] = iterate(X, Y, targets, config)
    torch.testing.assert_close(weighted.current.alpha, plain.current.alpha, **SAME)


def test_of_a_weight_up_to_1_the_whole_row_is_left_out():
    X, Y, _, _, _, _ = _problem(n=12)
    weights = torch.linspace(0.1, 1.0, len(X)).double()
    targets = RegressionTargets.fit(Y)
    config = replace(CONFIG, iterations=1, update="fact", bandwidth=2.0)
    first = next(iterate(X, Y, targets, config, weights=RowWeights(weights)))
    misses = []
    for row in range(len(X)):
        others = torch.arange(len(X)) != row
        solved = next(iterate(X[others], Y[others], targets, config, weights=RowWeights(weights[others]))).current
        answer = FittedModel.from_iterate(X[others], solved, config, targets).raw(X[row : row + 1])
        misses.append((answer - targets.encode(Y[row : row + 1])).square())
    expected = weighted_mean(torch.cat(misses), weights).mean()
    assert first.current.loss == pytest.approx((float(expected),), rel=1e-8)


def test_short_runs_that_choose_are_weighted():
    X, Y, weights, V, held_Y, held = _problem(60)
    candidates = [Candidate("plain", replace(CONFIG, ridge="auto", update=update)) for update in ("fact", "nfa")]
    runs = [
        list(successive_halving({"plain": X}, Y, _targets(Y), candidates, validation=({"plain": V}, held_Y), weights=w))
        for w in (None, RowWeights(torch.ones(60).double()), RowWeights(weights.double(), held.double()))
    ]
    losses = [[run.loss[0] for run in ended] for ended in runs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    assert losses[1] != pytest.approx(losses[2], rel=1e-3)


def test_conjugate_gradients_take_no_weights():
    X, Y, weights, _, _, _ = _problem()
    with pytest.raises(InvalidConfig, match="solver 'cg' takes no weights of rows; use solver 'cholesky'"):
        next(iterate(X, Y, _targets(Y), replace(CONFIG, solver="cg"), weights=RowWeights(weights.double())))


@pytest.mark.parametrize("n", [1, 2, 7, 30])
def test_the_median_is_the_lower_one_of_copies(n):
    generator = torch.Generator().manual_seed(n)
    values, weights = torch.randn(n, generator=generator), torch.randint(1, 9, (n,), generator=generator)
    assert weighted_median(values, weights) == torch.repeat_interleave(values, weights).median()
