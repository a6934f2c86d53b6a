import pytest
import torch

from worker.engine.blocks.split import cut_rows, find_cut, grow, leading_directions
from worker.engine.blocks.tree import Tree, assign, projections

ALONG = torch.ones(1, dtype=torch.float64)


def _rows(n=3000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scales = torch.tensor([3.0, 2.0, 1.5, 1.0, 0.5], dtype=torch.float64)
    return torch.randn(n, 5, generator=generator, dtype=torch.float64) * scales + 4


@pytest.fixture(params=["full", "diagonal"])
def metric(request):
    W = torch.randn(5, 5, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    return W.T @ W if request.param == "full" else torch.tensor([1.0, 3.0, 0.2, 1.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.4])
def test_leaves_hold_every_row_and_no_more_rows_than_they_may(metric, overlap):
    X = _rows()
    tree, rows_of = grow(X, metric, leaf_rows=300, overlap=overlap)
    assignment = assign(tree, X)
    assert [rows.tolist() for rows in rows_of] == [assignment.of(leaf).tolist() for leaf in range(tree.leaves)]
    assert tree.leaves >= 10
    assert int(assignment.counts.max()) <= 300
    assert set(assignment.rows.tolist()) == set(range(3000))
    extra = len(assignment.rows) / 3000 - 1
    assert (extra == 0) if overlap == 0 else (extra > overlap)


def test_a_tree_of_two_levels_is_that_of_its_first_cut_and_the_subtrees_of_its_sides(metric):
    X = _rows()
    cut, values = cut_rows(X, metric, 0.1)
    assert torch.equal(values, projections(X, cut.direction.unsqueeze(0)).squeeze(1))
    first = Tree.single_leaf(5).with_cut(0, cut.direction, cut.threshold, cut.lower, cut.upper, cut.spread)
    sides = [X[assign(first, X).of(leaf)] for leaf in (0, 1)]
    left, right = (grow(rows, metric, 300)[0] for rows in sides)
    joined = first.with_subtree(0, left).with_subtree(1, right)
    assert Tree.from_tensors(joined.to_tensors()).leaves == left.leaves + right.leaves
    whole, _ = grow(X, metric, 300)
    leaves_of = [sorted(assign(tree, X).of(leaf).tolist() for leaf in range(tree.leaves)) for tree in (joined, whole)]
    assert leaves_of[0] == leaves_of[1]
    # leaf 0 of a subtree keeps the leaf's number, the others follow the last one
    numbers = [0, *range(2, left.leaves + 1)]
    for own, number in enumerate(numbers):
        assert torch.equal(X[assign(joined, X).of(number)], sides[0][assign(left, sides[0]).of(own)])


def test_directions_are_principal_components_of_the_rows_as_the_metric_sees_them(metric):
    X = _rows()
    full = torch.diag(metric) if metric.ndim == 1 else metric
    values, vectors = torch.linalg.eigh(full)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    seen = (X - X.mean(0)) @ root
    direction = leading_directions(X, metric)[0]
    along = (X - X.mean(0)) @ direction
    torch.testing.assert_close(along.square().sum(), torch.linalg.svdvals(seen)[0] ** 2)


def test_a_cut_halves_the_rows_and_a_tenth_of_them_trains_both_sides():
    values = torch.randn(1001, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cut = find_cut(values, ALONG, 0.1)
    assert int((values <= cut.threshold).sum()) in (500, 501)
    assert int(((values > cut.lower) & (values <= cut.upper)).sum()) == 100
    assert cut.spread == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("zeros", [1, 600, 990])
def test_rows_of_one_value_stay_together(zeros):
    values = torch.cat([torch.zeros(zeros), torch.arange(1.0, 1001 - zeros)]).double()
    cut = find_cut(values, ALONG, 0.1)
    assert 0 < int((values <= cut.threshold).sum()) < 1000
    assert cut.spread > 0
    for bound in (cut.lower, cut.upper, cut.threshold):
        assert len({bool(value <= bound) for value in values[:zeros].tolist()}) == 1
    assert cut.lower <= cut.threshold <= cut.upper
    assert find_cut(torch.ones(10, dtype=torch.float64), ALONG, 0.1) is None


def test_few_far_rows_do_not_make_both_sides_as_large_as_the_node():
    X = _rows()
    X[:3] *= 1e6
    tree, _ = grow(X, torch.eye(5, dtype=torch.float64), 300)
    assert int(assign(tree, X).counts.max()) <= 300


def test_a_column_of_two_values_does_not_stop_the_cuts_and_equal_rows_do():
    X = _rows()
    X[:, 0] = 100.0 * (torch.arange(3000) % 2)
    tree, _ = grow(X, torch.eye(5, dtype=torch.float64), 300)
    assert int(assign(tree, X).counts.max()) <= 300
    assert grow(torch.ones(500, 5, dtype=torch.float64), torch.eye(5, dtype=torch.float64), 300)[0].leaves == 1


def test_many_equal_rows_do_not_multiply_the_leaves():
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(3000, 3, generator=generator, dtype=torch.float64)
    X[torch.randperm(3000, generator=generator)[:1800]] = 0.3
    tree, _ = grow(X, torch.eye(3, dtype=torch.float64), 250)
    assert tree.leaves <= 20
