"""From the stored table to encoded training and validation rows."""

import tempfile
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from worker.contracts.artifacts import TableRef
from worker.contracts.base import Label
from worker.contracts.errors import InvalidRequest
from worker.contracts.messages import BlocksOrder, FitOrder, NetworkOrder
from worker.contracts.resources import DroppedColumn, ModelColumn
from worker.serving.model import Origin
from worker.store.files.artifacts import Artifacts
from worker.tables.column_types import as_written, changed, model_columns, read_as, types_of
from worker.tables.encoding import splits
from worker.tables.encoding.targets import class_codes, regression_targets, rows_with_targets
from worker.tables.left_out import unread
from worker.tables.rows.matching import WrongRow, match_columns
from worker.tables.schema import check_rows
from worker.tables.split_columns import split_keys
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
    features, targets = columns_of(order, request.features or ()), columns_of(order, request.targets)
    stored, read = order.table.columns, [*features, *targets]
    names = list(dict.fromkeys([*(request.features or ()), *columns_of_labels(order)]))
    table = read_as(_read(order.table, artifacts, names, as_written(stored, read)), changed(stored, read))
    labeled = labeled_rows(order, table)
    fitted, held_out = split_rows(order, labeled, fold)
    training = (table.take(labeled.numbers[fitted]), labeled.Y[fitted])
    validation, judging = None, np.arange(0)
    dropped_there = 0
    if held_out is not None:
        judging = labeled.numbers[held_out]
        validation = (table.take(judging), labeled.Y[held_out])
    elif order.validation is not None:
        names = [column.name for column in read]
        other = _read(order.validation, artifacts, names, categories_among(read))
        judges = labeled_validation_rows(order, read_as(other, changed(stored, targets)), labeled.classes)
        judging, dropped_there = judges.numbers, judges.dropped
        validation = (matched(other.take(judging), features, judging), judges.Y)
    numbers = (labeled.numbers[fitted], judging)
    rows = encoded_rows(request.spec, features, labeled.classes, training, validation, numbers)
    return replace(rows, dropped=(labeled.dropped, dropped_there))


def columns_of(order: RowsOrder, names: Iterable[str]) -> list[ModelColumn]:
    """Return columns as the order's request reads them."""
    stored = {column.name: column for column in order.table.columns}
    return model_columns(stored, names, types_of(order.request, stored))


def unread_by(order: FitOrder | BlocksOrder) -> list[DroppedColumn]:
    """Return the columns of the dataset that tell nothing and that the model does not read."""
    request, table = order.request, order.table
    return unread(table.columns, table.rows, (*(request.features or ()), *request.targets))


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


@dataclass(frozen=True)
class LabeledRows:
    """The rows of a table that have every target.

    ``numbers`` (n,) int64: of these rows in the table, ascending. ``Y``: their raw targets, (n, c) outputs or (n,)
    codes of ``classes``. ``dropped``: how many other rows the table has. ``keys`` (n,): of the column that splits them,
    None without, see ``split_keys``.
    """

    numbers: np.ndarray
    Y: np.ndarray
    classes: list[Label] | None
    dropped: int
    keys: np.ndarray | None = None


def columns_of_labels(order: RowsOrder) -> list[str]:
    """Return the columns that ``labeled_rows`` reads: the targets, and that which splits the rows."""
    validation = order.request.validation
    by = None if validation is None else validation.by
    return [*order.request.targets, *(() if by is None else by[1:])]


def labeled_rows(order: RowsOrder, table: pa.Table) -> LabeledRows:
    """Return the rows of the training table that have every target.

    Raises:
        InvalidRequest: a value is missing and may not be, or is infinite; or too few rows are left to learn from.
    """
    labeled = _labeled(order, table, None)
    if labeled.dropped:
        check_rows(order.request, len(labeled.Y), labeled.dropped)
        for name, column in zip(order.request.targets, labeled.Y.reshape(len(labeled.Y), -1).T, strict=True):
            if (column == column[0]).all():
                raise InvalidRequest.at("/target", f"target {name!r} has only one value in the rows with every target")
    validation = order.request.validation
    if validation is None or validation.by is None:
        return labeled
    [splits_by] = [column for column in order.table.columns if column.name == validation.by[1]]
    keys = split_keys(validation, table.column(splits_by.name), labeled.numbers, splits_by.date_order)
    return replace(labeled, keys=keys)


def labeled_validation_rows(order: RowsOrder, table: pa.Table, classes: list[Label] | None) -> LabeledRows:
    """Return the rows of the validation dataset that have every target. ``classes``: of the training rows.

    Raises:
        InvalidRequest: as of ``labeled_rows``; or no row is left, or a label is none of the classes.
    """
    labeled = _labeled(order, table, classes)
    if not len(labeled.Y):
        raise InvalidRequest.at("/validation/dataset", "no row of the validation dataset has every target")
    return labeled


def _labeled(order: RowsOrder, table: pa.Table, classes: list[Label] | None) -> LabeledRows:
    request, rows = order.request, np.arange(table.num_rows)
    words = columns_of(order, request.targets)[0].missing_words
    if request.missing_target == "drop":
        rows = rows_with_targets(table, request.targets, classes, words)
    dropped = table.num_rows - len(rows)
    if order.task == "regression":
        return LabeledRows(rows, regression_targets(table, request.targets, rows), None, dropped)
    Y, classes = class_codes(table, request.targets[0], classes, rows, words)
    return LabeledRows(rows, Y, classes, dropped)


def matched(table: pa.Table, features: Sequence[ModelColumn], numbers: np.ndarray) -> pa.Table:
    """Return the features of rows of another table, as ``match_columns``. ``numbers``: of the rows in that table.

    Raises:
        InvalidRequest: a cell does not fit its column; its row is counted in that table.
    """
    try:
        return match_columns(table, features)
    except WrongRow as error:
        raise error.counted_from(int(numbers[error.row]) - error.row) from error


def split_rows(order: RowsOrder, labeled: LabeledRows, fold: int | None) -> tuple[np.ndarray, np.ndarray | None]:
    """Return which of the rows train and which validate, None without validation rows."""
    validation, keys, n = order.request.validation, labeled.keys, len(labeled.Y)
    seed = order.request.spec.seed
    codes = labeled.Y if order.task == "classification" else None
    if validation is None:
        return np.arange(n), None
    if validation.column is not None and keys is not None:
        return splits.marked(keys)
    if validation.time is not None and validation.fraction is not None and keys is not None:
        return splits.latest(keys, validation.fraction)
    if validation.fraction is not None:
        if keys is not None:
            return splits.group_holdout(keys, validation.fraction, seed)
        return splits.holdout(n, validation.fraction, seed, codes)
    if validation.folds is not None and fold is not None:
        if keys is not None:
            return splits.group_folds(keys, validation.folds, seed)[fold - 1]
        return splits.folds(n, validation.folds, seed, codes)[fold - 1]
    return np.arange(n), None
