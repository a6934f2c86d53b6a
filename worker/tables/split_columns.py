"""The column by which a request splits rows: groups, moments, or marks."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import DateOrder
from worker.contracts.errors import InvalidRequest
from worker.contracts.requests import Validation
from worker.contracts.resources import Column
from worker.tables.cells import dates
from worker.tables.close_names import did_you_mean, shown
from worker.tables.values import as_floats, canonical, is_text

TIMES = "give numbers, or dates such as 2026-01-31 or 2026-01-31 12:30:00"
MARKS = "give true and false, or 1 and 0"


def split_column(
    validation: Validation | None, targets: Sequence[str], columns: Mapping[str, Column], rows: int, dropped: int
) -> Column | None:
    """Return the column by which rows are split, None where there is none, checked by its statistics.

    ``rows``: of the dataset, of which ``dropped`` have no target.

    Raises:
        InvalidRequest: it does not exist, is a target, or cannot split the rows so.
    """
    if validation is None or validation.by is None:
        return None
    by, name = validation.by
    if name not in columns:
        raise InvalidRequest.at(
            f"/validation/{by}", f"the dataset has no column {shown(name)!r}{did_you_mean(name, columns)}"
        )
    column = columns[name]
    if name in targets:
        problem: str | None = f"{name!r} is the target and cannot split the rows"
    elif by == "group":
        problem = _wrong_groups(name, column.distinct + (column.missing > 0), validation.folds)
    elif by == "time":
        problem = _wrong_times(column, dropped)
    else:
        problem = _wrong_marks(column, rows)
    if problem:
        raise InvalidRequest.at(f"/validation/{by}", problem)
    return column


def marked(column: Column, rows: int) -> int:
    """Return how many of the ``rows`` of a dataset its column of marks marks."""
    if column.type == "numeric":
        return round((column.mean or 0.0) * (rows - column.missing))
    return sum(top.count for top in column.top or () if top.value is True)


def split_keys(
    validation: Validation, column: pa.ChunkedArray, rows: np.ndarray, order: DateOrder | None = None
) -> np.ndarray:
    """Return what splits rows, (n,): codes of groups, moments in their order, or marks (bool).

    ``rows``: the numbers of the rows to look at. Rows without a group are one group; without a mark they train.
    ``order``: of dates, see ``dates.seconds``.

    Raises:
        InvalidRequest: a cell is none of these, or all rows are on one side.
    """
    assert validation.by is not None  # noqa: S101 - it splits by a column
    by, name = validation.by
    try:
        if by == "group":
            return _groups(column.take(pa.array(rows)), name, validation.folds)
        if by == "time":
            return _times(column, name, rows, order)
        return _marks(column, name, rows)
    except _WrongColumn as error:
        raise InvalidRequest.at(f"/validation/{by}", str(error)) from error


class _WrongColumn(ValueError):
    """A column cannot split the rows."""


def _wrong_groups(name: str, count: int, folds: int | None) -> str | None:
    needed = folds or 2
    if count >= needed:
        return None
    return f"column {name!r} has {count} groups; at least {needed} are needed so that none is on both sides"


def _wrong_times(column: Column, dropped: int) -> str | None:
    if column.missing > dropped:
        where = "" if column.first_missing is None else f", the first in row {column.first_missing}"
        return f"column {column.name!r} has {column.missing} rows without a time{where}: give each row one"
    if column.infinite:
        return f"column {column.name!r} has {column.infinite} infinite values; {TIMES}"
    if column.type == "boolean":
        return f"column {column.name!r} is boolean and no time; {TIMES}"
    if column.distinct < 2:
        return f"column {column.name!r} has one time only, so no row is later than another"
    texts = [str(top.value) for top in column.top or () if not top.cut]
    wrong = next((text for text in texts if dates.seconds(pa.array([text]), column.date_order).null_count), None)
    return None if wrong is None else f"column {column.name!r} holds {wrong!r}, which is no time; {TIMES}"


def _wrong_marks(column: Column, rows: int) -> str | None:
    zeros_and_ones = column.integer and column.min in (0, 1) and column.max in (0, 1)
    if column.distinct and column.type != "boolean" and not zeros_and_ones:
        return f"column {column.name!r} marks no rows; {MARKS}"
    return _one_sided(column.name, marked(column, rows), rows)


def _one_sided(name: str, count: int, rows: int) -> str | None:
    if 0 < count < rows:
        return None
    return f"column {name!r} marks {'every row' if count else 'no row'}; some rows must judge and others train"


def _groups(column: pa.ChunkedArray, name: str, folds: int | None) -> np.ndarray:
    coded = canonical(column).combine_chunks().dictionary_encode()
    codes: np.ndarray = coded.indices.fill_null(len(coded.dictionary)).to_numpy()
    problem = _wrong_groups(name, len(np.unique(codes)), folds)
    if problem:
        raise _WrongColumn(problem)
    return codes


def _times(column: pa.ChunkedArray, name: str, rows: np.ndarray, order: DateOrder | None) -> np.ndarray:
    cells = canonical(column.take(pa.array(rows))).combine_chunks()
    if is_text(cells.type):
        texts, cells = cells, dates.seconds(cells, order)
        wrong = pc.index(pc.and_(cells.is_null(), texts.is_valid()), True).as_py()
        if wrong >= 0:
            text, row = texts[wrong].as_py(), rows[wrong] + 1
            raise _WrongColumn(f"column {name!r} holds {text[:80]!r} in row {row}, which is no time; {TIMES}")
    gap = pc.index(pc.is_null(cells, nan_is_null=True), True).as_py()
    if gap >= 0:
        raise _WrongColumn(f"column {name!r} has no time in row {rows[gap] + 1}: give each row one")
    times: np.ndarray = cells.to_numpy(zero_copy_only=False)
    if not (times != times[0]).any():
        raise _WrongColumn(f"column {name!r} has one time only, so no row is later than another")
    return times


def _marks(column: pa.ChunkedArray, name: str, rows: np.ndarray) -> np.ndarray:
    marks: np.ndarray = as_floats(column.take(pa.array(rows))).to_numpy() == 1
    problem = _one_sided(name, int(marks.sum()), len(rows))
    if problem:
        raise _WrongColumn(problem)
    return marks
