"""Explain predictions in terms of the table: its columns, its units, rows of its dataset.

A slope is the exact gradient of the kernel machine times the encoder's change over one standard deviation of the
column. In the expanded encoding a view of a column may jump where many training rows share one value: there the mean
over one deviation is more meaningful than the slope at the point.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch

from worker.contracts.base import Label
from worker.contracts.errors import InvalidRequest
from worker.contracts.explanation import Explanation, Neighbour, Sensitivity
from worker.engine.explain import gradients, neighbours
from worker.engine.targets import RegressionTargets
from worker.serving.model import Answer, ServedModel
from worker.tables.encoding.categories import UNKNOWN
from worker.tables.encoding.column_code import ColumnCode
from worker.tables.encoding.encoder import Encoder, lengths
from worker.tables.rows.matching import match_columns
from worker.tables.values import ARROW_TYPES

MAX_SWAPS = 50
"""For a column with more categories, only those with the most training rows are tried."""


def explain(model: ServedModel, table: pa.Table, k: int) -> list[Explanation]:
    """Explain rows of any table that has the model's features, each with its ``k`` nearest training rows.

    Neighbours have row numbers if the model's file records them; it does not hold their values.

    Raises:
        ColumnMismatch: naming all missing columns.
        InvalidRequest: a cell does not fit its column, or a row holds numbers too large to compute with.
    """
    table = match_columns(table, model.features)
    answer = model.predict(table)
    near = _neighbours(model, torch.from_numpy(model.encoder.encode(table)), k)
    return [
        Explanation(
            prediction=_prediction(model, answer, row),
            probabilities=None if answer.probabilities is None else answer.probabilities[row].tolist(),
            neighbours=near[row],
            sensitivity=_sensitivity(model, table.slice(row, 1), _outputs(model, answer, row)),
        )
        for row in range(table.num_rows)
    ]


def _prediction(model: ServedModel, answer: Answer, row: int) -> Label | list[float]:
    prediction = answer.predictions[row]
    if model.classes is not None:
        return prediction  # type: ignore[no-any-return]
    values: list[float] = prediction.tolist()
    return values[0] if len(values) == 1 else values


def _outputs(model: ServedModel, answer: Answer, row: int) -> list[int]:
    """Return the indices of the outputs to explain."""
    if answer.probabilities is None:
        return list(range(model.fitted.targets.n_outputs))
    return [int(answer.probabilities[row].argmax())]


def _neighbours(model: ServedModel, X: torch.Tensor, k: int) -> list[list[Neighbour]]:
    nearest = neighbours(model.kernel_machine("an explanation"), X, k)
    far = (~torch.isfinite(nearest.distances)).any(1).nonzero()
    if len(far):
        raise InvalidRequest(
            f"row {int(far[0]) + 1} holds numbers so far from the training rows that no distance can be computed"
        )
    lists = zip(nearest.rows.tolist(), nearest.distances.tolist(), nearest.weights.tolist(), strict=True)
    return [[_neighbour(model, *neighbour) for neighbour in zip(*line, strict=True)] for line in lists]


def _neighbour(model: ServedModel, row: int, distance: float, weight: float) -> Neighbour:
    if model.origin is None:
        return Neighbour(distance=distance, weight=weight)
    dataset, number = model.origin.of(row)
    return Neighbour(row=number, dataset=dataset, distance=distance, weight=weight)


def _sensitivity(model: ServedModel, row: pa.Table, outputs: Sequence[int]) -> list[Sensitivity]:
    """Return the sensitivity by column, largest change of standardised outputs or scores first."""
    scale = np.ones(len(outputs))
    if isinstance(model.fitted.targets, RegressionTargets):
        scale = model.fitted.targets.scale.cpu().numpy()[list(outputs)]
    changes = {
        column.name: (np.zeros(len(outputs)), Sensitivity(feature=column.name, type=column.type, change=None))
        for column in model.features
    }
    changes |= {sensitivity.feature: (change, sensitivity) for change, sensitivity in _changes(model, row, outputs)}
    ordered = sorted(changes.values(), key=lambda pair: -np.abs(pair[0]).max() if np.isfinite(pair[0]).all() else 1.0)
    return [
        sensitivity.model_copy(update={"change": (change * scale).tolist() if np.isfinite(change).all() else None})
        for change, sensitivity in ordered
    ]


def _changes(model: ServedModel, row: pa.Table, outputs: Sequence[int]) -> Iterator[tuple[np.ndarray, Sensitivity]]:
    """Yield the change (len(outputs),) of each column that is encoded; NaN where the row has no number."""
    encoder = model.encoder
    u = replace(encoder, normalize_rows=False).encode(row)
    slopes = _slopes(model, u, outputs)
    for code, place in zip(encoder.codes, encoder.layout.places, strict=True):
        value = row.column(code.name)[0].as_py()
        if code.type == "numeric":
            step = code.scale if code.deviation is None else code.deviation
            moved = np.full(len(outputs), np.nan)
            if value is not None:
                low, high = _encoded(code, [value - step / 2, value + step / 2])
                moved = (high - low) @ slopes[place]
            yield moved, Sensitivity(feature=code.name, type=code.type, change=None, step=step)
        else:
            known = True
            if code.type == "categorical":
                category = code.known.place(value)
                known = category != UNKNOWN
                value = code.categories[category] if category >= 0 else None
            others = [label for label in _alternatives(model, code, place.start) if label != value]
            change, to = np.zeros(len(outputs)), None
            if others:
                rows = np.repeat(u, len(others) + 1, axis=0)
                rows[1:, place] = _encoded(code, others)
                raw = model.fitted.raw(torch.from_numpy(encoder.scaled(rows))).double().cpu().numpy()
                changes = (raw[1:] - raw[0])[:, list(outputs)]
                largest = int(np.abs(changes).max(axis=1).argmax())
                change, to = changes[largest], others[largest]
            yield change, Sensitivity(feature=code.name, type=code.type, change=None, to=to, known=known)


def _slopes(model: ServedModel, u: np.ndarray, outputs: Sequence[int]) -> np.ndarray:
    """Return the derivatives of the outputs by u (1, d), a row before it is normalised, (d, len(outputs))."""
    x = model.encoder.scaled(u.copy())
    slopes: np.ndarray = (
        gradients(model.kernel_machine("an explanation"), torch.from_numpy(x), outputs)[0].cpu().numpy()
    )
    if not model.encoder.normalize_rows:
        return slopes
    # of x = u / ‖u‖ by u: (I − xxᵀ) / ‖u‖
    unit: np.ndarray = (slopes - np.outer(x[0], x[0] @ slopes)) / lengths(u)[0]
    return unit


def _encoded(code: ColumnCode, values: Sequence[Label]) -> np.ndarray:
    """Return values of one column encoded, before rows are normalised, (len(values), columns of the code)."""
    column = pa.array(values, ARROW_TYPES[code.type])
    return Encoder((code,), (), normalize_rows=False).encode(pa.table({code.name: column}))


def _alternatives(model: ServedModel, code: ColumnCode, start: int) -> list[Label]:
    if code.type == "boolean":
        return [False, True]
    rows = model.kernel_machine("an explanation").X[:, start : start + len(code.categories)]
    order = (rows > 0).sum(0).sort(descending=True, stable=True).indices[:MAX_SWAPS].tolist()
    return [code.categories[index] for index in order]
