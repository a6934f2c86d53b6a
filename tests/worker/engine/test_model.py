import pytest
import torch

from worker.engine.config import FitConfig
from worker.engine.errors import DamagedFile, EngineError
from worker.engine.kernels import KernelPoints
from worker.engine.kernels.points import predict_rows
from worker.engine.model import FittedModel, from_tensors
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets, RegressionTargets, on_simplex


def _fitted(config, classes=False):
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(60, 4, generator=generator, dtype=torch.float64)
    Y = torch.stack([X[:, 0] * X[:, 1], X[:, 2]], 1)
    raw = (Y[:, 0] > 0).long() if classes else Y
    targets = ClassTargets.fit(raw, 2) if classes else RegressionTargets.fit(Y)
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


def test_prediction_in_blocks_is_the_prediction_at_once():
    model, X = _fitted(FitConfig(iterations=1, precision="float64", ridge=0.1))
    whole = model.predict(X)
    points = KernelPoints(model.X, model.M, model.kernel, (7, 7 + 3))
    blocks = model.targets.decode(predict_rows(X, points, model.alpha, model.bandwidth))
    torch.testing.assert_close(blocks, whole)
    torch.testing.assert_close(torch.cat([model.predict(row.unsqueeze(0)) for row in X]), whole)


def test_a_regression_has_no_probabilities():
    model, X = _fitted(FitConfig(iterations=0))
    with pytest.raises(EngineError, match="regression"):
        model.probabilities(X)


def test_several_outputs_are_answered_in_their_units():
    model, X = _fitted(FitConfig(iterations=1, ridge=1e-3))
    assert model.predict(X).shape == (60, 2)
    torch.testing.assert_close(model.predict(X)[:, 1], X[:, 2], rtol=0.05, atol=0.05)


def _frequent(n=200):
    """Return rows of which nine in ten are of one class, with the classes as codes."""
    X = torch.randn(n, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return X, (X[:, 0] > 1.28).long()


@pytest.mark.parametrize("kernel", ["laplace", "gaussian", "generalized"])
def test_far_from_all_training_rows_the_answer_is_how_frequent_each_class_is(kernel):
    X, codes = _frequent()
    targets = ClassTargets.fit(codes, 2)
    *_, state = iterate(X, codes, targets, FitConfig(kernel=kernel, iterations=2, ridge=1e-2))
    model = FittedModel.from_iterate(X, state.best, FitConfig(kernel=kernel), targets)
    far = model.probabilities(torch.full((1, 3), 1e6, dtype=torch.float64))
    # and a thousandth of the uniform distribution, so that no class is impossible
    torch.testing.assert_close(far[0], 0.999 * torch.bincount(codes).double() / len(codes) + 0.001 / 2)


def test_a_model_of_format_1_answers_bit_for_bit_as_it_did():
    X, codes = _frequent()
    *_, state = iterate(X, codes, ClassTargets(2), FitConfig(iterations=1, ridge=1e-2))
    model = FittedModel.from_iterate(X, state.best, FitConfig(), ClassTargets(2))
    tensors, metadata = model.to_tensors()
    assert metadata["format_version"] == 1
    assert set(tensors) == {"X", "alpha", "M"}
    again = FittedModel.from_tensors(tensors, metadata)
    F = model.raw(X)
    assert torch.equal(again.probabilities(X), on_simplex(F.double()) * (1 - 1e-3) + 1e-3 / 2)
    assert torch.equal(again.predict(X), F.argmax(1))


def test_a_centred_model_is_refused_by_a_program_that_would_answer_without_its_frequencies():
    model, _ = _fitted(FitConfig(iterations=0), classes=True)
    tensors, metadata = model.to_tensors()
    assert metadata["format_version"] == 2
    with pytest.raises(EngineError, match="do not go together"):
        FittedModel.from_tensors({**tensors, "class_frequencies": torch.ones(3)}, metadata)


def test_a_format_that_is_unknown_is_refused_and_models_that_name_none_are_kernel_machines():
    model, X = _fitted(FitConfig(iterations=1))
    tensors, metadata = model.to_tensors()
    assert "format" not in metadata
    assert torch.equal(from_tensors(tensors, metadata).predict(X), model.predict(X))
    assert torch.equal(from_tensors(tensors, {**metadata, "format": "kernel_machine"}).predict(X), model.predict(X))
    with pytest.raises(DamagedFile, match="has format 'leaves'; this program reads kernel_machine"):
        from_tensors(tensors, {**metadata, "format": "leaves"})
