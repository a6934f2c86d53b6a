"""Numbers as people write them: with marks of thousands, a decimal comma, a currency or a percent sign.

A percentage is the number in front of its sign, and an amount in parentheses is negative.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import DecimalMark
from worker.tables import values

DASHES = ("-", "–", "—", "--")
"""The minus sign alone, dashes of a text, two minus signs."""
SHEET_ERRORS = (
    *("#nv", "#n/v", "#div/0!", "#value!", "#wert!", "#valeur!", "#ref!", "#bezug!", "#name?", "#nom?", "#num!"),
    *("#zahl!", "#nombre!", "#null!", "#nul!"),
)
"""What spreadsheets write in English, German and French where a formula has no value, in small letters."""
NO_VALUE = (*DASHES, *SHEET_ERRORS, "k.a.", "k. a.", "keine angabe", "n.a.", "n. a.", "not available")
"""Among numbers, in letters of either case: no value."""
_BLANK = "[ \u00a0\u2009\u202f]"
_CODES = (
    "AED|AUD|BGN|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|ILS|INR|JPY|KRW|MXN|NOK|NZD|PLN|RON|RUB|SAR|SEK|SGD|THB|TRY|"
    "UAH|USD|ZAR"
)
_CURRENCY = f"(?:US\\$|C\\$|A\\$|R\\$|[€$£¥₹₩₽₺₴₫฿]|{_CODES}|kr\\.?|zł|Kč|Ft|lei|Fr\\.?)"
_INTEGER = "(?:0|[1-9][0-9]*|[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+)"


def _pattern(thousands: str, decimal: str) -> str:
    integer = "|".join(_INTEGER.format(mark=mark) for mark in (thousands, _BLANK, "['’]"))
    number = f"(?:(?:{integer})(?:{decimal}[0-9]*)?|{decimal}[0-9]+)"
    behind = f"(?:{_BLANK}?(?:{_CURRENCY}|%))?"
    front = f"(?:{_CURRENCY}{_BLANK}?)?"
    signed = f"[+-]?{_BLANK}?{front}{number}{behind}|{_CURRENCY}{_BLANK}?[+-]{_BLANK}?{number}"
    return f"^(?:{signed}|\\({front}{number}{behind}\\))$"


PATTERNS: Mapping[DecimalMark, str] = {".": _pattern(",", "\\."), ",": _pattern("\\.", ",")}
EVIDENCE: Mapping[DecimalMark, str] = {
    ".": "^[^.]*\\.(?:[0-9]{0,2}|[0-9]{4,})(?:[^0-9.]*$)|,[0-9]{3}[.,]",
    ",": "^[^,]*,(?:[0-9]{0,2}|[0-9]{4,})(?:[^0-9,]*$)|\\.[0-9]{3}[.,]",
}
"""What only a decimal mark can be: behind it are not three digits, or marks of thousands stand in front of it."""
GROUPS: Mapping[DecimalMark, str] = {
    ".": f"[0-9](?:{_BLANK}|['’,])[0-9]{{3}}(?:[^0-9]|$)",
    ",": f"[0-9](?:{_BLANK}|['’.])[0-9]{{3}}(?:[^0-9]|$)",
}
"""A mark of thousands."""
_SIGNS = f"{_BLANK}|['’]|{_CURRENCY}|%|\\)"
_REMOVED: Mapping[DecimalMark, str] = {".": f"{_SIGNS}|,", ",": f"{_SIGNS}|\\."}
FEW = 64
"""For so many texts Arrow takes longer to compile a pattern than Python, which keeps it, to match it."""
_NUMBER_ITSELF = f"{_BLANK}|[-+0-9.,'’()]"


def _matches(texts: pa.Array, pattern: str) -> pa.Array:
    if len(texts) > FEW:
        return pc.match_substring_regex(texts, pattern)
    return pa.array(
        [None if text is None else re.search(pattern, text) is not None for text in texts.to_pylist()], pa.bool_()
    )


def _replaced(texts: pa.Array, pattern: str, other: str) -> pa.Array:
    if len(texts) > FEW:
        return pc.replace_substring_regex(texts, pattern, other)
    changed = [None if text is None else re.sub(pattern, other, text) for text in texts.to_pylist()]
    return pa.array(changed, pa.string())


def units(texts: pa.Array) -> set[str]:
    """Return what stands beside the numbers of a column: signs and codes of currencies, and percent signs."""
    return set(_replaced(texts.drop_null(), _NUMBER_ITSELF, "").unique().to_pylist())


def fit(texts: pa.Array, mark: DecimalMark) -> bool:
    """Return whether all texts are numbers with this decimal mark."""
    return bool(pc.all(_matches(texts.drop_null(), PATTERNS[mark]), min_count=0).as_py())


def is_number(text: str) -> bool:
    """Return whether a text is a number with some decimal mark."""
    return any(re.match(pattern, text) for pattern in PATTERNS.values())


def show(texts: pa.Array, mark: DecimalMark) -> bool:
    """Return whether a text among numbers tells that this is the decimal mark."""
    return _matches_any(texts, EVIDENCE[mark])


def _matches_any(texts: pa.Array, pattern: str) -> bool:
    return bool(pc.any(_matches(texts.drop_null(), pattern), min_count=0).as_py())


def without_signs(texts: pa.Array) -> pa.Array:
    """Return texts with those of ``NO_VALUE`` as null."""
    return pc.if_else(pc.is_in(pc.utf8_lower(texts), value_set=pa.array(NO_VALUE)), None, texts)


def numbers(texts: pa.Array, mark: DecimalMark, *, signs: bool = True) -> pa.Array | None:
    """Return texts as float64, in this format or as plain numbers; None if one of them is neither.

    ``signs``: those of ``NO_VALUE`` mean it.
    """
    # the patterns take longer than a short column
    if mark == "." or not pc.any(pc.match_substring(texts, "."), min_count=0).as_py():
        plain = values.numbers(texts)
        if plain is not None:
            return plain
    texts = without_signs(texts) if signs else texts
    written = _matches(texts, PATTERNS[mark])
    if not pc.any(written, min_count=0).as_py():
        return values.numbers(texts)
    negative = _replaced(texts, "^\\(", "-")
    plain = _replaced(negative, _REMOVED[mark], "")
    plain = pc.replace_substring(plain, ",", ".") if mark == "," else plain
    return values.numbers(pc.if_else(written, plain, texts))


@dataclass
class NumberFormat:
    """What the cells of a column tell of how its numbers are written, as far as they have been read.

    ``fits``: the marks with which all cells are numbers, from the first on that is no plain one. ``shown``: those that
    a cell tells. ``marked``: a plain number has a point. ``units``: see ``units``. ``grouped``: those with which a cell
    has marks of thousands. ``any_number``: a cell is there that is none of ``NO_VALUE``.
    """

    fits: set[DecimalMark] = field(default_factory=lambda: set(PATTERNS))
    shown: set[DecimalMark] = field(default_factory=set)
    marked: bool = False
    units: set[str] = field(default_factory=set)
    grouped: set[DecimalMark] = field(default_factory=set)
    any_number: bool = False

    @property
    def possible(self) -> bool:
        """Whether all cells may be numbers, in one unit."""
        named = self.units - {""}
        one_unit = not named or (len(named) == 1 and ("%" not in named or len(self.units) == 1))
        return bool(self.fits) and self.shown != set(PATTERNS) and one_unit

    def update(self, texts: pa.Array, *, signs: bool, plain: bool) -> None:
        """Take texts without missing ones into account. ``signs``: those of ``NO_VALUE`` mean it.

        ``plain``: all cells so far are plain numbers.
        """
        if not plain and signs:
            texts = without_signs(texts)
        self.any_number = self.any_number or texts.null_count < len(texts)
        if plain:
            # of a plain number only the point tells something
            if "." not in self.shown and pc.any(pc.match_substring(texts, "."), min_count=0).as_py():
                self.marked = True
                self.shown |= {"."} if show(texts, ".") else set()
            return
        self.fits = {mark for mark in self.fits if fit(texts, mark)}
        self.shown |= {mark for mark in PATTERNS if mark not in self.shown and show(texts, mark)}
        self.units |= units(texts) if self.fits else set()
        self.grouped |= {mark for mark in self.fits - self.grouped if _matches_any(texts, GROUPS[mark])}

    def what(self, mark: DecimalMark) -> str:
        """Return what formatted cells are."""
        named = self.units - {""}
        if named:
            return "percent" if "%" in named else "money"
        return "thousands" if mark in self.grouped else "numbers" if mark == "." else "decimal comma"

    def mark(self, usual: DecimalMark, *, plain: bool) -> DecimalMark | None:
        """Return the decimal mark of the column, None for plain numbers. ``usual``: that of the table."""
        if plain:
            return usual if usual == "," and self.marked and "." not in self.shown else None
        return usual if usual in self.fits else next(iter(self.fits), None)


def decimal_of(formats: Iterable[NumberFormat]) -> DecimalMark:
    """Return the decimal mark of a table: the comma if a column tells it, and none the point."""
    shown = {mark for one in formats if one.possible for mark in one.shown}
    return "," if shown == {","} else "."
