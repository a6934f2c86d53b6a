"""Dates whose month has a name, or whose year has two digits, written as numbers with the whole year."""

import re

import pyarrow as pa
import pyarrow.compute as pc

_ENGLISH = "january february march april may june july august september october november december"
_GERMAN = "januar februar märz april mai juni juli august september oktober november dezember"
MONTHS = {
    **{name: month for names in (_ENGLISH, _GERMAN) for month, name in enumerate(names.split(), 1)},
    **{name[:3]: month for names in (_ENGLISH, _GERMAN) for month, name in enumerate(names.split(), 1)},
    **{"jänner": 1, "maerz": 3, "mrz": 3, "sept": 9},
}
_NAME = "|".join(sorted(MONTHS, key=len, reverse=True))
_WEEKDAYS = (
    "mon|tue|wed|thu|fri|sat|sun|monday|tuesday|wednesday|thursday|friday|saturday|sunday|mo|di|mi|do|fr|sa|so|montag|"
    "dienstag|mittwoch|donnerstag|freitag|samstag|sonnabend|sonntag"
)
_WEEKDAY = f"(?:(?:{_WEEKDAYS})(?:\\.?, ?|\\.? ))?"
_END = "(?=$|[T ])"
_DAY_FIRST = re.compile(
    f"{_WEEKDAY}(?P<day>[0-9]{{1,2}})(?:\\.|st|nd|rd|th)?(?P<mark>[-/ ])(?P<month>{_NAME})\\.?,?"
    f"(?P=mark)(?P<year>[0-9]{{4}}|[0-9]{{2}}){_END}",
    re.IGNORECASE,
)
_MONTH_FIRST = re.compile(
    f"{_WEEKDAY}(?P<month>{_NAME})\\.?(?P<mark>[-/ ]) ?(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?(?:, ?|(?P=mark))"
    f"(?P<year>[0-9]{{4}}){_END}",
    re.IGNORECASE,
)
_SHORT_YEAR = re.compile(f"([0-9]{{2}}\\.[0-9]{{2}}\\.|[0-9]{{1,2}}/[0-9]{{1,2}}/)([0-9]{{2}}){_END}")
_MAY_BE = "[A-Za-zäÄ]{3}|^[0-9]{1,2}[./][0-9]{1,2}[./][0-9]{2}(?:[T ]|$)"
FIRST_SHORT_YEAR = 69
"""Two digits from it on are of the twentieth century, as in POSIX."""


def in_numbers(texts: pa.Array) -> pa.Array:
    """Return texts, those that are such dates as 2024-02-28 or 28.02.2024, with the time that stands behind."""
    if not pc.any(pc.match_substring_regex(texts, _MAY_BE), min_count=0).as_py():
        return texts
    return pa.array([None if text is None else _in_numbers(text) for text in texts.to_pylist()], pa.string())


def _in_numbers(text: str) -> str:
    named = _DAY_FIRST.match(text) or _MONTH_FIRST.match(text)
    if named is not None:
        month = MONTHS.get(named["month"].lower())
        # such as a ſ for the s, which is its other case
        if month is None:
            return text
        return f"{_whole(named['year'])}-{month:02d}-{int(named['day']):02d}{text[named.end() :]}"
    short = _SHORT_YEAR.match(text)
    return text if short is None else f"{short[1]}{_whole(short[2])}{text[short.end() :]}"


def _whole(year: str) -> str:
    if len(year) == 4:
        return year
    return f"{19 if int(year) >= FIRST_SHORT_YEAR else 20}{year}"
