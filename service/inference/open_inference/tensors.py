"""Inputs and outputs of models as tensors of the Open Inference Protocol."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from service.inference.open_inference.codec import TEXT, InferRequest, Output, RequestedOutput, Tensor
from service.inference.open_inference.schemas import TensorMetadata
from worker.contracts.base import ColumnType, Label
from worker.contracts.errors import InvalidRequest
from worker.contracts.resources import Model, ModelColumn
from worker.tables.rows.plain import Rows
from worker.tables.rows.table_rows import RowReader

if TYPE_CHECKING:
    from worker.serving.model import Answer

DATATYPES: dict[ColumnType, str] = {
    "numeric": "FP64",
    "boolean": "BOOL",
    **dict.fromkeys(("categorical", "datetime", "text"), TEXT),
}
PREDICT, PROBABILITIES = "predict", "probabilities"


def inputs_of(model: Model) -> list[TensorMetadata]:
    """Return one tensor for each column."""
    return [TensorMetadata(name=column.name, datatype=DATATYPES[column.type], shape=[-1]) for column in model.features]


def outputs_of(model: Model) -> list[TensorMetadata]:
    """Return ``predict``, and for classifiers ``probabilities`` in the order of the model's classes."""
    if model.classes is None:
        several = [len(model.targets)] if len(model.targets) > 1 else []
        return [TensorMetadata(name=PREDICT, datatype="FP64", shape=[-1, *several])]
    return [
        TensorMetadata(name=PREDICT, datatype=_label_datatype(model.classes), shape=[-1]),
        TensorMetadata(name=PROBABILITIES, datatype="FP64", shape=[-1, len(model.classes)]),
    ]


def only_input(model: Model) -> tuple[str, str] | None:
    """Return name and datatype of the input of a model with one input; None for other models."""
    return (model.features[0].name, DATATYPES[model.features[0].type]) if len(model.features) == 1 else None


def rows_from(inputs: Sequence[Tensor], reader: RowReader, features: Sequence[ModelColumn], *, max_rows: int) -> Rows:
    """Return the rows of the inputs: a named tensor for each column, or one matrix in the order of ``features``.

    Raises:
        ColumnMismatch: columns are missing; all are named.
        InvalidRequest: the shapes are wrong, there are no rows or more than ``max_rows``, or a cell does not fit its
            column.
    """
    first = inputs[0]
    if len(inputs) == 1 and len(first.shape) == 2 and first.name not in {column.name for column in features}:
        _check_width(first, features)
        if pa.types.is_floating(first.values.type):
            X = first.values.to_numpy(zero_copy_only=False).reshape(first.shape)
            return reader.fit_matrix(X, max_rows=max_rows)
        return reader.fit(_columns_of(first, features), max_rows=max_rows)
    return reader.fit(_columns(inputs, features), max_rows=max_rows)


def _columns(inputs: Sequence[Tensor], features: Sequence[ModelColumn]) -> pa.Table:
    rows = inputs[0].shape[0]
    for index, tensor in enumerate(inputs):
        if len(tensor.shape) == 2 and tensor.shape[1] != 1:
            raise InvalidRequest.at(
                f"/inputs/{index}/shape",
                f"{tensor.name!r} has shape {list(tensor.shape)}; give each column a tensor [rows] or [rows, 1] of its "
                f"name, or all {len(features)} columns one tensor [rows, {len(features)}] of another name",
            )
        if tensor.shape[0] != rows:
            raise InvalidRequest.at(
                f"/inputs/{index}/shape", f"{tensor.name!r} has {tensor.shape[0]} rows and {inputs[0].name!r} {rows}"
            )
    return pa.table({tensor.name: tensor.values for tensor in inputs})


def check_outputs(request: InferRequest, model: Model) -> list[RequestedOutput]:
    """Return the requested outputs, by default all.

    Raises:
        InvalidRequest: the model has no such output, or classes are requested of ``predict``.
    """
    known = [output.name for output in outputs_of(model)]
    if request.outputs is None:
        return [RequestedOutput(name, request.binary) for name in known]
    for index, output in enumerate(request.outputs):
        if output.name not in known:
            raise InvalidRequest.at(
                f"/outputs/{index}/name", f"the model has no output {output.name!r}; it has {', '.join(known)}"
            )
        if output.classes and output.name != PROBABILITIES:
            raise InvalidRequest.at(
                f"/outputs/{index}/parameters", f"classification is for the output {PROBABILITIES!r} of a classifier"
            )
    return request.outputs


def outputs_from(answer: "Answer", model: Model, requested: Sequence[RequestedOutput]) -> list[Output]:
    """Return the requested outputs with the values of ``answer``."""
    outputs: list[Output] = []
    for output in requested:
        if output.name == PREDICT:
            outputs.append(Output(PREDICT, outputs_of(model)[0].datatype, _predicted(answer, model), output.binary))
            continue
        assert model.classes is not None  # noqa: S101 - check_outputs found that the model has probabilities
        assert answer.probabilities is not None  # noqa: S101
        if output.classes:
            ranked = _ranked(answer.probabilities, model.classes, output.classes)
            outputs.append(Output(PROBABILITIES, TEXT, ranked, output.binary))
        else:
            outputs.append(Output(PROBABILITIES, "FP64", answer.probabilities, output.binary))
    return outputs


def _check_width(matrix: Tensor, features: Sequence[ModelColumn]) -> None:
    if matrix.shape[1] != len(features):
        raise InvalidRequest.at(
            "/inputs/0/shape",
            f"a matrix has {len(features)} columns, in the order of the model; this one has {matrix.shape[1]}",
        )


def _columns_of(matrix: Tensor, features: Sequence[ModelColumn]) -> pa.Table:
    rows, columns = matrix.shape
    places = np.arange(rows, dtype=np.int64) * columns
    return pa.table({column.name: matrix.values.take(places + index) for index, column in enumerate(features)})


def _predicted(answer: "Answer", model: Model) -> np.ndarray:
    if model.classes is None:
        return answer.predictions[:, 0] if len(model.targets) == 1 else answer.predictions
    datatype = _label_datatype(model.classes)
    if datatype == TEXT:
        return answer.predictions
    return answer.predictions.astype({"BOOL": bool, "INT64": np.int64, "UINT64": np.uint64}.get(datatype, np.float64))


def _label_datatype(classes: Sequence[Label]) -> str:
    kinds = {type(label) for label in classes}
    if kinds == {str}:
        return TEXT
    if kinds == {int}:
        return "INT64" if max(classes) < 2**63 else "UINT64"  # type: ignore[operator]
    return "BOOL" if kinds == {bool} else "FP64"


def _ranked(probabilities: np.ndarray, classes: Sequence[Label], most: int) -> np.ndarray:
    """Return the ``most`` likely classes of every row, (n, most), as ``probability:index:label``."""
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    texts = [
        [f"{row[index]:.9g}:{index}:{classes[index]}" for index in order]
        for row, order in zip(probabilities.tolist(), best.tolist(), strict=True)
    ]
    ranked = np.empty(best.shape, dtype=object)
    ranked[:] = texts
    return ranked
