import dataclasses

import pytest
import torch

from worker.engine.blocks.split import grow
from worker.engine.blocks.tree import Tree, assign, projections, weights


def _rows(n=2000, d=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scales = torch.tensor([3.0, 2.0, 1.5, 1.0, 0.5], dtype=torch.float64)
    return torch.randn(n, d, generator=generator, dtype=torch.float64) * scales


@pytest.fixture(scope="module")
def tree():
    return grow(_rows(), torch.eye(5, dtype=torch.float64), leaf_rows=300)[0]


def _leaves_of(tree, row, goes_left, goes_right, node=0):
    """The leaves below a node that a row reaches, by hand."""
    if node < 0:
        return {-1 - node}
    distance = float(projections(row.unsqueeze(0), tree.directions[node : node + 1]))
    left, right = tree.children[node].tolist()
    found = _leaves_of(tree, row, goes_left, goes_right, left) if goes_left(node, distance) else set()
    return found | (_leaves_of(tree, row, goes_left, goes_right, right) if goes_right(node, distance) else set())


def test_every_row_trains_the_leaves_that_its_path_reaches(tree):
    X = _rows(200, seed=1)
    assignment = assign(tree, X)
    by_row = [set() for _ in X]
    for leaf in range(tree.leaves):
        rows = assignment.of(leaf)
        assert torch.equal(rows, rows.sort().values)
        for row in rows.tolist():
            by_row[row].add(leaf)
    for row, leaves in zip(X, by_row, strict=True):
        expected = _leaves_of(tree, row, lambda k, p: p <= tree.upper[k], lambda k, p: p > tree.lower[k])
        assert leaves == expected
        assert leaves
    assert max(map(len, by_row)) > 1


def test_without_overlap_every_row_has_one_leaf(tree):
    rows = assign(tree, _rows(), overlap=False).rows
    assert torch.equal(rows.sort().values, torch.arange(2000))


def _brute_weights(tree, row, temperature):
    """Weights of all leaves, by hand."""

    def below(node, weight):
        if node < 0:
            return {-1 - node: weight}
        distance = float(row @ tree.directions[node] - tree.thresholds[node]) / float(tree.spreads[node])
        if temperature == 0:
            right = float(distance > 0)
        else:
            t = (min(max(distance / temperature, -1), 1) + 1) / 2
            right = t * t * (3 - 2 * t)
        left_child, right_child = tree.children[node].tolist()
        return below(left_child, weight * (1 - right)) | below(right_child, weight * right)

    ordered = sorted(below(0, 1.0).items(), key=lambda item: -item[1])[:3]
    kept = {leaf: weight for place, (leaf, weight) in enumerate(ordered) if place == 0 or weight >= 0.02}
    return {leaf: weight / sum(kept.values()) for leaf, weight in kept.items()}


@pytest.mark.parametrize("temperature", [0.0, 0.1, 1.5])
def test_weights_are_products_of_soft_cuts_the_three_largest_and_sum_to_1(tree, temperature):
    X = _rows(300, seed=2)
    leaves, found = weights(tree, X, temperature)
    assert leaves.shape == found.shape == (300, 3)
    torch.testing.assert_close(found.sum(1), torch.ones(300, dtype=torch.float64))
    for row, own, shares in zip(X, leaves, found, strict=True):
        by_leaf = {leaf: share for leaf, share in zip(own.tolist(), shares.tolist(), strict=True) if share > 0}
        assert by_leaf == pytest.approx(_brute_weights(tree, row, temperature))


def test_temperature_0_is_the_rows_own_leaf(tree):
    X = _rows()
    leaves, found = weights(tree, X, 0.0)
    assignment = assign(tree, X, overlap=False)
    for leaf in range(tree.leaves):
        assert bool((leaves[assignment.of(leaf), 0] == leaf).all())
    assert torch.equal(found[:, 0], torch.ones(2000, dtype=torch.float64))


def test_weights_and_leaves_of_a_row_are_the_same_bits_beside_any_rows(tree):
    X = _rows(101, seed=3)
    leaves, found = weights(tree, X, 0.3)
    for size in (1, 7, 50):
        parts = [weights(tree, part, 0.3) for part in torch.split(X, size)]
        assert torch.equal(torch.cat([part[0] for part in parts]), leaves)
        assert torch.equal(torch.cat([part[1] for part in parts]), found)


def test_a_row_that_has_no_place_has_no_weights(tree):
    X = _rows(3)
    X[1, 0] = torch.nan
    _, found = weights(tree, X, 0.3)
    assert bool(found[1].isnan().all())
    assert torch.equal(found[[0, 2]], weights(tree, X[[0, 2]], 0.3)[1])


def test_a_deep_tree_costs_a_row_its_path_and_not_all_leaves(tree):
    """A chain of 3,000 cuts, of which a row passes few."""
    chain = Tree.single_leaf(1)
    one = torch.ones(1, dtype=torch.float64)
    for place in range(3000):
        chain = chain.with_cut(0, one, -float(place), -float(place), -float(place), 0.1)
    X = torch.tensor([[5.0], [-10.5], [-2000.5]], dtype=torch.float64)
    leaves, found = weights(chain, X, 0.2)
    assert torch.equal(found[:, 0], torch.ones(3, dtype=torch.float64))
    assert leaves[:, 0].tolist() == [1, 12, 2002]
    assignment = assign(chain, X, overlap=False)
    assert [assignment.of(leaf).tolist() for leaf in leaves[:, 0].tolist()] == [[0], [1], [2]]


def test_a_tree_without_cuts_is_one_leaf_for_all_rows():
    tree = Tree.single_leaf(5)
    X = _rows(10)
    assert assign(tree, X).of(0).tolist() == list(range(10))
    leaves, found = weights(tree, X, 0.1)
    assert torch.equal(leaves, torch.zeros(10, 1, dtype=torch.int64))
    assert torch.equal(found, torch.ones(10, 1, dtype=torch.float64))


def test_a_tree_is_its_tensors_and_tensors_that_are_none_are_refused(tree):
    tensors = tree.to_tensors()
    again = Tree.from_tensors(tensors)
    for field in dataclasses.fields(Tree):
        assert torch.equal(getattr(again, field.name), getattr(tree, field.name))
    with pytest.raises(ValueError, match="go together"):
        Tree.from_tensors({**tensors, "lower": tensors["lower"][:-1]})
    children = tensors["children"].clone()
    children[0, 0] = children[0, 1]
    with pytest.raises(ValueError, match="not those of a tree"):
        Tree.from_tensors({**tensors, "children": children})
    with pytest.raises(KeyError):
        Tree.from_tensors({name: tensors[name] for name in tensors if name != "upper"})


@pytest.mark.parametrize("leaf_rows", [300, 10**6])
def test_no_rows_have_no_weights(leaf_rows):
    tree, _ = grow(_rows(), torch.eye(5, dtype=torch.float64), leaf_rows)
    answering, shares = weights(tree, torch.zeros(0, 5, dtype=torch.float64), 0.2)
    assert answering.shape == shares.shape == (0, min(3, tree.leaves))
