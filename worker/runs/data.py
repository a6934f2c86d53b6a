"""From the stored table to encoded training and validation rows."""

import tempfile
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa

from worker.contracts.artifacts import TableRef
from worker.contracts.base import Label
from worker.contracts.messages import BlocksOrder, FitOrder, NetworkOrder
from worker.serving.model import Origin
from worker.store.files.artifacts import Artifacts
from worker.tables.encoding import splits
from worker.tables.encoding.targets import class_codes, regression_targets
from worker.tables.rows.matching import match_columns
from worker.tables.storage import load_table
from worker.tables.written import categories_among
from worker.training.rows import TrainingRows, encoded_rows

RowsOrder = FitOrder | BlocksOrder | NetworkOrder


def load_rows(order: RowsOrder, artifacts: Artifacts, fold: int | None) -> TrainingRows:
    """Read, split and encode. ``fold`` counts from 1; None is the fit that becomes the model.

    Raises:
        InvalidRequest: nothing is left to learn from, or a validation label is unknown.
    """
    request = order.request
    table = _read(order.table, artifacts, [*(request.features or ()), *request.targets])
    Y, classes = raw_targets(order, table, None)
    fitted, held_out = split_rows(order, Y, fold)
    features = order.table.model_columns(request.features or ())
    training = (table.take(fitted), Y[fitted])
    validation, numbers = None, np.arange(0)
    if held_out is not None:
        validation, numbers = (table.take(held_out), Y[held_out]), held_out
    elif order.validation is not None:
        columns = [*features, *order.table.model_columns(request.targets)]
        names = [column.name for column in columns]
        other = _read(order.validation, artifacts, names, categories_among(columns))
        other_Y, _ = raw_targets(order, other, classes)
        validation, numbers = (match_columns(other, features), other_Y), np.arange(other.num_rows)
    return encoded_rows(request.spec, features, classes, training, validation, (fitted, numbers))


def origin_of(order: FitOrder, rows: TrainingRows, *, together: bool) -> Origin | None:
    """Return the origin of a model's rows; ``together``: the validation rows follow the training rows."""
    if rows.numbers is None:
        return None
    training, held_out = rows.numbers
    if not together:
        return Origin(training, ((order.table.dataset, len(training)),))
    numbers = np.concatenate([training, held_out])
    if order.validation is None:
        return Origin(numbers, ((order.table.dataset, len(numbers)),))
    return Origin(numbers, ((order.table.dataset, len(training)), (order.validation.dataset, len(held_out))))


def _read(ref: TableRef, artifacts: Artifacts, names: list[str], as_texts: Collection[str] = ()) -> pa.Table:
    with tempfile.TemporaryDirectory(prefix="factrfm-fit-") as folder:
        return load_table(artifacts.local_copy(ref.table, Path(folder)), names, as_texts)


def raw_targets(
    order: RowsOrder, table: pa.Table, classes: list[Label] | None
) -> tuple[np.ndarray, list[Label] | None]:
    """Return raw targets, (n, c) outputs or (n,) codes, and the classes. ``classes``: those that codes are of.

    Raises:
        InvalidRequest: a value is missing, or a label is none of the classes.
    """
    if order.task == "regression":
        return regression_targets(table, order.request.targets), None
    return class_codes(table, order.request.targets[0], classes)


def split_rows(order: RowsOrder, Y: np.ndarray, fold: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the training and the validation rows of this table, None without validation rows."""
    validation = order.request.validation
    seed = order.request.spec.seed
    codes = Y if order.task == "classification" else None
    if validation is not None and validation.fraction is not None:
        return splits.holdout(len(Y), validation.fraction, seed, codes)
    if validation is not None and validation.folds is not None and fold is not None:
        return splits.folds(len(Y), validation.folds, seed, codes)[fold - 1]
    return np.arange(len(Y)), None
