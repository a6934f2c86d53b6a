"""Models of blocks and leaves as ONNX: another runtime answers as we do, by the same leaves."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from support import exported
from support.exported import ASKED, FEATURES, asked, targets_of

from worker.contracts.errors import InvalidRequest
from worker.contracts.resources import ModelColumn
from worker.engine.blocks.answers import MachineList
from worker.engine.blocks.fit import fit_blocks
from worker.engine.blocks.split import grow
from worker.engine.blocks.tree import Tree, projections, weights
from worker.engine.config import FitConfig
from worker.engine.targets import ClassTargets, RegressionTargets
from worker.serving.model import ServedModel
from worker.serving.onnx import blocks, export
from worker.serving.onnx.export import onnx_document
from worker.serving.onnx.graph import DOUBLE, Graph
from worker.tables.encoding.encoder import Encoder

pytestmark = pytest.mark.usefixtures("few_threads")

TRAINING = exported.table(400, 2)
BLENDS = [(0.0, 0.0), (0.0, 0.5), (0.2, 1.0), (0.8, 0.5)]
"""Temperature and share."""


def _model(
    kernel="laplace", outputs=1, classes=None, shape="full", precision="float64", blend=(0.2, 0.5), leaf=80, **encoding
):
    encoder = Encoder.fit(TRAINING, FEATURES, **{"standardize": True, "normalize_rows": False, **encoding})
    X, Y = torch.from_numpy(encoder.encode(TRAINING)), targets_of(TRAINING)[:, :outputs]
    targets, raw = RegressionTargets.fit(torch.from_numpy(Y)), torch.from_numpy(Y)
    if classes is not None:
        edges = np.quantile(Y[:, 0], np.linspace(0, 1, len(classes) + 1)[1:-1])
        raw = torch.from_numpy(np.digitize(Y[:, 0], edges))
        targets = ClassTargets.fit(raw, len(classes))
    config = FitConfig(kernel=kernel, feature_matrix=shape, iterations=1, ridge=0.01, precision=precision)
    fitted = fit_blocks(X, raw, targets, config, 60, 3, leaf)
    temperature, share = blend
    fitted = replace(fitted, temperature=temperature, share=share, blocks=fitted.blocks if share else MachineList(()))
    task = "regression" if classes is None else "classification"
    names = [ModelColumn(name=f"y{index}", type="numeric") for index in range(outputs)]
    return ServedModel(encoder, fitted, task, classes, FEATURES, names)


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize("shape", ["full", "diagonal"])
@pytest.mark.parametrize("kernel", ["laplace", "gaussian", "generalized", "quadratic", "exponential"])
def test_onnxruntime_answers_as_we_do(kernel, shape, blend):
    for outputs in (1, 3):
        model = _model(kernel, outputs, shape=shape, blend=blend, expanded=True)
        assert model.fitted.tree.leaves > 4
        answers, _ = asked(model)
        ours = model.answer(ASKED).predictions
        assert answers["predict"].shape == ((len(ASKED),) if outputs == 1 else (len(ASKED), 3))
        np.testing.assert_allclose(answers["predict"].reshape(ours.shape), ours, rtol=1e-8)
    model = _model(kernel, classes=exported.CLASSES["text"], shape=shape, blend=blend)
    answers, _ = asked(model)
    ours = model.answer(ASKED)
    np.testing.assert_allclose(answers["probabilities"], ours.probabilities, rtol=1e-8)
    assert answers["predict"].tolist() == ours.predictions.tolist()


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("normalize_rows", [False, True])
@pytest.mark.parametrize("expanded", [False, True])
def test_columns_are_encoded_as_in_training(standardize, normalize_rows, expanded):
    model = _model(standardize=standardize, normalize_rows=normalize_rows, expanded=expanded)
    np.testing.assert_allclose(asked(model)[0]["predict"], model.answer(ASKED).predictions[:, 0], rtol=1e-8)


def test_a_model_in_float32_is_met_to_its_own_rounding():
    # smooth where distances are 0: see test_export
    model = _model("gaussian", precision="float32")
    found = asked(model)[0]["predict"]
    ours = model.answer(ASKED).predictions[:, 0]
    np.testing.assert_allclose(found, ours, rtol=1e-5, atol=1e-5 * ours.std())


def test_a_model_without_cuts_has_one_leaf():
    model = _model(leaf=1000)
    assert model.fitted.tree.leaves == 1
    np.testing.assert_allclose(asked(model)[0]["predict"], model.answer(ASKED).predictions[:, 0], rtol=1e-8)


def test_a_row_is_answered_alone_as_among_others_and_no_rows_are_none():
    model = _model(blend=(0.0, 0.0))
    whole, session = asked(model)
    alone = [session.run(["predict"], exported.fed(ASKED.slice(row, 1)))[0] for row in range(40)]
    np.testing.assert_allclose(np.concatenate(alone), whole["predict"][:40], rtol=1e-9)
    assert session.run(["predict"], exported.fed(ASKED.slice(0, 0)))[0].shape == (0,)


def _weights(tree, temperature, X):
    """Weights of all leaves by onnxruntime, (m, leaves)."""
    graph = Graph([])
    columns = [graph.input(f"x{column}", DOUBLE) for column in range(X.shape[1])]
    found = blocks.leaf_weights(graph, tree, temperature, graph.add("Concat", *columns, axis=1))
    graph.output("weights", found, DOUBLE, [tree.leaves])
    content = graph.finish("tree", "", "0.0", {}).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {name: X[:, [column]].numpy() for column, name in enumerate(columns)})[0]


def _expected(tree, temperature, X):
    leaves, shares = weights(tree, X, temperature)
    return torch.zeros((len(X), tree.leaves), dtype=torch.float64).scatter_add(1, leaves, shares).numpy()


@pytest.mark.parametrize("temperature", [0.0, 0.05, 0.4, 0.8, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_leaves_have_the_same_weights_to_the_bit_on_cuts_and_elsewhere(temperature, seed):
    generator = torch.Generator().manual_seed(seed)
    X = torch.randn(600, 7, generator=generator, dtype=torch.float64)
    tree, _ = grow(X, torch.diag(torch.rand(7, generator=generator, dtype=torch.float64)), 60)
    on_cuts = X[: len(tree.thresholds)]
    tree = replace(tree, thresholds=projections(on_cuts, tree.directions).diagonal().contiguous())
    asked_rows = torch.cat([on_cuts, torch.randn(500, 7, generator=generator, dtype=torch.float64)])
    assert np.array_equal(_weights(tree, temperature, asked_rows), _expected(tree, temperature, asked_rows))


def test_of_leaves_with_equal_weights_the_first_answer():
    X = torch.zeros((2, 3), dtype=torch.float64)
    tree = Tree.single_leaf(3)
    direction = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    for leaf in (0, 0, 1, 2, 3):
        tree = tree.with_cut(leaf, direction, 0.0, -1.0, 1.0, 1.0)
    assert np.array_equal(_weights(tree, 0.5, X), _expected(tree, 0.5, X))


def test_a_row_that_is_no_number_has_no_answer():
    tree, _ = grow(torch.randn(200, 3, dtype=torch.float64), torch.ones(3).double(), 60)
    X = torch.tensor([[0.0, 1.0, 2.0], [np.nan, 1.0, 2.0]], dtype=torch.float64)
    found = _weights(tree, 0.4, X)
    assert np.array_equal(found[0], _expected(tree, 0.4, X)[0])
    assert np.isnan(found[1]).all()


def test_what_is_too_large_for_one_file_is_refused_with_its_size_before_it_is_made(monkeypatch):
    model = _model()
    size = len(onnx_document(model, "m", "", "0.0"))
    monkeypatch.setattr(blocks, "raw_outputs", lambda graph, model, X: pytest.fail("made before it was refused"))
    monkeypatch.setattr(export, "MAX_BYTES", 1000)
    with pytest.raises(InvalidRequest, match="at most 1000") as refused:
        onnx_document(model, "m", "", "0.0")
    named = int(refused.value.detail.split("has ")[1].split(" bytes")[0])
    # the graph and the encoder are beside the numbers
    assert size - 60_000 < named < size


def test_the_same_model_is_the_same_file():
    model = _model()
    assert onnx_document(model, "m", "", "0.0") == onnx_document(model, "m", "", "0.0")
