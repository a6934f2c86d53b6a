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
from worker.tables.encoding.weights import ClassWeights, class_weights, read_weights
from worker.tables.left_out import unread
from worker.tables.rows.matching import WrongRow, match_columns
from worker.tables.schema import check_rows
from worker.tables.split_columns import split_keys
from worker.tables.storage import load_table
from worker.tables.written import categories_among
from worker.training.rows import TrainingRows, encoded_rows, row_weights

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
    weights = None if labeled.weights is None else labeled.weights[fitted]
    validation, judging = None, np.arange(0)
    dropped_there, judging_weights = 0, None
    if held_out is not None:
        judging = labeled.numbers[held_out]
        validation = (table.take(judging), labeled.Y[held_out])
        judging_weights = None if labeled.weights is None else labeled.weights[held_out]
    elif order.validation is not None:
        names = [column.name for column in read]
        if request.weights in {column.name for column in order.validation.columns}:
            names.append(str(request.weights))
        other = _read(order.validation, artifacts, names, categories_among(read))
        relabeled = read_as(other, changed(stored, targets))
        judges = labeled_validation_rows(order, relabeled, labeled.classes, labeled.class_weights)
        judging, dropped_there, judging_weights = judges.numbers, judges.dropped, judges.weights
        validation = (matched(other.take(judging), features, judging), judges.Y)
    numbers = (labeled.numbers[fitted], judging)
    both = row_weights(weights, judging_weights, len(fitted))
    rows = encoded_rows(request.spec, features, labeled.classes, training, validation, numbers, both)
    return replace(rows, dropped=(labeled.dropped, dropped_there), weightless=labeled.weightless)


def columns_of(order: RowsOrder, names: Iterable[str]) -> list[ModelColumn]:
    """Return columns as the order's request reads them."""
    stored = {column.name: column for column in order.table.columns}
    return model_columns(stored, names, types_of(order.request, stored))


def unread_by(order: FitOrder | BlocksOrder) -> list[DroppedColumn]:
    """Return the columns of the dataset that tell nothing and that the model does not read."""
    request, table = order.request, order.table
    columns = [column for column in table.columns if column.name != request.weights]
    return unread(columns, table.rows, (*(request.features or ()), *request.targets))


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
    codes of ``classes``. ``dropped``: how many rows of the table have no target. ``keys`` (n,): of the column that
    splits them, None without, see ``split_keys``. ``weights`` (n,) float64 above 0, None where all are 1: those of the
    column times those of ``class_weights``. ``weightless``: how many rows have a target and the weight 0.
    """

    numbers: np.ndarray
    Y: np.ndarray
    classes: list[Label] | None
    dropped: int
    keys: np.ndarray | None = None
    weights: np.ndarray | None = None
    class_weights: ClassWeights | None = None
    weightless: int = 0

    def times(self, class_weights: ClassWeights) -> "LabeledRows":
        """Return the rows with each weight times that of its class, without classes of weight 0."""
        of_class = class_weights.weights
        own = of_class[self.Y] if self.weights is None else of_class[self.Y] * self.weights
        kept = np.flatnonzero(own > 0)
        return replace(
            self,
            numbers=self.numbers[kept],
            Y=(np.cumsum(of_class > 0) - 1)[self.Y[kept]],
            classes=class_weights.weighing,
            weights=own[kept],
            class_weights=class_weights,
            weightless=self.weightless + len(own) - len(kept),
        )


def columns_of_labels(order: RowsOrder) -> list[str]:
    """Return the columns that ``labeled_rows`` reads: the targets, those which split the rows and weigh them."""
    request = order.request
    by = None if request.validation is None else request.validation.by
    weights = () if request.weights is None else (request.weights,)
    return list(dict.fromkeys([*request.targets, *(() if by is None else by[1:]), *weights]))


def labeled_rows(order: RowsOrder, table: pa.Table) -> LabeledRows:
    """Return the rows of the training table that have every target and a weight above 0.

    Raises:
        InvalidRequest: a value is missing and may not be, or is infinite; a weight is none, or the weight of a label
            that the rows do not have; or too few rows are left to learn from.
    """
    labeled, request = _labeled(order, table, None), order.request
    _check_left(order, labeled)
    if request.class_weight is not None and labeled.classes is not None:
        weights = class_weights(request.class_weight, labeled.classes, labeled.Y, labeled.weights)
        labeled = labeled.times(weights)
        _check_left(order, labeled)
    validation = request.validation
    if validation is None or validation.by is None:
        return labeled
    [splits_by] = [column for column in order.table.columns if column.name == validation.by[1]]
    keys = split_keys(validation, table.column(splits_by.name), labeled.numbers, splits_by.date_order)
    return replace(labeled, keys=keys)


def _check_left(order: RowsOrder, labeled: LabeledRows) -> None:
    """Check that the rows that are left can be learned from, where some are not."""
    if not labeled.dropped and not labeled.weightless:
        return
    check_rows(order.request, len(labeled.Y), labeled.dropped, labeled.weightless)
    which = "with every target" + (" and a weight above 0" if labeled.weightless else "")
    for name, column in zip(order.request.targets, labeled.Y.reshape(len(labeled.Y), -1).T, strict=True):
        if (column == column[0]).all():
            raise InvalidRequest.at("/target", f"target {name!r} has only one value in the rows {which}")


def labeled_validation_rows(
    order: RowsOrder, table: pa.Table, classes: list[Label] | None, class_weights: ClassWeights | None = None
) -> LabeledRows:
    """Return the rows of the validation dataset that have every target and a weight above 0.

    ``classes`` and ``class_weights``: of the training rows. Every row counts once where the table has no weights.

    Raises:
        InvalidRequest: as of ``labeled_rows``; or no row is left, or a label is none of the classes.
    """
    known = classes if class_weights is None else class_weights.classes
    labeled = _labeled(order, table, known, "/validation/dataset")
    if class_weights is not None:
        labeled = labeled.times(class_weights)
    if not len(labeled.Y):
        also = " and a weight above 0" if labeled.weightless else ""
        raise InvalidRequest.at("/validation/dataset", f"no row of the validation dataset has every target{also}")
    return labeled


def _labeled(order: RowsOrder, table: pa.Table, classes: list[Label] | None, place: str = "/weights") -> LabeledRows:
    request, rows = order.request, np.arange(table.num_rows)
    words = columns_of(order, request.targets)[0].missing_words
    if request.missing_target == "drop":
        rows = rows_with_targets(table, request.targets, classes, words)
    dropped, labeled = table.num_rows - len(rows), len(rows)
    rows, weights = _weighing(order, table, rows, place)
    if order.task == "regression":
        Y = regression_targets(table, request.targets, rows)
    else:
        Y, classes = class_codes(table, request.targets[0], classes, rows, words)
    return LabeledRows(rows, Y, classes, dropped, weights=weights, weightless=labeled - len(rows))


def _weighing(order: RowsOrder, table: pa.Table, rows: np.ndarray, place: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Return those of the ``rows`` of a table that have a weight above 0, and their weights, None where all are 1."""
    name = order.request.weights
    if name is None or name not in table.column_names:
        return rows, None
    weights = read_weights(table.column(name), columns_of(order, [name])[0], rows, place)
    above = weights > 0
    return rows[above], weights[above]


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
