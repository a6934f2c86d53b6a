"""Explain predictions in terms of the table: its columns, its units, rows of its dataset.

A slope is the exact gradient of the model times the encoder's change over one standard deviation of the column. In the
expanded encoding a view of a column may jump where many training rows share one value: there the mean over one
deviation is more meaningful than the slope at the point.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import torch

from worker.contracts.base import Label
from worker.contracts.errors import InvalidRequest
from worker.contracts.explanation import Explanation, Neighbour, Sensitivity
from worker.engine import explain as one_machine
from worker.engine.blocks import explain as many_machines
from worker.engine.blocks.explain import NearRow
from worker.engine.blocks.model import BlocksModel
from worker.engine.model import Model
from worker.engine.targets import RegressionTargets
from worker.serving.model import Answer, ServedModel
from worker.tables.encoding.categories import RARE, UNKNOWN
from worker.tables.encoding.column_code import ColumnCode
from worker.tables.encoding.encoder import Encoder, lengths
from worker.tables.rows.matching import match_columns
from worker.tables.values import ARROW_TYPES, as_floats

WHAT = "an explanation"
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
    if table.num_rows == 0:
        return []
    answer = model.predict(table)
    near = _neighbours(model, torch.from_numpy(model.encoder.encode(table)), k)
    outputs = [_outputs(model, answer, row) for row in range(table.num_rows)]
    encoded = replace(model.encoder, normalize_rows=False).encode(table)
    slopes = _slopes(model, encoded, outputs)
    return [
        Explanation(
            prediction=_prediction(model, answer, row),
            probabilities=None if answer.probabilities is None else answer.probabilities[row].tolist(),
            neighbours=near[row],
            sensitivity=_sensitivity(model, table.slice(row, 1), encoded[row : row + 1], slopes[row], outputs[row]),
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
    nearest = _near_rows(model, X, k)
    for number, near in enumerate(nearest, 1):
        if not all(math.isfinite(row.distance) for row in near):
            raise InvalidRequest(
                f"row {number} holds numbers so far from the training rows that no distance can be computed"
            )
    return [[_neighbour(model, row) for row in near] for near in nearest]


def _near_rows(model: ServedModel, X: torch.Tensor, k: int) -> list[list[NearRow]]:
    if isinstance(model.fitted, BlocksModel):
        return many_machines.neighbours(model.fitted, X, k)
    nearest = one_machine.neighbours(model.kernel_machine(WHAT), X, k)
    lists = zip(nearest.rows.tolist(), nearest.distances.tolist(), nearest.weights.tolist(), strict=True)
    return [[NearRow(0, *row) for row in zip(*columns, strict=True)] for columns in lists]


def _neighbour(model: ServedModel, near: NearRow) -> Neighbour:
    shown = Neighbour(distance=near.distance, weight=near.weight)
    if model.origin is None:
        return shown
    dataset, number = model.origin.of(_place(model.fitted, near))
    return shown.model_copy(update={"row": number, "dataset": dataset})


def _place(fitted: Model, near: NearRow) -> int:
    """Return the place of a training row in the model's order: machines one after another."""
    counts = (*fitted.leaves.rows, *fitted.blocks.rows)[: near.machine] if isinstance(fitted, BlocksModel) else ()
    return sum(counts) + near.row


def _sensitivity(
    model: ServedModel, row: pa.Table, u: np.ndarray, slopes: np.ndarray, outputs: Sequence[int]
) -> list[Sensitivity]:
    """Return the sensitivity by column, largest change of standardised outputs or scores first.

    ``u`` (1, d): the row encoded, before it is normalised; ``slopes`` (d, len(outputs)): derivatives by it.
    """
    scale = np.ones(len(outputs))
    if isinstance(model.fitted.targets, RegressionTargets):
        scale = model.fitted.targets.scale.cpu().numpy()[list(outputs)]
    changes = {
        column.name: (np.zeros(len(outputs)), Sensitivity(feature=column.name, type=column.type, change=None))
        for column in model.features
    }
    changes |= {
        sensitivity.feature: (change, sensitivity) for change, sensitivity in _changes(model, row, u, slopes, outputs)
    }
    ordered = sorted(changes.values(), key=lambda pair: -np.abs(pair[0]).max() if np.isfinite(pair[0]).all() else 1.0)
    return [
        sensitivity.model_copy(update={"change": (change * scale).tolist() if np.isfinite(change).all() else None})
        for change, sensitivity in ordered
    ]


def _changes(
    model: ServedModel, row: pa.Table, u: np.ndarray, slopes: np.ndarray, outputs: Sequence[int]
) -> Iterator[tuple[np.ndarray, Sensitivity]]:
    """Yield the change (len(outputs),) of each column that is encoded; NaN where the row has no number."""
    encoder = model.encoder
    for code, place in zip(encoder.codes, encoder.layout.places, strict=True):
        value = row.column(code.name)[0].as_py()
        if code.type in ("numeric", "datetime"):
            value = as_floats(row.column(code.name))[0].as_py()
            step = code.scale if code.deviation is None else code.deviation
            moved = np.full(len(outputs), np.nan)
            if value is not None:
                low, high = _encoded(code, [value - step / 2, value + step / 2])
                # a moment moves in time; its month and its hour would go around many times
                changed = high - low if code.type == "numeric" else (high - low) * (np.arange(len(low)) == 0)
                moved = changed @ slopes[place]
            yield moved, Sensitivity(feature=code.name, type=code.type, change=None, step=step)
        else:
            known = True
            if code.type == "categorical":
                category = code.known.place(value)
                known = category not in (UNKNOWN, RARE)
                value = code.levels[category] if category >= 0 else None
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


def _slopes(model: ServedModel, u: np.ndarray, outputs: Sequence[Sequence[int]]) -> list[np.ndarray]:
    """Return each row's derivatives of its ``outputs`` by u (m, d), rows before they are normalised, (d, outputs)."""
    x = model.encoder.scaled(u.copy())
    every = sorted({index for of_row in outputs for index in of_row})
    found = _gradients(model, torch.from_numpy(x), every).cpu().numpy()
    places = [[every.index(index) for index in of_row] for of_row in outputs]
    slopes = [found[row][:, of_row] for row, of_row in enumerate(places)]
    if not model.encoder.normalize_rows:
        return slopes
    # of x = u / ‖u‖ by u: (I − xxᵀ) / ‖u‖
    return [
        (slope - np.outer(row, row @ slope)) / length
        for slope, row, length in zip(slopes, x, lengths(u)[:, 0], strict=True)
    ]


def _gradients(model: ServedModel, X: torch.Tensor, of: Sequence[int]) -> torch.Tensor:
    if isinstance(model.fitted, BlocksModel):
        return many_machines.gradients(model.fitted, X, of)
    return one_machine.gradients(model.kernel_machine(WHAT), X, of)


def _encoded(code: ColumnCode, values: Sequence[Label | None]) -> np.ndarray:
    """Return values of one column encoded, before rows are normalised, (len(values), columns of the code)."""
    # moments are moved as their seconds
    column = pa.array(values, pa.float64() if code.type == "datetime" else ARROW_TYPES[code.type])
    return Encoder((code,), (), normalize_rows=False).encode(pa.table({code.name: column}))


def _alternatives(model: ServedModel, code: ColumnCode, start: int) -> list[Label | None]:
    """Return the values of a column to try, those with the most training rows; instead of a text none."""
    if code.type == "text":
        return [None]
    if code.type == "boolean":
        return [False, True]
    columns = slice(start, start + len(code.categories))
    if isinstance(model.fitted, BlocksModel):
        # of a column that is 1 for a share p of the rows and else 0, p(1 − p) orders as p: what is left for all others
        # is 1 − p. Counting would take a pass over the rows of all machines
        frequent = model.fitted.variances[columns]
    else:
        frequent = (model.kernel_machine(WHAT).X[:, columns] > 0).sum(0)
    return [
        code.categories[index] for index in frequent.sort(descending=True, stable=True).indices[:MAX_SWAPS].tolist()
    ]
