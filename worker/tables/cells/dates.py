"""Dates, with or without a time, as people write them: seconds since 1970 in UTC.

The year is first, as in ISO 8601, or last: then the order of day and month is that with which all cells of the column
are dates, unless the month has a name. A time without a zone is in UTC. Points, slashes and hyphens stand between the
numbers.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import DateOrder
from worker.tables.cells.moments import DAY, seconds_of
from worker.tables.cells.named_months import in_numbers
from worker.tables.cells.number_formats import FEW

MOMENTS = pa.timestamp("us")
"""How a model reads dates: in UTC."""
EARLIEST, LATEST = -62_135_596_800, 253_402_300_799
"""Seconds of the first and the last second of the years 1 to 9999."""
_ZONE = "(?:Z|z|UTC|GMT|(?P<sign>[+-])(?P<zh>[0-9]{2})(?::?(?P<zm>[0-9]{2})(?::?(?P<zs>[0-9]{2}))?)?)"
_TIME = "(?P<H>[0-9]{1,2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:[.,](?P<f>[0-9]{1,12}))?)?(?: ?(?P<half>[AaPp][Mm]))?"
PATTERN = (
    "(?:(?P<y>[0-9]{4})(?P<s>[-/.])(?P<m>[0-9]{1,2})(?P<t>[-/.])(?P<d>[0-9]{1,2})"
    "|(?P<a>[0-9]{1,2})(?P<u>[-/.])(?P<b>[0-9]{1,2})(?P<v>[-/.])(?P<c>[0-9]{4}))"
    f"(?:(?:[Tt]| {{1,2}}){_TIME}(?: ?{_ZONE})?)?"
)
_EXACT = re.compile(PATTERN)
_GROUPS = tuple(_EXACT.groupindex)
_NOTHING = ("",) * len(_GROUPS)
BLOCK = 65_536
"""So many texts are taken apart at a time, which bounds the memory of their parts."""
_PLAIN = "^[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\\.[0-9]{1,6})?)?Z?)?$"
ORDERS: tuple[DateOrder, ...] = ("day", "month")


def seconds(texts: pa.Array, order: DateOrder | None) -> pa.Array:
    """Return each stripped text as float64 seconds, null where it is null or no date.

    ``order``: what is first where the year is last; None: such texts are no dates.
    """
    coded = texts.dictionary_encode()
    return _all_parsed(coded.dictionary, order).take(coded.indices)


def in_calendar(seconds: pa.Array) -> pa.Array:
    """Return seconds, null where they are beyond the years 1 to 9999, which texts cannot be."""
    return pc.if_else(pc.and_(pc.greater_equal(seconds, EARLIEST), pc.less_equal(seconds, LATEST)), seconds, None)


def moments(seconds: pa.Array) -> pa.Array:
    """Return seconds as timestamps of Arrow."""
    return pc.round(pc.multiply(seconds, 1e6)).cast(pa.int64()).cast(MOMENTS)


def iso_texts(moments: Iterable[float]) -> list[str]:
    """Return seconds in ISO 8601: as dates if all are midnights, else as times in UTC."""
    numbers = np.array([*moments])
    if not (numbers % DAY).any():
        return [str(day) for day in (numbers // DAY).astype(np.int64).astype("M8[D]")]
    unit = "us" if (numbers % 1).any() else "s"
    return [f"{moment}Z" for moment in np.round(numbers * 1e6).astype(np.int64).astype("M8[us]").astype(f"M8[{unit}]")]


@dataclass
class DateFormat:
    """What the cells of a column tell of how its dates are written, as far as they have been read.

    ``fits``: the orders of day and month with which all cells are dates; ``marks``: between numbers with the year last.
    """

    fits: set[DateOrder] = field(default_factory=lambda: set(ORDERS))
    marks: set[str] = field(default_factory=set)

    @property
    def possible(self) -> bool:
        """Whether all cells may be dates."""
        return bool(self.fits)

    @property
    def told(self) -> DateOrder | None:
        """What comes first, where the cells tell it."""
        return next(iter(self.fits)) if self.marks and len(self.fits) == 1 else None

    def update(self, texts: pa.Array) -> None:
        """Take texts without missing ones into account."""
        texts = texts.drop_null()
        if not len(texts):
            return
        if _EXACT.fullmatch(in_numbers(texts[:1])[0].as_py()) is None:
            self.fits = set()
            return
        texts = in_numbers(texts.unique())
        self.fits = {order for order in self.fits if not _all_parsed(texts, order).null_count}
        if self.fits and len(self.marks) < 3:
            last = pc.utf8_slice_codeunits(texts.filter(pc.match_substring_regex(texts, "^[0-9]{1,2}[-/.]")), 1, 3)
            self.marks |= set(pc.replace_substring_regex(last, "[0-9]", "").unique().to_pylist())

    def what(self, order: DateOrder) -> str:
        """Return what the cells are, with the order in which they are read."""
        return f"dates, {order} first" if self.told else f"dates, read as {order} first: no cell tells"

    def order(self, usual: DateOrder | None) -> DateOrder | None:
        """Return what comes first, None where the year does. ``usual``: what other columns of the table tell."""
        if not self.marks:
            return None
        return self.told or usual or ("month" if self.marks == {"/"} else "day")


def order_of(formats: Iterable[DateFormat]) -> DateOrder | None:
    """Return what comes first in the dates of a table, None if no column or more than one order is told."""
    told = {one.told for one in formats if one.possible} - {None}
    return told.pop() if len(told) == 1 else None


def _groups(texts: pa.Array) -> tuple[np.ndarray, dict[str, pa.Array]]:
    """Return which texts match, (n,), and the text of each group, empty where there is none."""
    # RE2, of Arrow, takes several times as long to capture so many groups
    matches = [None if text is None else _EXACT.fullmatch(text) for text in texts.to_pylist()]
    rows = [_NOTHING if match is None else match.groups("") for match in matches]
    parts = {name: pa.array(column, pa.string()) for name, column in zip(_GROUPS, zip(*rows, strict=True), strict=True)}
    return np.array([match is not None for match in matches], bool), parts


def _all_parsed(texts: pa.Array, order: DateOrder | None) -> pa.Array:
    starts = range(0, len(texts), BLOCK)
    blocks = [_plain(texts.slice(start, BLOCK)) for start in starts]
    blocks = [
        _parsed(texts.slice(start, BLOCK), order) if block is None else block
        for start, block in zip(starts, blocks, strict=True)
    ]
    return pa.concat_arrays([pa.array([], pa.float64()), *blocks])


def _plain(texts: pa.Array) -> pa.Array | None:
    """Return what ``_parsed`` does of many texts in the plainest form, which Arrow reads faster; None for others."""
    if len(texts) <= FEW or not pc.all(pc.match_substring_regex(texts.drop_null(), _PLAIN), min_count=0).as_py():
        return None
    try:
        return seconds_of(pc.utf8_rtrim(texts, "Z").cast(pa.timestamp("us")))
    except pa.ArrowInvalid:
        return None


def _parsed(texts: pa.Array, order: DateOrder | None) -> pa.Array:
    """Return texts, of which there is at least one, as ``seconds`` does."""
    there, parts = _groups(in_numbers(texts))

    def number(name: str) -> np.ndarray:
        digits = parts[name]
        numbers: np.ndarray = pc.if_else(pc.equal(digits, ""), "0", digits).cast(pa.int64()).to_numpy()
        return numbers

    def same(name: str, other: str) -> np.ndarray:
        equal: np.ndarray = pc.equal(parts[name], parts.get(other, other)).to_numpy(zero_copy_only=False)
        return equal

    iso = ~same("s", "")
    first, second = (number("b"), number("a")) if order == "day" else (number("a"), number("b"))
    year = np.where(iso, number("y"), number("c"))
    month, day = np.where(iso, number("m"), first), np.where(iso, number("d"), second)
    valid = there & same("s", "t") & same("u", "v") & (iso | (order is not None))
    valid &= (year >= 1) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = (np.where(valid, year - 1970, 0) * 12 + np.where(valid, month - 1, 0)).astype("M8[M]")
    days = months.astype("M8[D]") + np.where(valid, day - 1, 0)
    valid &= days.astype("M8[M]") == months
    parts["half"] = pc.utf8_lower(parts["half"])
    of_day, hour = same("half", ""), number("H")
    valid &= np.where(of_day, hour < 24, (hour >= 1) & (hour <= 12))
    hour = np.where(of_day, hour, hour % 12 + 12 * same("half", "pm"))
    minute, second_of, zone_hour, zone_minute = number("M"), number("S"), number("zh"), number("zm")
    valid &= (minute < 60) & (second_of <= 60) & (zone_hour < 24) & (zone_minute < 60)
    zone = (zone_hour * 3600 + zone_minute * 60 + number("zs")) * np.where(same("sign", "-"), -1, 1)
    fraction = pc.binary_join_element_wise("0.", parts["f"], "0", "").cast(pa.float64()).to_numpy()
    whole = days.astype(np.int64) * DAY + hour * 3600 + minute * 60 + second_of - zone
    valid &= (whole >= EARLIEST) & (whole <= LATEST)
    return pa.array(whole + fraction, pa.float64(), mask=~valid)
