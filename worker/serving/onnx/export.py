"""Export a model as one ONNX file: inputs are raw columns, outputs are in original labels or units.

    columns      one input each, (rows, 1): float64 for numbers and booleans, with NaN for a missing value; texts for
                 categories, without spaces around them, with "" (or NA, null, …) for a missing value
    predict      float64 (rows,) or (rows, targets), or labels (rows,)
    probabilities  of a classification, float64 (rows, classes), in the order of the property ``classes``

Inside are the training rows as the model sees them: rows × encoded columns × 8 bytes.
"""

import json
from functools import partial

from worker.contracts.base import ColumnType
from worker.contracts.errors import InvalidRequest, NotInstalled
from worker.engine.blocks.model import BlocksModel
from worker.engine.targets import RegressionTargets
from worker.serving.model import ServedModel

MAX_BYTES = 2**31 - 2**20
"""A single-message ONNX file must be below 2 GiB."""

UNGRAPHED: dict[ColumnType, str] = {"datetime": "dates", "text": "text"}
"""Types of columns that no graph reads, and what they hold."""


def onnx_document(model: ServedModel, name: str, description: str, version: str) -> bytes:
    """Return the content of the file. ``version`` is that of this program.

    Raises:
        NotInstalled: the package onnx is not there.
        InvalidRequest: the model is too large for one file, or reads dates or text.
    """
    try:
        from worker.serving.onnx.graph import DOUBLE, STRING, Graph
    except ModuleNotFoundError as error:
        raise NotInstalled(
            "the package onnx is not installed where the service runs: pip install 'factrfm[onnx]'"
        ) from error
    for column in model.features:
        if (what := UNGRAPHED.get(column.type)) is not None:
            raise InvalidRequest(
                f"the model reads {what}, in column {column.name[:200]!r}, which the ONNX graph cannot "
                "take apart; fit it without the column, or with numbers made of it, or load the safetensors export"
            )
    from worker.serving.onnx import blocks, inputs
    from worker.serving.onnx import outputs as answers

    fitted = model.fitted
    if isinstance(fitted, BlocksModel):
        numbers, raw_outputs = blocks.tensor_numbers(fitted), partial(blocks.raw_outputs, model=fitted)
    else:
        machine = model.kernel_machine("an ONNX graph")
        numbers, raw_outputs = answers.tensor_numbers(machine), partial(answers.raw_outputs, fitted=machine)
    if 8 * numbers > MAX_BYTES:
        raise InvalidRequest(f"as ONNX the model has {8 * numbers} bytes, and such a file at most {MAX_BYTES}")
    graph = Graph([column.name for column in model.features])
    for column in model.features:
        graph.input(column.name, STRING if column.type == "categorical" else DOUBLE)
    F = raw_outputs(graph, X=inputs.encoded_rows(graph, model.encoder))
    properties = {
        "task": model.task,
        "features": json.dumps([column.model_dump() for column in model.features]),
        "targets": json.dumps([column.model_dump() for column in model.targets]),
    }
    if isinstance(fitted.targets, RegressionTargets):
        outputs = answers.regression(graph, fitted.targets, F)
    else:
        classes = model.classes or []
        outputs = answers.classification(graph, fitted.targets, classes, F)
        properties["classes"] = json.dumps(classes)
    properties["outputs"] = json.dumps(outputs)
    document: bytes = graph.finish(name, description, version, properties).SerializeToString(deterministic=True)
    return document
