"""Detect a first row that is data rather than names."""

import re
from collections.abc import Sequence
from itertools import pairwise

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import ColumnType
from worker.contracts.errors import UnreadableTable
from worker.tables import values
from worker.tables.cells import number_formats
from worker.tables.files.raw_table import NO_HEADER

SHOWN = 3
NAMES_OUTWEIGH = 3
"""One name outweighs three cells that are like those below: years and numbers can be names of columns."""
LOOKED_AT = 1000
"""Number of cells of a column that are compared with its name."""
MAX_UNLIKE_SHARE = 0.1
_CLOCK = r"[0-9]{1,2}:[0-9]{2}(:[0-9]{2}([.,][0-9]+)?)?( ?[APap][Mm])?"
_DAY = r"([0-9]{1,4}[./-][0-9]{1,2}[./-][0-9]{1,4}|[0-9]{1,2}[ -][A-Za-z]{3,9}[ -][0-9]{2,4})"
_SUM = r"[0-9][0-9 .,']*"
WRITTEN = tuple(
    re.compile(f"^{pattern}$", re.ASCII)
    for pattern in (
        rf"{_DAY}([T ]{_CLOCK})?( ?(Z|UTC|[+-][0-9]{{2}}:?[0-9]{{2}}))?",
        _CLOCK,
        rf"[+-]?{_SUM}%",
        rf"([+-]?[€$£¥] ?[+-]?{_SUM}|[+-]?{_SUM}[€$£¥])",
    )
)
"""Formats of dates, times, percentages and money."""
NUMBERED = re.compile(r"(.*[^0-9])[0-9]+")


class FirstRowIsData(UnreadableTable):
    """The first row of a text is like the rows below it, and holds no names."""


def check_header(
    names: Sequence[str],
    types: Sequence[ColumnType],
    repeated: Sequence[bool],
    repetitive: int,
    alike: Sequence[bool | None],
) -> None:
    """Refuse names that seem to be data, because they are of the kind of the cells below them.

    ``repeated``: whether a column of repetitive texts holds its own name as a value; ``repetitive``: the number of
    repetitive columns. ``alike``: see ``looks_alike``. Signs of data are a number above numbers, true above booleans, a
    date above dates, and texts that occur below themselves; signs of names are other texts above numbers, booleans or
    dates, numbers that count columns, and years.

    Raises:
        FirstRowIsData: naming the cells, and what to do.
    """
    columns = list(zip(names, types, repeated, strict=True))
    written = [
        (name, like)
        for (name, kind, _), like in zip(columns, alike, strict=True)
        if kind == "categorical" and name.strip() not in values.MISSING
    ]
    numbers = [name for name, kind, _ in columns if kind == "numeric" and _is(name, "numeric")]
    data = [] if _counts(numbers) else numbers
    data += [name for name, kind, _ in columns if kind == "boolean" and _is(name, "boolean")]
    data += [name for name, like in written if like]
    there = [column for column in columns if column[0].strip() not in values.MISSING]
    named = sum(kind != "categorical" and not _is(name, kind) for name, kind, _ in there)
    named += sum(like is False for _, like in written)
    texts = [name for name, _, is_repeated in there if is_repeated and name not in data]
    # one column may hold its name by chance: "y" among y and n
    if not named and 2 * len(texts) > repetitive:
        data += texts
    if len(data) > NAMES_OUTWEIGH * named:
        shown = ", ".join(map(repr, data[:SHOWN]))
        raise FirstRowIsData(
            f"the first row seems to be data and not names: {shown}{', …' if len(data) > SHOWN else ''} "
            f"{'is' if len(data) == 1 else 'are'} like the cells below; {NO_HEADER}"
        )


def holds_name(name: str, column: pa.Array) -> bool:
    """Return whether a column of texts holds its own name as a value."""
    return bool(pc.any(pc.equal(column, name), min_count=0).as_py())


def looks_alike(name: str, column: pa.Array) -> bool | None:
    """Return whether a name has the format of its column's cells, such as dates, money, or "web01".

    None: the cells have no common format.
    """
    text = name.strip()
    numbered = NUMBERED.fullmatch(text) if len(text) <= values.MAX_NUMBER_LENGTH and text.isprintable() else None
    kinds = [*WRITTEN, *([re.compile(rf"^{re.escape(numbered[1])}[0-9]+$", re.ASCII)] if numbered else [])]
    first = (column[0].as_py() or "").strip()
    # checking one cell first spares most columns the rest
    likely = [kind for kind in kinds if first in values.MISSING or kind.fullmatch(first)]
    if not likely:
        return None
    cells = values.without_missing(column.slice(0, LOOKED_AT)).drop_null()
    pattern = next((kind for kind in likely if _share(cells, kind.pattern) >= 1 - MAX_UNLIKE_SHARE), None)
    if pattern is None:
        return None
    return pattern.fullmatch(text) is not None


def _share(cells: pa.Array, pattern: str) -> float:
    return pc.mean(pc.match_substring_regex(cells, pattern)).as_py() or 0.0


def _is(name: str, kind: ColumnType) -> bool:
    text = values.without_missing(pa.array([name]))
    if text.null_count:
        return False
    if kind == "numeric":
        return values.could_be_number(text) or number_formats.is_number(name.strip())
    return values.could_be_boolean(text)


def _counts(numbers: Sequence[str]) -> bool:
    """Return whether numbers are names: years, or the indices of at least three columns from 0 or 1 on."""
    if not numbers or not all(
        number.strip().isdecimal() and len(number) < values.MAX_NUMBER_LENGTH for number in numbers
    ):
        return False
    places = [int(number) for number in numbers]
    counted = len(places) > 2 and places[0] in (0, 1) and all(after - before == 1 for before, after in pairwise(places))
    return counted or all(1900 <= place <= 2100 for place in places)
