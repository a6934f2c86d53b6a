import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss

from worker.engine.errors import NonFiniteValues
from worker.engine.targets import ClassTargets, RegressionTargets, on_simplex

scores = st.lists(st.lists(st.floats(-5, 5, allow_nan=False), min_size=3, max_size=3), min_size=1, max_size=6).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


@given(scores)
def test_probabilities_sum_to_one_are_positive_and_agree_with_the_class(F):
    targets = ClassTargets(3)
    P = targets.probabilities(F)
    torch.testing.assert_close(P.sum(1), torch.ones(len(F), dtype=torch.float64))
    assert bool((P > 0).all())
    chosen = P.gather(1, targets.decode(F).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(chosen, P.max(1).values)


@given(scores)
def test_simplex_projection_is_nearer_than_any_other_point(F):
    projected = on_simplex(F)
    corners = torch.eye(3, dtype=torch.float64)
    for weight in (1e-3, 0.5, 1.0):
        for corner in corners:
            other = (1 - weight) * projected + weight * corner
            assert bool(((F - projected).norm(dim=1) <= (F - other).norm(dim=1) + 1e-12).all())


def test_regression_codes_back_to_original_units():
    Y = torch.tensor([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]], dtype=torch.float64)
    targets = RegressionTargets.fit(Y)
    encoded = targets.encode(Y)
    torch.testing.assert_close(encoded.mean(0), torch.zeros(2, dtype=torch.float64))
    torch.testing.assert_close(encoded[:, 0].std(correction=0), torch.tensor(1.0, dtype=torch.float64))
    torch.testing.assert_close(targets.decode(encoded), Y)


@pytest.mark.parametrize("unit", [1e150, 1e-150, 1e-300])
def test_a_change_of_unit_changes_no_answer_and_no_metric(unit):
    Y = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    F = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets, changed = RegressionTargets.fit(Y), RegressionTargets.fit(Y * unit)
    torch.testing.assert_close(changed.encode(Y * unit), targets.encode(Y))
    torch.testing.assert_close(changed.decode(F) / unit, targets.decode(F))
    ours, theirs = changed.metrics(F, Y * unit), targets.metrics(F, Y)
    assert ours["rmse"] / unit == pytest.approx(theirs["rmse"])
    assert ours["r2"] == pytest.approx(theirs["r2"])


@pytest.mark.parametrize(
    ("Y", "reason"),
    [
        ([1e160, -1e160], "sum of their squares is beyond all numbers"),
        ([1.0, 1e200], "the largest is 1e\\+200"),
        ([0.0, 5e-324], "differ by less than 2.2"),
    ],
)
def test_targets_that_cannot_be_computed_with_are_refused(Y, reason):
    with pytest.raises(NonFiniteValues, match=reason):
        RegressionTargets.fit(torch.tensor(Y, dtype=torch.float64).unsqueeze(1))


@pytest.mark.parametrize("largest", [3.0, 1e8, 1e17, 1e61, 1e300])
def test_scores_of_any_size_have_probabilities(largest):
    F = torch.tensor([[largest, -largest, 0.0], [-largest, -2 * largest, -largest]], dtype=torch.float64)
    P = on_simplex(F)
    torch.testing.assert_close(P, torch.tensor([[1.0, 0.0, 0.0], [0.5, 0.0, 0.5]], dtype=torch.float64))


def test_scores_that_are_no_numbers_have_none():
    F = torch.tensor([[torch.nan, 0.0], [torch.inf, 0.0], [1.0, 0.0]], dtype=torch.float64)
    assert torch.isnan(on_simplex(F)).all(1).tolist() == [True, True, False]


def test_errors_beyond_all_numbers_are_named():
    targets = RegressionTargets.fit(torch.tensor([[0.0], [2.0]], dtype=torch.float64))
    with pytest.raises(NonFiniteValues, match="so far from the targets"):
        targets.metrics(torch.tensor([[1e200], [0.0]]).double(), torch.tensor([[0.0], [2.0]]).double())


def test_regression_metrics_are_in_original_units():
    Y = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    targets = RegressionTargets.fit(Y)
    found = targets.metrics(targets.encode(torch.tensor([[1.0], [3.0]], dtype=torch.float64)), Y)
    assert found == {"rmse": 1.0, "r2": 0.0}


frequencies = st.lists(st.floats(0.01, 1), min_size=3, max_size=3).map(
    lambda values: torch.tensor(values, dtype=torch.float64) / sum(values)
)


@given(scores, frequencies)
def test_centred_probabilities_sum_to_one_are_positive_and_agree_with_the_class(F, shares):
    targets = ClassTargets(3, shares)
    P = targets.probabilities(F)
    torch.testing.assert_close(P.sum(1), torch.ones(len(F), dtype=torch.float64))
    assert bool((P > 0).all())
    chosen = P.gather(1, targets.decode(F).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(chosen, P.max(1).values)


def test_a_score_of_nothing_is_answered_by_how_frequent_each_class_is():
    codes = torch.tensor([0, 1, 1, 1, 2, 2, 1, 1])
    targets = ClassTargets.fit(codes, 3)
    expected = torch.tensor([[1, 5, 2]], dtype=torch.float64) / 8
    torch.testing.assert_close(targets.probabilities(torch.zeros(1, 3)), 0.999 * expected + 0.001 / 3)
    torch.testing.assert_close(targets.encode(codes).mean(0), torch.zeros(3, dtype=torch.float64))
    assert torch.equal(targets.decode(targets.encode(codes)), codes)


@pytest.mark.parametrize("c", [2, 3, 5])
def test_the_brier_score_is_that_of_the_probabilities(c):
    generator = torch.Generator().manual_seed(c)
    codes = torch.randint(c, (50,), generator=generator)
    # scores far outside of the simplex: their own squared error is another
    F = 3 * torch.randn(50, c, generator=generator, dtype=torch.float64)
    targets = ClassTargets.fit(codes, c)
    P = targets.probabilities(F).numpy()
    expected = (
        brier_score_loss(codes.numpy(), P[:, 1])
        if c == 2
        else float(((P - np.eye(c)[codes.numpy()]) ** 2).sum(1).mean())
    )
    assert targets.metrics(F, codes)["brier"] == pytest.approx(expected)
    assert targets.loss(F, codes) == (targets.metrics(F, codes)["brier"],)
