"""Whether the first row of a text is a row of data that was taken for names."""

from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import ColumnType
from worker.contracts.errors import UnreadableTable
from worker.tables import values
from worker.tables.readers import NO_HEADER

SHOWN = 3


def check_header(names: Sequence[str], types: Sequence[ColumnType], repeated: Sequence[bool]) -> None:
    """Refuse names that are data by all that can be seen: cells of the kind that stands below them.

    ``repeated``: whether a column holds its own name as a value. A number above numbers, true above booleans, and a
    text that stands below itself are of a row of data; a text above numbers or booleans is a name. Whole numbers in
    steps of one are names: years, or places.

    Raises:
        UnreadableTable: naming the cells, and what to do.
    """
    numbers = [name for name, kind in zip(names, types, strict=True) if kind == "numeric" and _is(name, "numeric")]
    if _counts(numbers):
        numbers = []
    named = any(
        kind != "categorical" and not _is(name, kind) and name.strip() not in values.MISSING
        for name, kind in zip(names, types, strict=True)
    )
    truths = [name for name, kind in zip(names, types, strict=True) if kind == "boolean" and _is(name, "boolean")]
    texts = [
        name
        for name, kind, found in zip(names, types, repeated, strict=True)
        if kind == "categorical" and found and name.strip() not in values.MISSING
    ]
    if 2 * len(texts) <= sum(kind == "categorical" for kind in types):
        # a column may hold its name by chance: "y" among y and n
        texts = []
    data = numbers + truths + texts
    if data and not named:
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
    """Return whether all are whole numbers in steps of one, as years are and the columns of an array."""
    if len(numbers) < 2 or not all(number.strip().isdecimal() for number in numbers):
        return False
    whole = [int(number) for number in numbers if len(number) < values.LONGEST_NUMBER]
    return all(after - before == 1 for before, after in pairwise(whole))
