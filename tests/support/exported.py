"""Tables for models that are exported as ONNX, and what onnxruntime answers to them."""

import numpy as np
import onnx
import onnxruntime
import pyarrow as pa

from worker.contracts.resources import ModelColumn
from worker.serving.onnx.export import onnx_document

FEATURES = [
    ModelColumn(name="size", type="numeric"),
    ModelColumn(name="rooms", type="numeric"),
    ModelColumn(name="Ort, Straße", type="categorical"),
    ModelColumn(name="new", type="boolean"),
    ModelColumn(name="constant", type="numeric"),
]
CLASSES = {"text": ["a", "b b", "ü"], "whole": [-1, 0, 7], "broken": [0.5, 1, 2], "truth": [False, True]}


def table(n, seed, cities=("Bern", "Zürich", "Chur")):
    rng = np.random.default_rng(seed)
    city = rng.choice(np.array(cities, object), n)
    city[rng.random(n) < 0.1] = None
    return pa.table(
        {
            "size": pa.array(rng.normal(3, 50, n), mask=rng.random(n) < 0.1),
            "rooms": rng.integers(0, 6, n) / 10,
            "Ort, Straße": pa.array(city, pa.string()),
            "new": pa.array(rng.random(n) < 0.5, mask=rng.random(n) < 0.1),
            "constant": np.ones(n),
        }
    )


def targets_of(table):
    size = np.nan_to_num(table["size"].to_numpy(zero_copy_only=False).astype(float))
    rooms = table["rooms"].to_numpy()
    return np.column_stack([1000 + size * rooms, np.sin(size / 20) + rooms, 5 + size / 100])


TRAINING = table(160, 0)
ROUNDED = TRAINING.slice(20, 20)
ROUNDED = ROUNDED.set_column(1, "rooms", ROUNDED["rooms"].cast(pa.float32(), safe=False).cast(pa.float64()))
"""Repeated numbers that came as float32 are encoded as those that trained."""
ASKED = pa.concat_tables([table(60, 1, ("Bern", "Zürich", "Rom")), TRAINING.slice(0, 20), ROUNDED])


def fed(table, features=FEATURES):
    found = {}
    for column in features:
        cells = table[column.name].to_pylist()
        if column.type == "categorical":
            found[column.name] = np.array([cell or "" for cell in cells], dtype=object).reshape(-1, 1)
        else:
            numbers = [np.nan if cell is None else float(cell) for cell in cells]
            found[column.name] = np.array(numbers, dtype=float).reshape(-1, 1)
    return found


def asked(model, table=ASKED):
    content = onnx_document(model, "model", "a model", "0.0")
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, fed(table)), strict=True)), session
