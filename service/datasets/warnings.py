"""What of a dataset may not be as whoever uploaded it thinks, and what it costs."""

import re
from collections.abc import Container, Sequence

from worker.contracts.resources import Column, Dataset
from worker.tables import schema
from worker.tables.close_names import shown
from worker.tables.media import CSV, TSV

SHOWN = 3
GUESSED = (CSV, TSV)
"""Without the parameter ``header``: nobody has said what the first row is."""
MANY, MAX_SHARE = 50, 0.5
COSTLY = 500
"""A column of categories is told of from so many encoded columns on, however often each category comes."""
MAX_WARNINGS = 10
MIB = 2**20
NAMES_ROWS = re.compile(r"(^|[\s_.-])(?i:id|uuid|guid|key|nr|no|index|row)$|[a-z]I[dD]$|^(?i:unnamed: \d+)$")
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
"""What texts look like, by their beginning, and what to do about a column of them."""


def remarks(dataset: Dataset, without: Container[str] = ()) -> list[str]:
    """Return a sentence for each thing that a person should look at, but for columns that are left out."""
    headless = of_header(dataset)
    kept = [column for column in dataset.columns if column.name not in without]
    return [*([] if headless is None else [headless]), *of_columns(kept, dataset.rows)]


def of_columns(columns: Sequence[Column], rows: int, *, expanded: bool = False) -> list[str]:
    """Return what should be looked at in columns that are to be learned from; ``expanded``: as they may be encoded."""
    width = schema.encoded_width(columns, expanded)
    told = [remark for column in columns if (remark := _remark(column, rows, width)) is not None]
    left = len(told) - MAX_WARNINGS
    more = [] if left <= 0 else [f"{left} more columns are like these"]
    constant = [column.name for column in columns if column.distinct <= 1 and not (column.distinct and column.missing)]
    if constant:
        one = len(constant) == 1
        more.append(
            f"{_listed(constant)} {'holds' if one else 'hold'} the same in every row, or nothing, and "
            f"{'tells' if one else 'tell'} no row from another"
        )
    return [*told[:MAX_WARNINGS], *more]


def of_header(dataset: Dataset) -> str | None:
    """Tell of a first row that was taken for names and may be a row; columns that are numbered in order are not."""
    names = [column.name for column in dataset.columns]
    if dataset.media_type in GUESSED and all(column.type == "categorical" for column in dataset.columns):
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


def _remark(column: Column, rows: int, width: int) -> str | None:
    name = shown(column.name)
    if column.type == "numeric":
        return _counting(column, rows)
    unique = column.type == "categorical" and column.distinct > max(MANY, MAX_SHARE * rows)
    cost = _cost(column, rows, width) if unique or column.distinct > COSTLY else ""
    if column.not_numbers:
        odd = column.not_numbers
        told = ", ".join(f"{str(one.value)!r} ({one.count})" for one in odd[:SHOWN])
        words = "leave the cell empty or write NA" if column.missing_words is None else "say so when you upload it"
        return (
            f"{name!r} is read as categories, for not all of its values are numbers: {told}"
            f"{', …' if len(odd) > SHOWN else ''}. Where that means missing, {words}; write "
            f"numbers with a point and no other signs{cost and f'. As it is, {cost}'}"
        )
    if unique:
        looks, remedy = _looks(column)
        return (
            f"{name!r} has {column.distinct} different texts in {rows} rows{looks}, each of them a category that says "
            f"little of other rows: {cost}. {remedy}"
        )
    return f"{name!r} has {column.distinct} categories: {cost}" if cost else None


def _counting(column: Column, rows: int) -> str | None:
    """Tell of whole numbers that name the rows: each comes once, and they count on or are called so."""
    if not column.integer or rows <= MANY or column.distinct < rows or column.min is None or column.max is None:
        return None
    counts = column.max - column.min == rows - 1
    if not counts and not NAMES_ROWS.search(column.name):
        return None
    how = "counts the rows" if counts else "has another whole number in every row, and a name as numbers of rows have"
    return f"{shown(column.name)!r} {how}. Leave it out of a fit where it names the rows rather than describes them"


def _looks(column: Column) -> tuple[str, str]:
    texts = [str(one.value) for one in column.top or ()]
    for pattern, what, remedy in LOOKS:
        if texts and all(re.match(pattern, text.strip()) for text in texts):
            return f" that look like {what}", f"{remedy[0].upper()}{remedy[1:]} before a fit"
    return "", "Leave the column out of a fit where it names the rows; make numbers of it where it holds dates"


def _cost(column: Column, rows: int, width: int) -> str:
    """Return what a column takes of the encoded rows, which are numbers of 8 bytes."""
    own = schema.encoded_width([column])
    return f"it makes {own} of {width} encoded columns, {_size(own, rows)} of {_size(width, rows)}"


def _size(width: int, rows: int) -> str:
    return f"{8 * width * rows / MIB:.1f} MiB"


def _listed(names: Sequence[str]) -> str:
    told = ", ".join(repr(shown(name)) for name in names[:SHOWN])
    return told if len(names) <= SHOWN else f"{told} and {len(names) - SHOWN} more columns"
