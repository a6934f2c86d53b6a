"""A cache of datasets, models and checks for one request: all jobs of a batch may use the same wide table."""

from collections.abc import Callable, Mapping
from typing import TypeVar, cast

from service.datasets.warnings import column_warnings, header_warning, left_out_warnings
from service.jobs.cell_checks import check_cells
from service.jobs.weight_checks import check_weights, labels_of
from service.runtime.context import Context
from worker.contracts.base import Task
from worker.contracts.errors import InvalidRequest, NotFound, UnknownReference
from worker.contracts.requests import MissingTarget, TableRequest
from worker.contracts.resources import Column, Model
from worker.store import datasets, models
from worker.store.datasets import DatasetRecord
from worker.store.files.artifacts import Artifacts
from worker.tables import schema
from worker.tables.close_names import shown
from worker.tables.column_types import model_columns, types_of, with_types
from worker.tables.encoding.weights import check_statistics, labeled_weights, weights_column
from worker.tables.encoding.width import encoded_width

R = TypeVar("R")


class _Memo(dict[tuple[object, ...], object]):
    """Computed results by key."""

    def get_or_add(self, key: tuple[object, ...], make: Callable[[], R]) -> R:
        """Return the result of ``key``, computed by ``make`` the first time."""
        if key not in self:
            self[key] = make()
        return cast(R, self[key])


class Table:
    """A dataset with its columns by name, and its table in storage."""

    def __init__(self, record: DatasetRecord) -> None:
        self.dataset = record.resource
        self.content = record.table
        self.columns: Mapping[str, Column] = schema.by_name(record.resource.columns)


class ColumnSelection:
    """The features and targets that a request selects from a table, with cached checks."""

    def __init__(self, request: TableRequest, table: Table) -> None:
        types = types_of(request, table.columns)
        columns = with_types(table.columns, types)
        self.features, self.left_out = schema.resolve_features(request, columns, table.dataset.rows)
        self.targets = schema.resolve_targets(request, columns)
        self.weights = weights_column(request, columns)
        self.names = [column.name for column in self.features]
        self._types = types
        self._table = table
        self._dataset = table.dataset
        self._memo = _Memo()

    def width(self, expanded: bool) -> int:
        """Return the largest number of encoded columns of the features."""
        return self._memo.get_or_add(("width", expanded), lambda: encoded_width(self.features, expanded))

    def warnings(self, expanded: bool) -> list[str]:
        """Return the warnings about the features."""
        return self._memo.get_or_add(("remarks", expanded), lambda: self._warnings(expanded))

    def _warnings(self, expanded: bool) -> list[str]:
        header = header_warning(self._dataset)
        columns = left_out_warnings(self.left_out) + column_warnings(
            self.features, self._dataset.rows, expanded=expanded
        )
        return columns if header is None else [header, *columns]

    def check(self, task: Task, most: int, expanded: bool, missing_target: MissingTarget) -> None:
        """See ``schema.check_columns``."""
        self._memo.get_or_add(
            ("check", task, most, expanded, missing_target),
            lambda: schema.check_columns(
                self.features,
                self.targets,
                task,
                max_encoded=most,
                expanded=expanded,
                missing_target=missing_target,
            ),
        )

    def check_cells(self, artifacts: Artifacts) -> None:
        """See ``cell_checks.check_cells``."""
        names = [*self.names, *(target.name for target in self.targets)]
        names += [] if self.weights is None else [self.weights.name]
        table, types = self._table, self._types
        self._memo.get_or_add(
            ("cells",),
            lambda: check_cells(artifacts, table.content, table.dataset.rows, table.columns, names, types),
        )

    def check_weights(self, artifacts: Artifacts, request: TableRequest, task: Task) -> None:
        """See ``weight_checks``. ``request``: one with these columns."""
        table, [target, *_] = self._table, self.targets
        content, rows, types = table.content, table.dataset.rows, self._types
        if self.weights is not None:
            column, dropped = self.weights, schema.rows_without_target(self.targets)
            [read] = model_columns(table.columns, [column.name], types)
            self._memo.get_or_add(("weights",), lambda: check_weights(artifacts, content, rows, column, read, dropped))
        if request.class_weight is None:
            return
        if task == "regression":
            message = f"{shown(target.name)!r} is learned by a regression, which has no classes to weigh"
            raise InvalidRequest.at("/class_weight", message)
        if isinstance(request.class_weight, dict):
            labels = self._memo.get_or_add(
                ("labels",), lambda: labels_of(artifacts, content, rows, table.columns, target.name, types)
            )
            if labels is not None:
                labeled_weights(request.class_weight, labels)

    def check_validation(self, other: Table, missing_target: MissingTarget) -> None:
        """See ``schema.check_validation_dataset`` and ``schema.check_validation_targets``."""
        self._memo.get_or_add(
            ("validation", other.dataset.id),
            lambda: self._check_validation(other),
        )
        schema.check_validation_targets(self.targets, other.columns, missing_target)

    def _check_validation(self, other: Table) -> None:
        weights = [] if self.weights is None or self.weights.name not in other.columns else [self.weights]
        schema.check_validation_dataset(self.features + self.targets + weights, other.columns)
        for column in weights:
            judging = other.columns[column.name]
            dropped = schema.rows_without_target([other.columns[target.name] for target in self.targets])
            check_statistics(judging, dropped, "/validation/dataset")


class LookupCache:
    """LookupCache of one request. It must not live longer, because datasets and models are deleted."""

    def __init__(self, context: Context) -> None:
        self._database = context.database
        self._memo = _Memo()

    def table(self, dataset_id: str, pointer: str) -> Table:
        """Return the dataset that a request names at ``pointer``.

        Raises:
            UnknownReference: it does not exist.
        """
        try:
            return self._memo.get_or_add(
                ("table", dataset_id), lambda: Table(datasets.get_record(self._database, dataset_id))
            )
        except NotFound as error:
            raise UnknownReference.at(pointer, error.detail) from error

    def model(self, ref: str) -> Model:
        """Return the model that a request predicts with.

        Raises:
            UnknownReference: it does not exist.
        """
        try:
            return self._memo.get_or_add(("model", ref), lambda: models.get(self._database, ref).resource)
        except NotFound as error:
            raise UnknownReference.at("/model", error.detail) from error

    def selection(self, request: TableRequest, table: Table) -> ColumnSelection:
        """Return the columns that a request selects from a table.

        Raises:
            InvalidRequest: it names unknown or unsuitable columns.
        """
        features = None if request.features is None else tuple(request.features)
        # a target and a list of one target differ in the pointers of errors
        target = request.target if isinstance(request.target, str) else tuple(request.target)
        types = tuple(request.columns.items())
        excluded = tuple(request.exclude)
        left_out = (request.split_only, request.weights)
        key = ("choice", table.dataset.id, target, features, excluded, left_out, types)
        return self._memo.get_or_add(key, lambda: ColumnSelection(request, table))

    def check_predict(self, model: Model, table: Table) -> None:
        """See ``schema.check_predict``."""
        self._memo.get_or_add(
            ("predict", model.id, table.dataset.id), lambda: schema.check_predict(model.features, table.columns)
        )
