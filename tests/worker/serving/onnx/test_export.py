"""Models as ONNX: another runtime answers as we do."""

import json
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
import torch
from support.exported import ASKED, CLASSES, FEATURES, TRAINING, asked, fed, targets_of

from worker.contracts.errors import InvalidRequest, NotInstalled
from worker.contracts.resources import ModelColumn
from worker.engine.config import FitConfig
from worker.engine.model import FittedModel
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets, RegressionTargets
from worker.serving.model import ServedModel
from worker.serving.onnx import export
from worker.serving.onnx.export import onnx_document
from worker.tables.encoding.encoder import Encoder
from worker.tables.encoding.statistics import TrainingTargets

pytestmark = pytest.mark.usefixtures("few_threads")


def _model(kernel="laplace", outputs=1, classes=None, shape="full", precision="float64", centred=True, **encoding):
    encoder = Encoder.fit(TRAINING, FEATURES, **{"standardize": True, "normalize_rows": False, **encoding})
    X, Y = torch.from_numpy(encoder.encode(TRAINING)), targets_of(TRAINING)[:, :outputs]
    targets, raw = RegressionTargets.fit(torch.from_numpy(Y)), torch.from_numpy(Y)
    if classes is not None:
        edges = np.quantile(Y[:, 0], np.linspace(0, 1, len(classes) + 1)[1:-1])
        raw = torch.from_numpy(np.digitize(Y[:, 0], edges))
        targets = ClassTargets.fit(raw, len(classes)) if centred else ClassTargets(len(classes))
    config = FitConfig(kernel=kernel, feature_matrix=shape, iterations=1, ridge=0.01, precision=precision)
    *_, state = iterate(X, raw, targets, config)
    fitted = FittedModel.from_iterate(X, state.best, config, targets)
    task = "regression" if classes is None else "classification"
    names = [ModelColumn(name=f"y{index}", type="numeric") for index in range(outputs)]
    return ServedModel(encoder, fitted, task, classes, FEATURES, names)


@pytest.mark.parametrize("shape", ["full", "diagonal"])
@pytest.mark.parametrize("kernel", ["laplace", "gaussian", "generalized", "quadratic", "exponential"])
def test_onnxruntime_answers_as_we_do(kernel, shape):
    for outputs in (1, 3):
        model = _model(kernel, outputs, shape=shape, expanded=True)
        answers, _ = asked(model)
        ours = model.answer(ASKED).predictions
        assert answers["predict"].shape == ((len(ASKED),) if outputs == 1 else (len(ASKED), 3))
        np.testing.assert_allclose(answers["predict"].reshape(ours.shape), ours, rtol=1e-8)
    for centred in (True, False):
        model = _model(kernel, classes=CLASSES["text"], shape=shape, centred=centred)
        answers, _ = asked(model)
        ours = model.answer(ASKED)
        np.testing.assert_allclose(answers["probabilities"], ours.probabilities, rtol=1e-8)
        assert answers["predict"].tolist() == ours.predictions.tolist()


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("normalize_rows", [False, True])
@pytest.mark.parametrize("expanded", [False, True])
def test_columns_are_encoded_as_in_training(standardize, normalize_rows, expanded):
    model = _model(standardize=standardize, normalize_rows=normalize_rows, expanded=expanded)
    answers, _ = asked(model)
    np.testing.assert_allclose(answers["predict"], model.answer(ASKED).predictions[:, 0], rtol=1e-8)


@pytest.mark.parametrize("rare", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_mean_targets_of_categories_are_looked_up(monkeypatch, outputs, rare):
    monkeypatch.setattr("worker.tables.encoding.encoder.MANY", 2)
    if rare:
        monkeypatch.setattr("worker.tables.encoding.column_code.MANY", 1)
        monkeypatch.setattr("worker.tables.encoding.column_code.MOST", 1)
    means = TrainingTargets.of(targets_of(TRAINING)[:, :outputs], None, 0)
    model = _model(outputs=outputs, targets=means, normalize_rows=True)
    assert sum(": target mean" in name for name in model.encoder.names) == outputs
    answers, _ = asked(model)
    ours = model.answer(ASKED).predictions
    np.testing.assert_allclose(answers["predict"].reshape(ours.shape), ours, rtol=1e-8)


@pytest.mark.parametrize("expanded", [False, True])
def test_a_model_in_float32_is_met_to_its_own_rounding_and_in_float64_exactly(expanded):
    # smooth where distances are 0: the root of a rounded 0 in other kernels differs from processor to processor
    model = _model("gaussian", precision="float32", expanded=expanded)
    found = asked(model)[0]["predict"]
    ours = model.answer(ASKED).predictions[:, 0]
    np.testing.assert_allclose(found, ours, rtol=1e-5)
    fitted = model.fitted
    exact = replace(fitted, X=fitted.X.double(), alpha=fitted.alpha.double(), M=fitted.M.float().double())
    X = torch.from_numpy(model.encoder.encode(ASKED)).float().double()
    np.testing.assert_allclose(found, exact.predict(X).numpy()[:, 0], rtol=1e-9)


@pytest.mark.parametrize("classes", CLASSES.values(), ids=CLASSES)
def test_labels_come_out_in_their_own_type(classes):
    model = _model(classes=classes)
    answers, session = asked(model)
    assert answers["predict"].tolist() == model.answer(ASKED).predictions.tolist()
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["classes"]) == classes
    assert json.loads(properties["features"]) == [column.model_dump() for column in FEATURES]


def test_words_for_a_missing_value_are_missing():
    rows = TRAINING.slice(0, 3).set_column(2, "Ort, Straße", pa.array(["NA", "null", None]))
    model = _model()
    np.testing.assert_allclose(asked(model, rows)[0]["predict"], model.answer(rows).predictions[:, 0], rtol=1e-9)


def test_a_column_with_the_name_of_an_output_keeps_it():
    model = _model()
    renamed = [_renamed(column, {"size": "predict", "rooms": "constant:0"}) for column in FEATURES]
    codes = tuple(
        replace(code, name={"size": "predict", "rooms": "constant:0"}.get(code.name, code.name))
        for code in model.encoder.codes
    )
    model = replace(model, features=renamed, encoder=replace(model.encoder, codes=codes))
    table = ASKED.rename_columns([column.name for column in renamed])
    content = onnx_document(model, "model", "", "0.0")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["outputs"]) == {"predict": "predict_"}
    [found] = session.run(["predict_"], fed(table, renamed))
    np.testing.assert_allclose(found, model.answer(table).predictions[:, 0], rtol=1e-9)


def _renamed(column, names):
    return column.model_copy(update={"name": names.get(column.name, column.name)})


def test_the_same_model_is_the_same_file():
    model = _model()
    assert onnx_document(model, "m", "", "0.0") == onnx_document(model, "m", "", "0.0")


def test_a_model_too_large_for_one_file_is_refused(monkeypatch):
    monkeypatch.setattr(export, "MAX_BYTES", 1000)
    with pytest.raises(InvalidRequest, match="at most 1000"):
        onnx_document(_model(), "m", "", "0.0")


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "worker.serving.onnx.graph", None)
    with pytest.raises(NotInstalled, match=r"factrfm\[onnx\]"):
        onnx_document(_model(), "m", "", "0.0")
