"""Columns that tell nothing of other rows: a fit that names no features does without them."""

import re
from collections.abc import Collection, Iterable, Sequence

from worker.contracts.resources import Column, DroppedColumn

MANY = 50
"""In so many rows, all different is no sign of anything."""
NEARLY_ALL = 0.9
NAMES_ROWS = re.compile(r"(^|[\s_.-])(?i:id|uuid|guid|key|nr|no|index|row)$|[a-z]I[dD]$|^(?i:unnamed: \d+)$")
CONSTANT = "it holds the same in every row, or nothing, and tells no row from another"


def is_constant(column: Column) -> bool:
    return column.distinct <= 1 and not (column.distinct and column.missing)


def nearly_all_differ(column: Column, rows: int) -> bool:
    """Return whether nearly every value of a column is there once, in enough rows for it to be a sign."""
    present = rows - column.missing
    return present > MANY and column.distinct >= NEARLY_ALL * present


def names_rows(column: Column, rows: int) -> str | None:
    """Return why a column names the rows of its table rather than describes them, None if it does not.

    Nearly every one of its texts is there once, or it holds another whole number in every row and is called an id.
    Free text may describe them, but is read only where a request says so.
    """
    if not nearly_all_differ(column, rows):
        return None
    present = rows - column.missing
    if column.type == "text":
        texts = f"its {column.distinct} different texts in {present} rows are free text"
        return f"{texts}, which is read where 'columns' says 'text' of it"
    if column.type == "categorical":
        return f"{column.distinct} different texts in {present} rows name the rows rather than describe them"
    numbered = column.type == "numeric" and column.integer and column.distinct == rows
    if numbered and NAMES_ROWS.search(column.name):
        return "it has another whole number in every row, and a name as numbers of rows have"
    return None


def naming(columns: Sequence[Column], rows: int) -> list[DroppedColumn]:
    """Return those of the columns of a table that name its rows, each with the reason."""
    return _with_reason((column.name, names_rows(column, rows)) for column in columns)


def unread(columns: Sequence[Column], rows: int, read: Collection[str]) -> list[DroppedColumn]:
    """Return the columns of a table that are constant, and of those that are not ``read`` the names of its rows."""
    return _with_reason(
        (column.name, CONSTANT if is_constant(column) else None if column.name in read else names_rows(column, rows))
        for column in columns
    )


def _with_reason(found: Iterable[tuple[str, str | None]]) -> list[DroppedColumn]:
    return [DroppedColumn(column=name, reason=reason) for name, reason in found if reason is not None]
