"""Warnings about columns of a dataset that were probably misread, or that cost much."""

import re
from collections.abc import Container, Sequence

from worker.contracts.resources import Column, Dataset, DroppedColumn, Reading
from worker.tables.close_names import shown
from worker.tables.encoding.width import encoded_width
from worker.tables.left_out import CONSTANT, MANY, is_constant, names_rows
from worker.tables.media import WITH_HEADER
from worker.tables.values import AS_TEXTS

SHOWN = 3
GUESSED = WITH_HEADER
"""Media types without the parameter ``header``: whether the first row holds names was guessed."""
MAX_SHARE = 0.5
COSTLY = 500
"""More distinct categories always give a warning, however often each occurs."""
MAX_WARNINGS = 10
MIB = 2**20
LOOKS = (
    (
        r"\d{4}-\d\d?-\d\d?([T ]|$)|\d\d?[./]\d\d?[./]\d{2,4}\b|\d\d?:\d\d(:\d\d)?$",
        "dates or times",
        "make numbers of it",
    ),
    (r"[^@\s]+@[^@\s]+\.[^@\s]+$", "mail addresses", "leave it out, or keep the part after the @"),
    (r"[a-z]+://", "addresses of pages", "leave it out, or keep the host"),
    (r"(?s)(\S+\s+){3,}\S+", "sentences", "leave it out"),
)
"""Patterns of texts, what they are, and the advice for such a column."""


NAMED_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", " ": "blanks"}


def dataset_warnings(dataset: Dataset, without: Container[str] = ()) -> list[str]:
    """Return a sentence for each warning, except for columns in ``without``."""
    headless = header_warning(dataset)
    columns = [column for column in dataset.columns if column.name not in without]
    return [*([] if headless is None else [headless]), *column_warnings(columns, dataset.rows)]


def table_warnings(dataset: Dataset) -> list[str]:
    """Return the warnings that are about no single column."""
    headless = header_warning(dataset)
    return [] if headless is None else [headless]


def warning_of_each(dataset: Dataset) -> dict[str, str]:
    """Return the warning about each column that has one, in a sentence."""
    width = encoded_width(dataset.columns)
    found = {column.name: _column_warning(column, dataset.rows, width) for column in dataset.columns}
    constant = dict.fromkeys((column.name for column in dataset.columns if is_constant(column)), CONSTANT)
    return constant | {name: warning for name, warning in found.items() if warning is not None}


def column_warnings(columns: Sequence[Column], rows: int, *, expanded: bool = False) -> list[str]:
    """Return warnings about feature columns. ``expanded``: whether the expanded encoding may be used."""
    width = encoded_width(columns, expanded)
    messages = [warning for column in columns if (warning := _column_warning(column, rows, width)) is not None]
    left = len(messages) - MAX_WARNINGS
    more = [] if left <= 0 else [f"{left} more columns are like these"]
    constant = [column.name for column in columns if is_constant(column)]
    if constant:
        single = len(constant) == 1
        more.append(
            f"{_listed(constant)} {'holds' if single else 'hold'} the same in every row, or nothing, and "
            f"{'tells' if single else 'tell'} no row from another"
        )
    return [*messages[:MAX_WARNINGS], *more]


def left_out_warnings(columns: Sequence[DroppedColumn]) -> list[str]:
    """Return a sentence for each column that a fit leaves out."""
    told = [
        f"{shown(column.column)!r} is left out, for {column.reason}; name it in 'features' to have it read"
        for column in columns[:MAX_WARNINGS]
    ]
    left = len(columns) - MAX_WARNINGS
    return told if left <= 0 else [*told, f"{left} more columns are left out like these"]


def reading_text(reading: Reading) -> str:
    """Return how a text or a workbook was read, in a sentence or two."""
    if reading.sheet is not None:
        parts = [f"Read from the sheet {shown(reading.sheet)}"]
    else:
        separator = NAMED_SEPARATORS.get(reading.separator or "", reading.separator)
        parts = [f"Read as {reading.encoding} with cells between {separator}"]
    if reading.skipped_rows:
        what = "line" if reading.sheet is None else "row"
        lines = f"1 {what}" if reading.skipped_rows == 1 else f"{reading.skipped_rows} {what}s"
        parts.append(f"{lines} in front of the table skipped")
    if not reading.header:
        parts.append("no row of names")
    if reading.renamed:
        pairs = [f"{shown(new)} for {shown(old) or 'no name'}" for new, old in list(reading.renamed.items())[:SHOWN]]
        parts.append(f"columns named {', '.join(pairs)}{', …' if len(reading.renamed) > SHOWN else ''}")
    if reading.dropped_columns:
        count = len(reading.dropped_columns)
        parts.append(f"{count} {'column' if count == 1 else 'columns'} without a name and a value left out")
    return "; ".join(parts) + "."


def header_warning(dataset: Dataset) -> str | None:
    """Warn if the first row was read as names and may be data. Names that count from 0 or 1 are fine."""
    names = [column.name for column in dataset.columns]
    if dataset.media_type in GUESSED and dataset.reading is not None and not dataset.reading.header:
        return (
            f"the first row was taken for data, and the columns are called {_listed(names)}; where it holds their "
            "names, upload with ?header=true"
        )
    if dataset.media_type in GUESSED and all(column.type in AS_TEXTS for column in dataset.columns):
        return (
            f"the first row was taken for names: {_listed(names)}. All columns hold texts, and nothing tells such a "
            "text from a name; where the first row is data, upload with ?header=false"
        )
    if not all(map(_number, names)) or names in ([str(k + first) for k in range(len(names))] for first in (0, 1)):
        return None
    return (
        f"the names of all columns are numbers: {', '.join(names[:SHOWN])}{', …' if len(names) > SHOWN else ''}. Where "
        "that is the first row of a table without names, it is missing now; put a row of names before it"
    )


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _column_warning(column: Column, rows: int, width: int) -> str | None:
    name = shown(column.name)
    if column.type == "numeric":
        return _identifier_warning(column, rows)
    if column.date_order is not None and column.inferred_from != f"dates, {column.date_order} first":
        other = "day" if column.date_order == "month" else "month"
        return (
            f"{name!r} is read as dates with the {column.date_order} first, and no cell tells whether the {other} is. "
            "Where it is, write the year first, as in 2024-02-28"
        )
    if column.type == "text" and names_rows(column, rows) is not None:
        return (
            f"{name!r} holds free text, {column.distinct} different ones in {rows} rows: a fit leaves it out unless "
            "'columns' says 'text' of it"
        )
    if column.type != "categorical":
        return None
    unique = column.distinct > max(MANY, MAX_SHARE * rows)
    cost = _cost(column, rows, width) if unique or column.distinct > COSTLY else ""
    if column.not_numbers:
        odd = column.not_numbers
        examples = ", ".join(f"{str(value.value)!r} ({value.count})" for value in odd[:SHOWN])
        words = "leave the cell empty or write NA" if column.missing_words is None else "say so when you upload it"
        return (
            f"{name!r} is read as categories, for not all of its values are numbers: {examples}"
            f"{', …' if len(odd) > SHOWN else ''}. Where that means missing, {words}; write "
            f"all numbers in one unit and with one decimal mark{cost and f'. As it is, {cost}'}"
        )
    if unique:
        looks, remedy = _looks(column)
        if names_rows(column, rows) is not None:
            return (
                f"{name!r} has {column.distinct} different texts in {rows} rows{looks}, which name the rows rather "
                "than describe them: a fit leaves it out unless 'features' names it"
            )
        return (
            f"{name!r} has {column.distinct} different texts in {rows} rows{looks}, each of them a category that says "
            f"little of other rows: {cost}. {remedy}"
        )
    return f"{name!r} has {column.distinct} categories: {cost}" if cost else None


def _identifier_warning(column: Column, rows: int) -> str | None:
    """Warn about integers that identify rows: each is unique, and they are consecutive or named like ids."""
    if not column.integer or rows <= MANY or column.distinct < rows:
        return None
    if not isinstance(column.min, float) or not isinstance(column.max, float):
        return None
    name, counts = shown(column.name), column.max - column.min == rows - 1
    if names_rows(column, rows) is not None:
        how = "counts the rows, and has" if counts else "has another whole number in every row, and"
        return f"{name!r} {how} a name as numbers of rows have: a fit leaves it out unless 'features' names it"
    if not counts:
        return None
    return f"{name!r} counts the rows. Leave it out of a fit where it names the rows rather than describes them"


def _looks(column: Column) -> tuple[str, str]:
    texts = [str(value.value) for value in column.top or ()]
    for pattern, what, remedy in LOOKS:
        if texts and all(re.match(pattern, text.strip()) for text in texts):
            return f" that look like {what}", f"{remedy[0].upper()}{remedy[1:]} before a fit"
    return "", "Leave the column out of a fit where it names the rows; make numbers of it where it holds dates"


def _cost(column: Column, rows: int, width: int) -> str:
    """Return the share of a column in the encoded rows, 8 bytes a number."""
    column_width = encoded_width([column])
    return f"it makes {column_width} of {width} encoded columns, {_size(column_width, rows)} of {_size(width, rows)}"


def _size(width: int, rows: int) -> str:
    return f"{8 * width * rows / MIB:.1f} MiB"


def _listed(names: Sequence[str]) -> str:
    text = ", ".join(repr(shown(name)) for name in names[:SHOWN])
    return text if len(names) <= SHOWN else f"{text} and {len(names) - SHOWN} more columns"
