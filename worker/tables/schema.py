"""Check requests against the columns of their dataset, by the columns' statistics only."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from worker.contracts.base import Task
from worker.contracts.errors import ColumnMismatch, InvalidRequest, TooWide
from worker.contracts.requests import MissingTarget, TableRequest
from worker.contracts.resources import Column, DroppedColumn, ModelColumn
from worker.tables import values
from worker.tables.cells import dates
from worker.tables.close_names import did_you_mean, shown
from worker.tables.column_types import ignored
from worker.tables.encoding.width import encoded_width, widths
from worker.tables.left_out import naming
from worker.tables.values import EXACT_INTEGERS

MAX_AUTO_CLASSES = 20
MAX_CLASSES = 1000
MISSING_WORDS = (
    ". Words such as NA, None and ? mean that nothing is there; where they are classes, upload the table with the "
    "words that mean so, ?missing=NA, or with none, ?missing=; or send the column as categories (a dictionary of "
    "Arrow, a category of pandas or polars), which are taken as they are"
)


def by_name(columns: Sequence[Column]) -> dict[str, Column]:
    """Return columns by their names, in their order."""
    return {column.name: column for column in columns}


def resolve_targets(request: TableRequest, columns: Mapping[str, Column]) -> list[Column]:
    """Return the target columns.

    Raises:
        InvalidRequest: a target does not exist or is named twice.
    """
    names = request.targets
    pointers = ["/target"] if isinstance(request.target, str) else [f"/target/{index}" for index in range(len(names))]
    return _pick(names, pointers, columns, "target")


def resolve_features(
    request: TableRequest, columns: Mapping[str, Column], rows: int
) -> tuple[list[Column], list[DroppedColumn]]:
    """Return the requested feature columns, without the excluded ones, and the columns that are left out for a reason.

    Where none are requested, the features are all but the targets and the index; columns that name the ``rows`` are
    left out, unless the request says their type.

    Raises:
        InvalidRequest: a name is unknown or named twice, a target is a feature, or nothing is left.
    """
    targets = set(request.targets)
    excluded = _pick(request.exclude, [f"/exclude/{i}" for i in range(len(request.exclude))], columns, "column")
    unwanted = {column.name for column in excluded} | {request.split_only, request.weights, *ignored(request, columns)}
    left_out: list[DroppedColumn] = []
    if request.features is None:
        unwanted |= targets
        chosen = [column for name, column in columns.items() if name not in unwanted and not column.index]
        left_out = naming([column for column in chosen if column.name not in request.columns], rows)
        if left_out and len(left_out) == len(chosen):
            raise InvalidRequest.at(
                "/features",
                f"no column is left to learn from beside those that name rows, as {shown(left_out[0].column)!r} does: "
                f"{left_out[0].reason}; upload what describes the rows, or name such a column in 'features'",
            )
        unread = {one.column for one in left_out}
        chosen = [column for column in chosen if column.name not in unread]
    else:
        pointers = [f"/features/{index}" for index in range(len(request.features))]
        chosen = _pick(request.features, pointers, columns, "feature")
        for pointer, column in zip(pointers, chosen, strict=True):
            if column.name in targets:
                raise InvalidRequest.at(pointer, f"{column.name!r} is the target and cannot be a feature too")
            if column.name == request.split_only:
                raise InvalidRequest.at(pointer, f"{column.name!r} splits the rows and cannot be a feature too")
            if column.name == request.weights:
                raise InvalidRequest.at(pointer, f"{column.name!r} holds weights of rows and cannot be a feature too")
        chosen = [column for column in chosen if column.name not in unwanted]
    if not chosen:
        raise InvalidRequest.at("/features", "no column is left to learn from beside the target and the excluded ones")
    return chosen, left_out


def resolve_task(requested: str, targets: Sequence[Column]) -> Task:
    """Return the task; ``auto`` is classification for texts, booleans, and whole numbers with few distinct values.

    Raises:
        InvalidRequest: the targets do not fit the task.
    """
    if len(targets) > 1:
        if requested == "classification":
            raise InvalidRequest.at("/task", "a classification has one target; several targets are a regression")
        task: Task = "regression"
    elif requested != "auto":
        task = "regression" if requested == "regression" else "classification"
    else:
        [target] = targets
        if target.not_numbers and target.distinct > MAX_AUTO_CLASSES:
            odd = target.not_numbers[0]
            raise InvalidRequest.at(
                "/target",
                f"target {target.name!r} would make {target.distinct} classes, because it holds what is no number: "
                f"{str(odd.value)!r} ({odd.count}); mend the table, or ask for a classification by 'task'",
            )
        few = target.integer and target.distinct <= MAX_AUTO_CLASSES
        task = "classification" if target.type != "numeric" or few else "regression"
    for index, target in enumerate(targets):
        if task == "regression" and target.type != "numeric":
            pointer = "/target" if len(targets) == 1 else f"/target/{index}"
            raise InvalidRequest.at(pointer, f"target {target.name!r} is {target.type}; a regression needs numbers")
    return task


def check_columns(
    features: Sequence[Column],
    targets: Sequence[Column],
    task: Task,
    *,
    max_encoded: int,
    expanded: bool = False,
    missing_target: MissingTarget = "error",
) -> None:
    """Check features and targets by their statistics. ``expanded``: the encoding may be 'expanded'.

    ``missing_target``: see ``TableRequest``.

    Raises:
        InvalidRequest: naming the column, what is wrong with it, and what would be right.
    """
    for target in targets:
        _check_target(target, task, missing_target)
    for column in features:
        if column.infinite:
            raise InvalidRequest.at(
                "/features",
                f"column {column.name!r} has {column.infinite} infinite values; leave them empty or exclude it",
            )
    if all(column.distinct <= 1 and not (column.distinct and column.missing) for column in features):
        raise InvalidRequest.at("/features", "every feature column is constant or empty; nothing can be learned")
    width, plain = encoded_width(features, expanded), encoded_width(features)
    if plain <= max_encoded < width:
        raise TooWide.expanded(width, plain, max_encoded)
    if width > max_encoded:
        raise TooWide.of(widths(features, expanded), max_encoded)


def check_validation_dataset(needed: Sequence[Column], columns: Mapping[str, Column]) -> None:
    """Check that another dataset can serve for validation.

    Raises:
        InvalidRequest: it lacks a column, or has one of another type.
    """
    for column in needed:
        other = columns.get(column.name)
        if other is None:
            raise InvalidRequest.at(
                "/validation/dataset",
                f"the validation dataset has no column {shown(column.name)!r}{did_you_mean(column.name, columns)}",
            )
        if not _fits(column, other):
            raise InvalidRequest.at(
                "/validation/dataset",
                f"column {column.name!r} is {column.type} in the training dataset and {other.type} in this one",
            )


def check_predict(features: Sequence[ModelColumn], columns: Mapping[str, Column]) -> None:
    """Check that a dataset has the features of a model.

    Raises:
        ColumnMismatch: columns are missing or of another type.
    """
    missing = [column.name for column in features if column.name not in columns]
    if missing:
        spare = columns.keys() - {column.name for column in features}
        hint = "".join(did_you_mean(name, spare, 1) for name in missing[:1])
        raise ColumnMismatch.at(
            "/dataset", f"the dataset lacks columns that the model reads: {', '.join(missing)}{hint}"
        )
    for column in features:
        other = columns[column.name]
        if not _fits(column, other):
            raise ColumnMismatch.at(
                "/dataset", f"column {column.name!r} is {column.type} for the model and {other.type} in the dataset"
            )
        if other.infinite and column.type not in values.AS_TEXTS:
            raise ColumnMismatch.at("/dataset", f"column {column.name!r} has {other.infinite} infinite values")


def check_kept(names: Sequence[str], columns: Mapping[str, Column]) -> None:
    """Check the columns of a dataset that are to stand beside its predictions.

    Raises:
        InvalidRequest: a name is unknown or named twice.
    """
    _pick(names, [f"/keep/{index}" for index in range(len(names))], columns, "column")


def _fits(expected: Column | ModelColumn, column: Column) -> bool:
    """Return whether a column can be read as the expected one, by its statistics."""
    if expected.type in (*values.AS_TEXTS, column.type) or not column.distinct:
        return True
    if column.type in values.AS_TEXTS:
        # only the most frequent texts are known; reading reports a rarer text with its row
        if not column.top:
            return False
        texts = values.without_missing(
            pa.array([str(top.value) for top in column.top], pa.string()), expected.missing_words
        )
        if expected.type == "datetime":
            return bool(dates.seconds(texts, expected.date_order).null_count == texts.null_count)
        return values.could_be_number(texts) or (expected.type == "boolean" and values.could_be_boolean(texts))
    return expected.type == "boolean" and column.integer and (column.min, column.max) in ((0, 0), (0, 1), (1, 1))


def rows_without_target(targets: Sequence[Column]) -> int:
    """Return how many rows lack one of the targets, at least: which rows lack one of several is not known."""
    return max(target.missing for target in targets)


def missing_target_notes(targets: Sequence[Column], rows: int, what: str = "rows") -> list[str]:
    """Return what is to know of rows that are left out. ``what``: how the ``rows`` of the table are called."""
    missing = rows_without_target(targets)
    if not missing:
        return []
    if len(targets) > 1:
        lack = f"at least {missing} of {rows} {what} lack one of the targets"
    else:
        lack = f"{missing} of {rows} {what} have no value in target {targets[0].name!r}"
    words = any(target.missing and _may_be_words(target) for target in targets)
    return [f"{lack}: they are left out ('missing_target': 'error' refuses them){MISSING_WORDS if words else ''}"]


def check_rows(request: TableRequest, rows: int, dropped: int = 0, weightless: int = 0) -> None:
    """Check that there are enough rows for training and validation.

    ``dropped``: others that have no target, ``weightless``: others of weight 0.

    Raises:
        InvalidRequest: there are too few.
    """
    validation = request.validation
    needed = 2
    if validation is not None and (validation.fraction is not None or validation.column is not None):
        needed = 3
    if validation is not None and validation.folds is not None:
        needed = max(2 * validation.folds, 3)
    if rows < needed:
        which = f" with every target, and {dropped} without" if dropped else ""
        which += f", and {weightless} of weight 0" if weightless else ""
        raise InvalidRequest.at(
            "/dataset",
            f"the dataset has {rows} rows{which}; this fit needs at least {needed} to train and validate on",
        )


def check_validation_targets(
    targets: Sequence[Column], columns: Mapping[str, Column], missing_target: MissingTarget
) -> None:
    """Check the targets of another dataset that serves for validation and has them.

    Raises:
        InvalidRequest: no row has a value, or one has none and may not be left out.
    """
    for target in targets:
        other = columns[target.name]
        # which texts mean no value is a matter of the training dataset
        alike = target.missing_words == other.missing_words or target.type != "categorical"
        if alike and other.missing and (missing_target == "error" or not (other.distinct or other.infinite)):
            raise InvalidRequest.at("/validation/dataset", _missing(other, missing_target))


def _check_target(target: Column, task: Task, missing_target: MissingTarget) -> None:
    if target.infinite:
        raise InvalidRequest.at(
            "/target", f"target {target.name!r} has {target.infinite} infinite values; every row needs a finite one"
        )
    if target.missing and (missing_target == "error" or not target.distinct):
        raise InvalidRequest.at("/target", _missing(target, missing_target))
    if target.distinct < 2:
        hint = MISSING_WORDS if target.missing and _may_be_words(target) else ""
        beside = f" beside {target.missing} missing ones" if target.missing else ""
        raise InvalidRequest.at(
            "/target", f"target {target.name!r} has only one value{beside}; there is nothing to learn{hint}"
        )
    largest = max(abs(bound) if isinstance(bound, float) else 0 for bound in (target.min, target.max))
    if task == "classification" and target.type == "numeric" and not target.integer and largest >= EXACT_INTEGERS:
        raise InvalidRequest.at(
            "/target",
            f"target {target.name!r} holds whole numbers of 2^53 and more beside fractions, and so is rounded; labels "
            "are exact where all are whole numbers, or where the column is sent as categories or texts",
        )
    if task == "classification" and target.distinct > MAX_CLASSES:
        raise InvalidRequest.at(
            "/target",
            f"target {target.name!r} has {target.distinct} distinct values and a classification at most {MAX_CLASSES}",
        )


def _missing(target: Column, missing_target: MissingTarget) -> str:
    """Return what is wrong with a target that has missing values."""
    where = "" if target.first_missing is None else f", the first in row {target.first_missing}"
    remedy = "; 'missing_target': 'drop' leaves such rows out" if missing_target == "error" and target.distinct else ""
    hint = MISSING_WORDS if _may_be_words(target) else ""
    return (
        f"target {target.name!r} has {target.missing} missing values{where}; every row needs a finite one{remedy}{hint}"
    )


def _may_be_words(target: Column) -> bool:
    """Return whether missing values of a target may be words that the reader took for nothing."""
    # a column of only missing words is numeric
    return target.type == "categorical" or not target.distinct


def _pick(names: Sequence[str], pointers: Sequence[str], columns: Mapping[str, Column], what: str) -> list[Column]:
    chosen: dict[str, Column] = {}
    for name, pointer in zip(names, pointers, strict=True):
        if name not in columns:
            raise InvalidRequest.at(pointer, f"the dataset has no column {shown(name)!r}{did_you_mean(name, columns)}")
        if name in chosen:
            raise InvalidRequest.at(pointer, f"{what} {name!r} is named twice")
        chosen[name] = columns[name]
    return list(chosen.values())
