"""A leaf map against the tree itself: rules hold of the rows of their leaf, shares and words of what moves rows."""

import dataclasses
import functools

import numpy as np
import pyarrow as pa
import pytest
import torch

from worker.contracts.errors import Conflict, InvalidRequest
from worker.contracts.resources import ModelColumn
from worker.engine.blocks.answers import MachineList
from worker.engine.blocks.fit import fit_blocks
from worker.engine.blocks.tree import Tree, assign
from worker.engine.config import FitConfig
from worker.engine.targets import ClassTargets, RegressionTargets
from worker.serving.leaf_map import MAX_COLUMNS, MAX_WEIGHTS, first_cuts, leaf_page
from worker.serving.model import ServedModel
from worker.tables.encoding.encoder import Encoder

pytestmark = pytest.mark.usefixtures("few_threads")

FEATURES = [
    ModelColumn(name="age", type="numeric"),
    ModelColumn(name="income", type="numeric"),
    ModelColumn(name="city", type="categorical"),
    ModelColumn(name="member", type="boolean"),
]
CITIES = ["Bern", "Basel", "Chur", "Visp", "Thun"]


def _table(n=500):
    generator = np.random.default_rng(0)
    age, income = generator.gamma(4, 10, n), generator.lognormal(8, 0.4, n)
    return pa.table(
        {
            "age": pa.array(age, mask=generator.random(n) < 0.2),
            "income": income,
            "city": generator.choice(CITIES, n),
            "member": generator.random(n) < 0.4,
            "y": 100 * np.sin(age / 10) + income / 100,
        }
    )


@functools.cache
def _served(expanded, classes=False, **sizes):
    table = _table()
    encoder = Encoder.fit(table, FEATURES, standardize=True, normalize_rows=False, expanded=expanded)
    X = torch.from_numpy(encoder.encode(table))
    Y = torch.from_numpy(table["y"].to_numpy().copy())[:, None]
    if classes:
        Y = (Y[:, 0] > Y.median()).long()
    targets = ClassTargets.fit(Y, 2) if classes else RegressionTargets.fit(Y)
    sizes = {"block_rows": 120, "blocks": 2, "leaf_rows": 70} | sizes
    fitted = fit_blocks(X, Y, targets, FitConfig(iterations=1, ridge=0.1), **sizes)
    task = "classification" if classes else "regression"
    served = ServedModel(encoder, fitted, task, [False, True] if classes else None, FEATURES, [])
    return served, X


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "expanded"])
def served(request):
    return _served(request.param)


def _all(model, limit=7):
    leaves, after = [], None
    while True:
        page = leaf_page(model, limit=limit, after=after)
        assert len(page.items) <= limit
        leaves += page.items
        if page.next is None:
            return leaves
        after = int(page.next)


def test_every_row_satisfies_the_rule_of_its_leaf_and_of_no_other(served):
    model, X = served
    tree = model.fitted.tree
    assignment = assign(tree, X, overlap=False)
    leaves = _all(model)
    assert sorted(leaf.leaf for leaf in leaves) == list(range(tree.leaves))
    for leaf in leaves:
        holds = torch.ones(len(X), dtype=torch.bool)
        for cut in leaf.rule:
            assert cut.threshold == float(tree.thresholds[cut.cut])
            holds &= (X @ tree.directions[cut.cut] <= cut.threshold) == (cut.side == "below")
        assert torch.equal(holds.nonzero().squeeze(1), assignment.of(leaf.leaf))


def test_leaves_have_the_rows_ridge_and_error_of_their_machines(served):
    model, X = served
    counts = assign(model.fitted.tree, X).counts.tolist()
    scale = float(model.fitted.targets.scale)
    for leaf in _all(model):
        loss = model.fitted.losses[leaf.leaf]
        assert (leaf.rows, leaf.ridge) == (counts[leaf.leaf], model.fitted.ridges[leaf.leaf])
        assert leaf.metrics == pytest.approx({"leave_one_out_loss": loss, "leave_one_out_rmse": loss**0.5 * scale})


def test_named_columns_are_those_that_spread_the_rows_of_a_cut_most(served):
    model, X = served
    encoder = model.encoder
    for cut in {cut.cut: cut for leaf in _all(model) for cut in leaf.rule}.values():
        direction = model.fitted.tree.directions[cut.cut]
        spreads = (X * direction).var(0, correction=0).tolist()
        by_column = {column.name: 0.0 for column in FEATURES}
        for source, spread in zip(encoder.sources, spreads, strict=True):
            by_column[source] += spread / sum(spreads)
        ranked = sorted(by_column, key=by_column.get, reverse=True)
        assert [column.feature for column in cut.columns] == ranked[: len(cut.columns)]
        assert [column.share for column in cut.columns] == pytest.approx(
            [by_column[column.feature] for column in cut.columns]
        )
        assert cut.share == pytest.approx(sum(column.share for column in cut.columns))
        assert cut.share >= 0.9 or len(cut.columns) == MAX_COLUMNS
        assert 1 <= len(cut.columns) <= MAX_COLUMNS
        for column in cut.columns:
            assert 1 <= len(column.weights) <= MAX_WEIGHTS
            own = [k for k, source in enumerate(encoder.sources) if source == column.feature]
            own.sort(key=lambda k: -spreads[k])
            for weight, index in zip(column.weights, own, strict=False):
                assert (weight.feature, weight.weight) == (encoder.names[index], float(direction[index]))


def _fake(encoder, direction, variances):
    """A model of two leaves with one cut along ``direction``, a weight by name."""
    model, _ = _served(False, leaf_rows=2000)
    weights = torch.tensor([direction.get(name, 0.0) for name in encoder.names], dtype=torch.float64)
    tree = Tree.single_leaf(len(weights)).with_cut(0, weights, 0.5, 0.4, 0.6, 1.0)
    leaves = MachineList([*model.fitted.leaves] * 2)
    fitted = dataclasses.replace(
        model.fitted,
        tree=tree,
        leaves=leaves,
        ridges=(1.0, 2.0),
        losses=(0.25, 0.5),
        variances=variances,
    )
    return dataclasses.replace(model, encoder=encoder, fitted=fitted)


@pytest.mark.parametrize(
    ("direction", "below", "above"),
    [
        ({"age": 1.0}, "low age", "high age"),
        ({"income": -2.0}, "high income", "low income"),
        ({"age": 1.0, "income": -0.5}, "low age, high income", "high age, low income"),
        ({"age:missing": 1.0}, "age ≠ missing", "age = missing"),
        ({"member": -1.0}, "member = true", "member = false"),
        ({"city=Chur": 1.0, "city=Bern": -0.5}, "city ≠ Chur", "city = Chur"),
        ({"city:other": -1.0}, "city = other", "city ≠ other"),
        # views of a number rise with it: together they say more than the largest of them
        ({"age": -1.0, "age:rank": 0.8, "age:bin3": 0.8}, "low age", "high age"),
        ({}, "", ""),
    ],
)
def test_a_side_is_said_in_the_names_of_columns(direction, below, above):
    encoder = Encoder.fit(_table(), FEATURES, standardize=True, normalize_rows=False, expanded=True)
    model = _fake(encoder, direction, torch.ones(len(encoder.names), dtype=torch.float64))
    low, high = leaf_page(model, limit=10).items
    assert [(cut.side, cut.summary) for cut in (*low.rule, *high.rule)] == [("below", below), ("above", above)]
    assert low.rule[0].share == pytest.approx(1.0 if direction else 0.0)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_shares_of_weights_of_any_size_add_up(size):
    encoder = Encoder.fit(_table(), FEATURES, standardize=True, normalize_rows=False)
    variances = torch.full((len(encoder.names),), size, dtype=torch.float64)
    model = _fake(encoder, {"age": size, "income": size}, variances)
    [leaf, _] = leaf_page(model, limit=10).items
    assert [column.share for column in leaf.rule[0].columns] == pytest.approx([0.5, 0.5])


def test_a_tree_without_cuts_is_one_leaf_without_a_rule():
    model, X = _served(False, leaf_rows=2000)
    page = leaf_page(model, limit=10)
    assert [(leaf.leaf, leaf.rows, leaf.rule) for leaf in page.items] == [(0, len(X), [])]
    assert page.next is None
    assert first_cuts(model, 3) == []


def test_a_classification_has_a_loss_and_no_error_in_a_unit():
    model, _ = _served(False, classes=True)
    assert {name for leaf in _all(model) for name in leaf.metrics} == {"leave_one_out_loss"}


def test_a_page_ends_where_rules_are_long_and_loses_no_leaf(monkeypatch):
    model, _ = _served(False, leaf_rows=2000)
    depth, most = 200, 2000
    monkeypatch.setattr("worker.serving.leaf_map.MAX_CUTS", most)
    tree = Tree.single_leaf(len(model.encoder.names))
    for number in range(depth):
        direction = torch.ones(len(model.encoder.names), dtype=torch.float64)
        tree = tree.with_cut(number, direction, float(number), number, number, 1.0)
    leaves, some = MachineList([*model.fitted.leaves] * (depth + 1)), (1.0,) * (depth + 1)
    model = dataclasses.replace(
        model, fitted=dataclasses.replace(model.fitted, tree=tree, leaves=leaves, ridges=some, losses=some)
    )
    sizes, after = [], None
    while True:
        page = leaf_page(model, limit=200, after=after)
        sizes.append(sum(len(leaf.rule) for leaf in page.items))
        if page.next is None:
            break
        after = int(page.next)
    assert max(sizes) <= most
    assert sum(sizes) == sum(range(1, depth + 1)) + depth
    assert [leaf.leaf for leaf in _all(model, 200)] == list(range(depth + 1))


def test_the_first_cuts_are_those_of_the_rules(served):
    model, _ = served
    rules = {leaf.leaf: [(cut.cut, cut.side) for cut in leaf.rule] for leaf in _all(model)}
    levels = 2

    def walk(branches, before):
        for branch in branches:
            steps = [*before, (branch.cut.cut, branch.cut.side)]
            under = [leaf for leaf, rule in rules.items() if rule[: len(steps)] == steps]
            assert branch.leaves == len(under)
            assert branch.leaf == (under[0] if rules[under[0]] == steps else None)
            assert bool(branch.below) == (branch.leaf is None and len(steps) < levels)
            walk(branch.below, steps)

    found = first_cuts(model, levels)
    assert [branch.cut.side for branch in found] == ["below", "above"]
    walk(found, [])


def test_a_leaf_that_there_is_not_is_named(served):
    model, _ = served
    leaves = model.fitted.tree.leaves
    with pytest.raises(InvalidRequest, match=f"there is no leaf {leaves}: the last one is {leaves - 1}"):
        leaf_page(model, limit=5, after=leaves)


def test_one_kernel_machine_has_no_map(served):
    model, _ = served
    single = dataclasses.replace(model, fitted=model.fitted.leaves[0])
    for asked in (lambda: leaf_page(single, limit=5), lambda: first_cuts(single, 2)):
        with pytest.raises(Conflict, match="fitted by blocks"):
            asked()
