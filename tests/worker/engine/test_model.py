import pytest
import torch

from worker.engine import kernels
from worker.engine.config import FitConfig
from worker.engine.errors import EngineError
from worker.engine.model import FittedModel
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets, RegressionTargets


def _fitted(config, classes=False):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    Y = torch.stack([X[:, 0] * X[:, 1], X[:, 2]], 1)
    raw = (Y[:, 0] > 0).long() if classes else Y
    targets = ClassTargets(2) if classes else RegressionTargets.fit(Y)
    *_, state = iterate(X, raw, targets, config)
    return FittedModel.from_iterate(X, state.best, config, targets), X


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("shape", ["full", "diagonal"])
def test_tensors_and_metadata_make_exactly_the_same_model(shape, classes):
    model, X = _fitted(FitConfig(iterations=2, feature_matrix=shape), classes)
    again = FittedModel.from_tensors(*model.to_tensors())
    assert torch.equal(model.raw(X), again.raw(X))
    assert torch.equal(model.predict(X), again.predict(X))


def test_a_newer_format_is_refused():
    tensors, metadata = _fitted(FitConfig(iterations=0))[0].to_tensors()
    with pytest.raises(EngineError, match="format version 2"):
        FittedModel.from_tensors(tensors, {**metadata, "format_version": 2})


def test_prediction_in_blocks_is_the_prediction_at_once(monkeypatch):
    model, X = _fitted(FitConfig(iterations=1, precision="float64", ridge=0.1))
    whole = model.predict(X)
    monkeypatch.setattr(kernels, "TILE", (7, 7 + 3))
    torch.testing.assert_close(model.predict(X), whole)
    torch.testing.assert_close(torch.cat([model.predict(row.unsqueeze(0)) for row in X]), whole)


def test_a_regression_has_no_probabilities():
    model, X = _fitted(FitConfig(iterations=0))
    with pytest.raises(EngineError, match="regression"):
        model.probabilities(X)


def test_several_outputs_are_answered_in_their_units():
    model, X = _fitted(FitConfig(iterations=1, ridge=1e-3))
    assert model.predict(X).shape == (60, 2)
    torch.testing.assert_close(model.predict(X)[:, 1], X[:, 2], rtol=0.05, atol=0.05)
