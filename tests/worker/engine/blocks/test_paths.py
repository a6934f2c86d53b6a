import pytest
import torch

from worker.engine.blocks.paths import Paths
from worker.engine.blocks.split import grow
from worker.engine.blocks.tree import Tree, assign


def _tree(leaf_rows):
    X = torch.randn(1200, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return grow(X, torch.eye(4, dtype=torch.float64), leaf_rows)[0], X


@pytest.mark.parametrize("leaf_rows", [2000, 700, 90])
def test_exactly_the_rows_that_take_all_steps_to_a_leaf_lie_in_it(leaf_rows):
    tree, X = _tree(leaf_rows)
    assignment, paths = assign(tree, X, overlap=False), Paths.of(tree)
    for leaf in range(tree.leaves):
        inside = torch.ones(len(X), dtype=torch.bool)
        for cut, right in paths.to(leaf):
            inside &= (X @ tree.directions[cut] > tree.thresholds[cut]) == right
        assert torch.equal(inside.nonzero().squeeze(1), assignment.of(leaf))


def test_leaves_are_ordered_by_their_paths_and_counted_below_each_cut():
    tree, _ = _tree(90)
    paths = Paths.of(tree)
    assert sorted(paths.order) == list(range(tree.leaves))
    sides = [[right for _, right in paths.to(leaf)] for leaf in paths.order]
    assert sides == sorted(sides)
    for cut in range(tree.leaves - 1):
        assert paths.counts[cut] == sum(cut in dict(paths.to(leaf)) for leaf in range(tree.leaves))


def test_a_tree_as_deep_as_it_has_leaves_is_walked():
    tree = Tree.single_leaf(1)
    for depth in range(3000):
        tree = tree.with_cut(depth, torch.ones(1, dtype=torch.float64), float(depth), depth, depth, 1.0)
    paths = Paths.of(tree)
    assert paths.order == tuple(range(3001))
    assert paths.to(3000) == [(cut, True) for cut in range(3000)]
    assert paths.to(0) == [(0, False)]
    assert paths.counts[:2] == (3001, 3000)
