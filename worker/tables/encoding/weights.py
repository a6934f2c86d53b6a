"""Weights of rows as a request says them: a column that holds them, and weights of classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from worker.contracts.base import Label
from worker.contracts.errors import InvalidRequest, pointer
from worker.contracts.requests import ClassWeight, TableRequest
from worker.contracts.resources import Column, ModelColumn
from worker.tables.close_names import did_you_mean, shown
from worker.tables.column_types import read_column
from worker.tables.rows.matching import WrongCell
from worker.tables.values import as_floats, cell_text, spelling

MIN_WEIGHT, MAX_WEIGHT = 1e-30, 1e30
"""Of rows that count. Beyond, products with them would leave the range of float32."""
RULE = f"give each row a number of at least 0 and at most {MAX_WEIGHT:g}"
SHOWN = 10


def weights_column(request: TableRequest, columns: Mapping[str, Column]) -> Column | None:
    """Return the column that holds the weights of rows, None where there is none.

    Raises:
        InvalidRequest: it does not exist, is a target, or holds no numbers.
    """
    name = request.weights
    if name is None:
        return None
    if name not in columns:
        raise InvalidRequest.at("/weights", f"the dataset has no column {shown(name)!r}{did_you_mean(name, columns)}")
    if name in request.targets:
        raise InvalidRequest.at("/weights", f"{shown(name)!r} is the target and cannot hold the weights of rows")
    if columns[name].type != "numeric":
        raise InvalidRequest.at("/weights", f"column {shown(name)!r} is {columns[name].type} and no weight; {RULE}")
    return columns[name]


def check_statistics(column: Column, dropped: int, place: str = "/weights") -> None:
    """Check the weights of a dataset by the statistics of their column. ``dropped``: its rows without a target.

    Raises:
        InvalidRequest: a weight is missing, infinite, below 0 or too large; or all are 0. ``place``: the pointer.
    """
    name, least, most = column.name, column.min, column.max
    if column.missing > dropped:
        where = "" if column.first_missing is None else f", the first in row {column.first_missing}"
        raise InvalidRequest.at(place, f"column {name!r} has {column.missing} rows without a weight{where}; {RULE}")
    if column.infinite:
        raise InvalidRequest.at(place, f"column {name!r} has {column.infinite} infinite weights; {RULE}")
    if not isinstance(least, float) or not isinstance(most, float):
        return
    for weight, what in ((least, "smallest"), (most, "largest")):
        if wrong_weights(np.array([weight])).any():
            raise InvalidRequest.at(place, f"the {what} weight in column {name!r} is {weight:g}; {RULE}")
    if most == 0:
        raise InvalidRequest.at(place, f"all weights in column {name!r} are 0; some rows must count")


def wrong_weights(weights: np.ndarray) -> np.ndarray:
    """Return which of weights (n,) are none, (n,) bool."""
    too_small = (weights > 0) & (weights < MIN_WEIGHT)
    return ~((weights >= 0) & (weights <= MAX_WEIGHT)) | too_small


def read_weights(
    cells: pa.ChunkedArray, column: ModelColumn, rows: np.ndarray, place: str = "/weights", first: int = 0
) -> np.ndarray:
    """Return the weights of rows, (k,) float64. ``rows``: their numbers among the stored cells of the column.

    ``place``: the pointer of errors; ``first``: the number of the first cell in its dataset, from 0.

    Raises:
        InvalidRequest: one is missing or no weight; row and value are named.
    """
    try:
        taken = read_column(cells.take(pa.array(rows)), column)
    except WrongCell as error:
        row = first + int(rows[error.row]) + 1
        raise InvalidRequest.at(place, f"row {row}, column {column.name!r}: {error.message}; {RULE}") from error
    weights: np.ndarray = as_floats(taken).to_numpy()
    wrong = np.flatnonzero(wrong_weights(weights))
    if len(wrong):
        weight, row = weights[wrong[0]], first + int(rows[wrong[0]]) + 1
        what = "no weight" if np.isnan(weight) else f"the weight {weight:g}"
        raise InvalidRequest.at(place, f"column {column.name!r} has {what} in row {row}; {RULE}")
    return weights


@dataclass(frozen=True)
class ClassWeights:
    """Weights (c,) float64 of the sorted classes of a target, also of those of weight 0."""

    classes: list[Label]
    weights: np.ndarray

    @property
    def weighing(self) -> list[Label]:
        """The classes with a weight above 0."""
        return [label for label, weight in zip(self.classes, self.weights, strict=True) if weight > 0]


def class_weights(
    class_weight: ClassWeight, classes: list[Label], codes: np.ndarray, weights: np.ndarray | None
) -> ClassWeights:
    """Return the weights of classes whose rows have ``codes`` (n,) and ``weights`` (n,), None for all 1.

    Raises:
        InvalidRequest: a label is no class, or fewer than two classes have a weight above 0.
    """
    if class_weight == "balanced":
        return ClassWeights(classes, balanced(codes, weights, len(classes)))
    return ClassWeights(classes, labeled_weights(class_weight, classes))


def balanced(codes: np.ndarray, weights: np.ndarray | None, classes: int) -> np.ndarray:
    """Return weights (classes,) with which all classes that have rows weigh the same, and all rows what they did."""
    totals = np.bincount(codes, weights, minlength=classes)
    share = totals.sum() / (totals > 0).sum()
    found: np.ndarray = np.divide(share, totals, out=np.zeros(classes), where=totals > 0)
    return found


def labeled_weights(class_weight: Mapping[str, float], classes: Sequence[Label]) -> np.ndarray:
    """Return the weight of each class, (c,), 1 for those that are not named.

    Raises:
        InvalidRequest: a label is no class, or is named twice; or fewer than two classes have a weight above 0.
    """
    places = {cell_text(label): place for place, label in enumerate(classes)}
    weights, named = np.ones(len(classes)), dict[int, str]()
    for text, weight in class_weight.items():
        place = places.get(text, places.get(spelling(text)))
        at = pointer("class_weight", text)
        if place is None:
            known = ", ".join(repr(shown(label)) for label in [*places][:SHOWN])
            more = ", …" if len(places) > SHOWN else ""
            raise InvalidRequest.at(
                at, f"the target has no label {shown(text)!r}{did_you_mean(text, places)}; it has {known}{more}"
            )
        if place in named:
            raise InvalidRequest.at(at, f"{shown(text)!r} and {shown(named[place])!r} are the same label")
        weights[place], named[place] = weight, text
    if (weights > 0).sum() < 2:
        raise InvalidRequest.at("/class_weight", "fewer than two classes have a weight above 0; nothing is to be told")
    return weights
