import torch
from hypothesis import given
from hypothesis import strategies as st

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


def test_regression_metrics_are_in_original_units():
    Y = torch.tensor([[0.0], [2.0]], dtype=torch.float64)
    targets = RegressionTargets.fit(Y)
    found = targets.metrics(targets.encode(torch.tensor([[1.0], [3.0]], dtype=torch.float64)), Y)
    assert found == {"rmse": 1.0, "r2": 0.0}
