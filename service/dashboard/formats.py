"""Figures as people read them."""

from datetime import datetime
from typing import Any

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
NOTHING = "–"
SHORT = 60
"""So many characters of a name are shown where it stands among others."""


def number(value: float | None, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits; whole numbers in full."""
    if value is None:
        return NOTHING
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.{digits}g}"


def score(value: float | None) -> str:
    """Return a metric with four significant digits, zeros at the end too, so that those of a column line up."""
    return number(value) if value is None or abs(value) >= 1000 else f"{value:#.4g}"


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as a percentage."""
    if share is None:
        return NOTHING
    return f"{100 * share:.1f}\u202f%"


def size(count: float | None) -> str:
    """Return a number of bytes in the unit that suits it."""
    if count is None:
        return NOTHING
    for unit in UNITS[:-1]:
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} {UNITS[-1]}"


def duration(seconds: float | None) -> str:
    """Return a time span: its two largest units."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def moment(value: datetime | None) -> str:
    """Return a moment in UTC, to the second."""
    return NOTHING if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def short(name: object, most: int = SHORT) -> str:
    """Return a name, the middle of a long one left out: names that begin alike often end differently."""
    text = str(name)
    end = most // 3
    return text if len(text) <= most else f"{text[: most - end - 1]}…{text[-end:]}"


def phrase(name: str) -> str:
    """Return the name of an option or a metric as words inside a sentence."""
    return (
        name.replace("_", " ")
        .replace("agop", "AGOP")
        .replace("rmse", "RMSE")
        .replace("brier", "Brier")
        .replace("r2", "R²")
    )


def words(name: str) -> str:
    """Return the name of an option or a metric as words with a capital."""
    said = phrase(name)
    return said[:1].upper() + said[1:]


def explained(description: str) -> str:
    """Return what a contract says of an option as a form says it: nothing is null there, but an input may be empty."""
    return description.replace("Null", "Empty")


def option(value: Any) -> str:
    """Return the value of an option of a spec."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(option(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{words(key)} {option(one)}" for key, one in value.items() if one is not None)
    return str(value)
