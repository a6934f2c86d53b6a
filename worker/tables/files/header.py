"""Whether the first row of a text is a row of data that was taken for names."""

from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import ColumnType
from worker.contracts.errors import UnreadableTable
from worker.tables import values
from worker.tables.files.readers import NO_HEADER

SHOWN = 3
NAMES_OUTWEIGH = 3
"""One name says as much as three cells that are like those below: years and numbers are names of columns, too."""


def check_header(names: Sequence[str], types: Sequence[ColumnType], repeated: Sequence[bool], repetitive: int) -> None:
    """Refuse names that are data by all that can be seen: cells of the kind that stands below them.

    ``repeated``: whether a column of texts that come again and again holds its own name as a value; ``repetitive``: how
    many such columns there are. A number above numbers and true above booleans are of a row of data, and so is a row
    whose texts stand below themselves; texts above numbers or booleans are names. Numbers that count columns, and
    years, are names.

    Raises:
        UnreadableTable: naming the cells, and what to do.
    """
    columns = list(zip(names, types, repeated, strict=True))
    numbers = [name for name, kind, _ in columns if kind == "numeric" and _is(name, "numeric")]
    data = [] if _counts(numbers) else numbers
    data += [name for name, kind, _ in columns if kind == "boolean" and _is(name, "boolean")]
    there = [column for column in columns if column[0].strip() not in values.MISSING]
    named = sum(kind != "categorical" and not _is(name, kind) for name, kind, _ in there)
    texts = [name for name, _, found in there if found]
    # one column may hold its name by chance: "y" among y and n
    if not named and 2 * len(texts) > repetitive:
        data += texts
    if len(data) > NAMES_OUTWEIGH * named:
        shown = ", ".join(map(repr, data[:SHOWN]))
        raise UnreadableTable(
            f"the first row seems to be data and not names: {shown}{', …' if len(data) > SHOWN else ''} "
            f"{'is' if len(data) == 1 else 'are'} like the cells below; {NO_HEADER}"
        )


def holds_name(name: str, column: pa.Array) -> bool:
    """Return whether a column of texts holds its own name as a value."""
    return bool(pc.any(pc.equal(column, name), min_count=0).as_py())


def _is(name: str, kind: ColumnType) -> bool:
    text = values.without_missing(pa.array([name]))
    fits = values.could_be_number if kind == "numeric" else values.could_be_boolean
    return text.null_count == 0 and fits(text)


def _counts(numbers: Sequence[str]) -> bool:
    """Return whether numbers are names: all years, or the places of at least three columns from 0 or 1 on."""
    if not numbers or not all(number.strip().isdecimal() and len(number) < values.LONGEST_NUMBER for number in numbers):
        return False
    whole = [int(number) for number in numbers]
    counted = len(whole) > 2 and whole[0] in (0, 1) and all(after - before == 1 for before, after in pairwise(whole))
    return counted or all(1900 <= number <= 2100 for number in whole)
