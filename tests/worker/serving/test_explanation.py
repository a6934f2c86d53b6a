from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from worker.contracts.errors import ColumnMismatch
from worker.contracts.resources import ModelColumn
from worker.engine.blocks.fit import fit_blocks
from worker.engine.blocks.model import BlocksModel
from worker.engine.config import FitConfig
from worker.engine.model import FittedModel
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets, RegressionTargets
from worker.serving import explanation
from worker.serving.explanation import explain
from worker.serving.model import Origin, ServedModel
from worker.tables.encoding.encoder import Encoder
from worker.tables.encoding.statistics import TrainingTargets

pytestmark = pytest.mark.usefixtures("few_threads")

FEATURES = [
    ModelColumn(name="size", type="numeric"),
    ModelColumn(name="age", type="numeric"),
    ModelColumn(name="city", type="categorical"),
    ModelColumn(name="new", type="boolean"),
    ModelColumn(name="same", type="numeric"),
]
CITIES = ["Bern", "Chur", "Genf"]


def _table(n, seed):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "size": pa.array(rng.normal(100, 20, n), mask=rng.random(n) < 0.1),
            "age": rng.normal(0, 1e-3, n),
            "city": rng.choice(CITIES, n),
            "new": rng.random(n) < 0.5,
            "same": np.ones(n),
        }
    )


TRAINING = _table(120, 0)


@pytest.fixture(params=["one machine", "blocks"])
def kind(request):
    return request.param


def _model(kind, classes=None, outputs=2, **options):
    encoder = Encoder.fit(TRAINING, FEATURES, **{"standardize": True, "normalize_rows": False, **options})
    X = torch.from_numpy(encoder.encode(TRAINING))
    size = np.nan_to_num(TRAINING["size"].to_numpy(zero_copy_only=False).astype(float), nan=100.0)
    Bern = np.array(TRAINING["city"]) == "Bern"
    Y = np.column_stack([size * 3 + 50 * Bern, Bern * 0.01 + TRAINING["age"].to_numpy()])[:, :outputs]
    targets, raw = RegressionTargets.fit(torch.from_numpy(Y)), torch.from_numpy(Y)
    if classes is not None:
        raw = torch.from_numpy((Y[:, 0] > 310).astype(np.int64))
        targets = ClassTargets.fit(raw, len(classes))
    config = FitConfig(kernel="gaussian", iterations=1, ridge=1e-3, precision="float64")
    if kind == "blocks":
        fitted = replace(fit_blocks(X, raw, targets, config, 50, 2, 50), share=0.5)
    else:
        *_, state = iterate(X, raw, targets, config)
        fitted = FittedModel.from_iterate(X, state.best, config, targets)
    task = "regression" if classes is None else "classification"
    names = [ModelColumn(name=f"y{index}", type="numeric") for index in range(outputs if classes is None else 1)]
    return ServedModel(encoder, fitted, task, classes, FEATURES, names)


def _with(row, **values):
    for name, value in values.items():
        place = row.column_names.index(name)
        row = row.set_column(place, name, pa.array([value], row.schema.field(name).type))
    return row


def _by_feature(explanation):
    return {one.feature: one for one in explanation.sensitivity}


ROW = _with(_table(1, 5), size=110.0, city="Bern", new=True)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("normalize_rows", [True, False])
def test_a_numeric_change_is_the_slope_of_the_answer_times_one_standard_deviation(kind, standardize, normalize_rows):
    model = _model(kind, standardize=standardize, normalize_rows=normalize_rows)
    [found] = explain(model, ROW, 1)
    for name in ("size", "age"):
        values = TRAINING[name].drop_null().to_numpy()
        own = ROW[name][0].as_py()
        # shorter steps would show the rounding of the answers, longer ones their curvature
        step = values.std() * 1e-3
        ends = [model.answer(_with(ROW, **{name: own + side * step})).predictions[0] for side in (-1, 1)]
        slope = (ends[1] - ends[0]) / (2 * step)
        assert _by_feature(found)[name].step == pytest.approx(values.std())
        assert _by_feature(found)[name].change == pytest.approx(slope * values.std(), rel=1e-3)


def test_a_change_of_an_expanded_column_is_its_encodings_over_one_deviation_along_the_slope(kind):
    model = _model(kind, expanded=True)
    [found] = explain(model, ROW, 1)
    deviation = TRAINING["size"].drop_null().to_numpy().std()
    rows = pa.concat_tables([_with(ROW, size=110.0 + side * deviation / 2) for side in (-1, 1)])
    low, high = torch.from_numpy(model.encoder.encode(rows))
    [x] = torch.from_numpy(model.encoder.encode(ROW))
    step = 1e-5
    ends = [model.fitted.predict((x + side * step * (high - low)).unsqueeze(0))[0] for side in (-1, 1)]
    assert _by_feature(found)["size"].change == pytest.approx(((ends[1] - ends[0]) / (2 * step)).tolist(), rel=1e-5)


def test_a_categorical_change_is_the_largest_that_another_value_makes(kind):
    model = _model(kind, outputs=1)
    [found] = explain(model, ROW, 1)
    here = model.answer(ROW).predictions[0, 0]
    changes = {city: model.answer(_with(ROW, city=city)).predictions[0, 0] - here for city in CITIES[1:]}
    best = max(changes, key=lambda city: abs(changes[city]))
    city, new = _by_feature(found)["city"], _by_feature(found)["new"]
    assert (city.to, new.to) == (best, False)
    assert city.change == pytest.approx([changes[best]])
    assert new.change == pytest.approx([model.answer(_with(ROW, new=False)).predictions[0, 0] - here])


def test_a_change_of_a_column_with_mean_targets_is_that_of_the_answer(monkeypatch):
    monkeypatch.setattr("worker.tables.encoding.encoder.MANY", 2)
    monkeypatch.setattr("worker.tables.encoding.column_code.MANY", 1)
    monkeypatch.setattr("worker.tables.encoding.column_code.MOST", 2)
    targets = TrainingTargets.of(np.array(TRAINING["city"].to_pylist()) == "Genf", [False, True], 0)
    model = _model("one machine", outputs=1, targets=targets)
    assert model.encoder.names[-3:] == ["city:other", "city: target mean of True", "new"]
    levels = model.encoder.codes[2].levels
    assert set(levels[:2]) | {levels[2]} == set(CITIES), "the rare city stands behind the others"
    rare, other = (model.answer(_with(ROW, city=levels[place])).predictions[0, 0] for place in (2, 0))
    assert rare != other
    [found] = explain(model, _with(ROW, city=levels[2]), 1)
    city = _by_feature(found)["city"]
    assert city.known
    assert city.change == pytest.approx([model.answer(_with(ROW, city=city.to)).predictions[0, 0] - rare])


def test_of_an_unknown_or_missing_category_every_known_one_is_tried(kind):
    model = _model(kind, outputs=1)
    for city in ("Rom", None):
        row = _with(ROW, city=city)
        here = model.answer(row).predictions[0, 0]
        changes = [model.answer(_with(row, city=one)).predictions[0, 0] - here for one in CITIES]
        [found] = explain(model, row, 1)
        assert _by_feature(found)["city"].change == pytest.approx([max(changes, key=abs)])
        assert _by_feature(found)["city"].known == (city is None)
        assert all(one.known for one in found.sensitivity if one.feature != "city")


def test_a_classification_is_explained_by_the_score_of_the_predicted_class(kind):
    model = _model(kind, classes=["small", "large"])
    for size in (60.0, 140.0):
        row = _with(ROW, size=size)
        [found] = explain(model, row, 1)
        code = model.classes.index(found.prediction)
        assert found.probabilities == pytest.approx(model.answer(row).probabilities[0])
        scores = [
            model.fitted.raw(torch.from_numpy(model.encoder.encode(_with(row, size=size + side * 1e-3))))[0, code]
            for side in (-1, 1)
        ]
        size_of = _by_feature(found)["size"]
        assert size_of.change == pytest.approx([float(scores[1] - scores[0]) / 2e-3 * size_of.step], rel=1e-4)


def test_changes_come_largest_first_and_say_where_there_is_nothing_to_change(kind):
    model = _model(kind)
    [found] = explain(model, _with(ROW, size=None), 1)
    changes = _by_feature(found)
    assert set(changes) == {column.name for column in FEATURES}
    assert changes["size"].change is None
    assert changes["same"].change == [0, 0]
    assert found.sensitivity[-1].feature == "size"
    scale = model.fitted.targets.scale.numpy()
    sizes = [np.abs(np.array(one.change) / scale).max() for one in found.sensitivity[:-1]]
    assert sizes == sorted(sizes, reverse=True)


def _machines(model):
    fitted = model.fitted
    return [*fitted.leaves, *fitted.blocks] if isinstance(fitted, BlocksModel) else [fitted]


def _row_numbers(model):
    """Which training rows the model's are, by their values."""
    X = torch.from_numpy(model.encoder.encode(TRAINING))
    rows = torch.cat([machine.X for machine in _machines(model)])
    return (rows[:, None] == X[None]).all(2).long().argmax(1).numpy()


def test_neighbours_are_named_as_rows_of_the_datasets_that_they_come_from(kind):
    model = _model(kind, outputs=1)
    asked = TRAINING.take([7, 119])
    numbers = _row_numbers(model)
    named = replace(model, origin=Origin(numbers * 2, (("ds_a", len(numbers)),)))
    found = [one.neighbours[0] for one in explain(named, asked, 3)]
    assert [(one.dataset, one.row, one.distance) for one in found] == [("ds_a", 14, 0), ("ds_a", 238, 0)]
    again = ServedModel.from_tensors(*named.to_tensors())
    assert explain(again, asked, 3) == explain(named, asked, 3)
    unnamed = explain(ServedModel.from_tensors(*model.to_tensors()), asked, 3)[0].neighbours
    assert [(one.row, one.dataset) for one in unnamed] == [(None, None)] * 3
    assert unnamed[0].weight == pytest.approx(1)


def test_rows_of_several_datasets_are_named_by_their_own():
    model = _model("one machine", outputs=1)
    origin = Origin(np.concatenate([np.arange(100) * 2, np.arange(20)]), (("ds_a", 100), ("ds_b", 20)))
    found = [one.neighbours[0] for one in explain(replace(model, origin=origin), TRAINING.take([7, 119]), 3)]
    assert [(one.dataset, one.row, one.distance) for one in found] == [("ds_a", 14, 0), ("ds_b", 19, 0)]


def test_an_explanation_holds_the_prediction_to_the_bit(kind):
    for options in ({}, {"classes": ["small", "large"]}):
        model = _model(kind, **options)
        asked = TRAINING.slice(0, 20)
        answer = model.answer(asked)
        for row, found in enumerate(explain(model, asked, 2)):
            if options:
                assert found.prediction == answer.predictions[row]
                assert found.probabilities == answer.probabilities[row].tolist()
            else:
                assert found.prediction == answer.predictions[row].tolist()
    assert explain(model, asked.slice(0, 0), 2) == []


def test_of_many_categories_those_with_the_most_training_rows_are_tried(kind, monkeypatch):
    monkeypatch.setattr(explanation, "MAX_SWAPS", 2)
    cities = np.array([f"c{number:02d}" for number in range(12)], dtype=object)
    counts = np.array([1, 4, 2, 30, 3, 60, 2, 8, 2, 3, 4, 1])
    table = pa.table({"city": np.repeat(cities, counts)})
    features = [ModelColumn(name="city", type="categorical")]
    encoder = Encoder.fit(table, features, standardize=True, normalize_rows=False)
    X = torch.from_numpy(encoder.encode(table))
    # what the rare ones answer lies far from the others
    Y = torch.from_numpy(np.repeat(np.where(counts < 20, 50.0, counts / 30), counts))[:, None]
    targets = RegressionTargets.fit(Y)
    config = FitConfig(kernel="gaussian", feature_matrix="diagonal", iterations=1, ridge=1e-3, precision="float64")
    fitted = fit_blocks(X, Y, targets, config, 40, 3, 50)
    if kind == "one machine":
        *_, state = iterate(X, Y, targets, config)
        fitted = FittedModel.from_iterate(X, state.best, config, targets)
    model = ServedModel(encoder, fitted, "regression", None, features, [ModelColumn(name="y", type="numeric")])
    [found] = explain(model, pa.table({"city": ["c03"]}), 1)
    assert found.sensitivity[0].to == "c05"


def test_rows_without_a_column_of_the_model_are_refused(kind):
    with pytest.raises(ColumnMismatch, match="'city'"):
        explain(_model(kind), ROW.drop_columns(["city"]), 1)
