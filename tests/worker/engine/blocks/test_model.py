import json
from dataclasses import replace

import pytest
import torch

from worker.engine.blocks.answers import MachineList
from worker.engine.blocks.fit import fit_blocks
from worker.engine.blocks.machines import Leaf, fit_leaf, fit_machine
from worker.engine.blocks.model import BlocksModel
from worker.engine.blocks.split import grow
from worker.engine.blocks.tree import weights
from worker.engine.config import FitConfig
from worker.engine.errors import DamagedFile, EngineError
from worker.engine.model import from_tensors
from worker.engine.targets import ClassTargets, RegressionTargets


def _problem(classes=False, n=900):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    Y = torch.stack([X[:, 0] * X[:, 1], X[:, 2].sin()], 1)
    raw = (Y.sum(1) > 0).long() if classes else Y
    return X, raw, ClassTargets.fit(raw, 2) if classes else RegressionTargets.fit(Y)


def _fitted(config, classes=False):
    X, raw, targets = _problem(classes)
    held_out = (X[:100], raw[:100])
    return fit_blocks(X[100:], raw[100:], targets, config, 300, 2, 250, validation=held_out), X


@pytest.fixture(
    scope="module",
    params=[
        (FitConfig(iterations=1), False),
        (FitConfig(iterations=1, feature_matrix="diagonal", precision="float64"), True),
        (FitConfig(iterations=1, kernel="quadratic", ridges=(1.0, 10.0)), False),
    ],
    ids=["full", "diagonal", "quadratic"],
)
def fitted(request):
    return _fitted(*request.param)


def test_tensors_and_metadata_make_exactly_the_same_model(fitted):
    model, X = fitted
    tensors, metadata = model.to_tensors()
    again = from_tensors(tensors, json.loads(json.dumps(metadata)))
    assert isinstance(again, BlocksModel)
    assert torch.equal(again.raw(X), model.raw(X))
    assert torch.equal(again.predict(X), model.predict(X))
    assert torch.equal(again.importance(), model.importance())
    assert (again.temperature, again.ridges, again.losses) == (model.temperature, model.ridges, model.losses)
    more, told = again.to_tensors()
    assert told == metadata
    assert all(torch.equal(more[name], tensors[name]) for name in tensors)


def test_a_row_is_answered_with_the_same_bits_in_any_batch(fitted):
    model, X = fitted
    whole = model.raw(X[:150])
    for size in (1, 7, 64):
        assert torch.equal(torch.cat([model.raw(part) for part in torch.split(X[:150], size)]), whole)


def test_answers_are_the_mean_of_the_blocks_and_those_of_the_leaves_by_their_weights(fitted):
    model, X = fitted
    leaves, weight_of = weights(model.tree, X[:80], model.temperature)
    expected = torch.zeros(80, model.targets.n_outputs, dtype=torch.float64)
    for block in model.blocks:
        expected += model.share * block.raw(X[:80]).double() / len(model.blocks)
    for row, (own, weight) in enumerate(zip(leaves.tolist(), weight_of.tolist(), strict=True)):
        for leaf, weight_of_leaf in zip(own, weight, strict=True):
            expected[row] += weight_of_leaf * model.leaves[leaf].raw(X[row : row + 1])[0].double()
    torch.testing.assert_close(model.raw(X[:80]), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_a_row_too_far_for_distances_has_no_answer_with_and_without_blocks(precision):
    model, X = _fitted(FitConfig(iterations=0, precision=precision))
    far = X[:2].clone()
    far[1, 0], far[1, 1] = 1e308, -1e308
    tree = replace(model.tree, directions=torch.ones_like(model.tree.directions) * 1e10)
    for blocks in (model.blocks, MachineList(())):
        answers = replace(model, tree=tree, blocks=blocks, temperature=0.4).raw(far)
        assert torch.isfinite(answers[0]).all()
        assert torch.isnan(answers[1]).all()


def test_blocks_without_a_share_are_left_out():
    X, Y, targets = _problem()
    M = torch.eye(5, dtype=torch.float64)
    tree, _ = grow(X, M, 500)
    base = targets.encode(Y) / 2
    leaves = [fit_leaf(X[k::4], Y[k::4], targets, FitConfig(), M, base=base[k::4]) for k in range(tree.leaves)]
    blocks = [fit_machine(X[:90], Y[:90], targets, FitConfig(), M)] * 2
    for share, kept in ((0.0, 0), (0.5, 2)):
        model = BlocksModel.of(tree, leaves, blocks, share, 0.1, torch.ones(5).double())
        assert len(model.blocks) == kept
        assert len(model.ridges) == tree.leaves + kept
        assert torch.equal(from_tensors(*model.to_tensors()).raw(X), model.raw(X))


def test_a_model_moves_whole():
    model, X = _fitted(FitConfig(iterations=0))
    assert torch.equal(model.to(torch.device("cpu")).raw(X), model.raw(X))


def test_classes_have_probabilities_and_regressions_none():
    model, X = _fitted(FitConfig(iterations=1), classes=True)
    probabilities = model.probabilities(X)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(X), dtype=torch.float64))
    assert torch.equal(probabilities.argmax(1), model.predict(X))
    regression, X = _fitted(FitConfig(iterations=0))
    with pytest.raises(EngineError, match="no probabilities"):
        regression.probabilities(X)


def test_tensors_that_do_not_go_together_are_refused():
    tensors, metadata = _fitted(FitConfig(iterations=0))[0].to_tensors()
    with pytest.raises(DamagedFile, match="format version 9"):
        from_tensors(tensors, {**metadata, "format_version": 9})
    for wrong in (
        {"starts": tensors["starts"][:-1]},
        {"starts": tensors["starts"] + 1},
        {"alpha": tensors["alpha"][:-1]},
        {"tree_children": tensors["tree_children"] * 0},
        {"variances": tensors["variances"][:-1]},
        {"ridges": tensors["ridges"][:-1]},
        {"M": tensors["M"][:-1]},
    ):
        with pytest.raises(DamagedFile):
            from_tensors(tensors | wrong, metadata)


def test_a_machine_in_float64_brings_it_to_all():
    X, Y, targets = _problem()
    M = torch.eye(5, dtype=torch.float64)
    tree, _ = grow(X, M, 500)
    configs = [FitConfig(precision=precision) for precision in ("float64", *["float32"] * 3)]
    machines = [fit_machine(X[k::4], Y[k::4], targets, config, M) for k, config in enumerate(configs)]
    leaves = [Leaf(machine) for machine in machines[: tree.leaves]]
    model = BlocksModel.of(tree, leaves, machines[2:], 1.0, 0.1, torch.ones(5).double())
    assert {part.alpha.dtype for part in (*model.leaves, *model.blocks)} == {torch.float64}
    again = from_tensors(*model.to_tensors())
    assert torch.equal(again.raw(X), model.raw(X))
