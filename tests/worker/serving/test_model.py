import json

import numpy as np
import pyarrow as pa
import pytest
import torch

from worker.contracts.resources import ModelColumn
from worker.engine.config import FitConfig
from worker.engine.model import FittedModel
from worker.engine.recursion import iterate
from worker.engine.targets import ClassTargets, RegressionTargets
from worker.serving.model import ServedModel
from worker.tables.encoding.encoder import Encoder
from worker.tables.encoding.targets import class_codes, regression_targets

pytestmark = pytest.mark.usefixtures("few_threads")

FEATURES = [
    ModelColumn(name="size", type="numeric"),
    ModelColumn(name="city", type="categorical"),
    ModelColumn(name="new", type="boolean"),
]


def _table(n=80, seed=0):
    generator = np.random.default_rng(seed)
    size, city = generator.normal(size=n), generator.choice(["Oslo", "Rome", "Lima"], n)
    new = generator.random(n) < 0.5
    price = 1000 + 50 * size + 200 * (city == "Rome")
    return pa.table(
        {
            "size": pa.array(size, mask=generator.random(n) < 0.1),
            "city": city,
            "new": new,
            "price": price,
            "rooms": price / 100,
            "level": np.where(city == "Rome", 7.0, 3.0),
            "kind": np.where(city == "Rome", "warm", "cold"),
            "warm": city == "Rome",
        }
    )


def _served(targets):
    table = _table()
    encoder = Encoder.fit(table, FEATURES, standardize=True, normalize_rows=False)
    X = torch.from_numpy(encoder.encode(table))
    config = FitConfig(iterations=2, ridge=1e-2)
    classes = None
    if targets[0] in ("level", "kind", "warm"):
        codes, classes = class_codes(table, targets[0])
        Y = torch.from_numpy(codes)
        coding = ClassTargets.fit(Y, len(classes))
    else:
        Y = torch.from_numpy(regression_targets(table, targets))
        coding = RegressionTargets.fit(Y)
    *_, state = iterate(X, Y, coding, config)
    fitted = FittedModel.from_iterate(X, state.best, config, coding)
    columns = [ModelColumn(name=name, type="numeric") for name in targets]
    task = "regression" if classes is None else "classification"
    return ServedModel(encoder, fitted, task, classes, FEATURES, columns)


@pytest.mark.parametrize("target", ["level", "kind", "warm"])
def test_labels_come_back_as_they_were_written_and_are_the_likeliest(target):
    model, table = _served([target]), _table(seed=1)
    answer = model.predict(table)
    assert answer.predictions.tolist() == table.column(target).to_pylist()
    assert set(map(type, answer.predictions)) == {type(label) for label in model.classes}
    np.testing.assert_allclose(answer.probabilities.sum(axis=1), 1)
    assert [model.classes[best] for best in answer.probabilities.argmax(axis=1)] == answer.predictions.tolist()


def test_outputs_are_in_their_units_and_without_probabilities():
    table = _table(seed=1)
    answer = _served(["price", "rooms"]).predict(table)
    assert answer.probabilities is None
    assert answer.predictions.dtype == np.float64
    known = ~np.array(table.column("size").is_null())
    truth = regression_targets(table, ["price", "rooms"])
    np.testing.assert_allclose(answer.predictions[known], truth[known], rtol=0.03)


@pytest.mark.parametrize("targets", [["price", "rooms"], ["kind"], ["warm"], ["level"]])
def test_a_model_taken_apart_and_put_together_answers_exactly_the_same(targets):
    model, table = _served(targets), _table(seed=1)
    arrays, metadata = model.to_tensors()
    again = ServedModel.from_tensors(arrays, json.loads(json.dumps(metadata)))
    one, other = model.predict(table), again.predict(table)
    assert np.array_equal(one.predictions, other.predictions)
    assert [type(value) for value in one.predictions.ravel()] == [type(value) for value in other.predictions.ravel()]
    assert one.probabilities is other.probabilities or np.array_equal(one.probabilities, other.probabilities)
    assert again.nbytes == model.nbytes == sum(array.nbytes for array in arrays.values())


def test_an_answer_does_not_depend_on_the_other_rows_or_columns():
    model, table = _served(["price"]), _table(seed=1)
    whole = model.predict(table).predictions
    alone = np.concatenate([model.predict(table.slice(row, 1)).predictions for row in range(table.num_rows)])
    np.testing.assert_allclose(alone, whole, rtol=1e-5)
    assert np.array_equal(model.predict(table.select(["new", "city", "size"])).predictions, whole)


def test_rows_with_nothing_known_are_answered():
    nothing = pa.table({"size": pa.nulls(1, pa.float64()), "city": pa.nulls(1, pa.string())})
    nothing = nothing.append_column("new", pa.nulls(1, pa.bool_()))
    assert np.isfinite(_served(["price"]).predict(nothing).predictions).all()
