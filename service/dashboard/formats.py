"""Formatting of values for people."""

import json
from datetime import datetime
from typing import Any

from worker.contracts.parts import Part, PartKind

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
NOTHING = "–"
SHORT = 60
"""Length to which names are shortened in lists."""
PARTS: dict[PartKind, tuple[str, str]] = {
    "candidate": ("short run", "short runs"),
    "trial": ("trial", "trials"),
    "block": ("block", "blocks"),
    "machine": ("machine of block", "machines of the blocks"),
    "leaf": ("leaf", "leaves"),
    "fold": ("fold", "folds"),
    "rows": ("rows, part", "rows"),
}
"""What a part is called in front of its number, and what all of a round are called."""


def number(value: float | str | None, digits: int = 4) -> str:
    """Return a number with ``digits`` significant digits; whole numbers in full, dates as they are."""
    if value is None:
        return NOTHING
    if isinstance(value, str):
        return value
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.{digits}g}"


def score(value: float | None) -> str:
    """Return a metric with four significant digits, including trailing zeros, so that columns line up."""
    return number(value) if value is None or abs(value) >= 1000 else f"{value:#.4g}"


def percent(share: float | None) -> str:
    """Return a share in [0, 1] as a percentage."""
    if share is None:
        return NOTHING
    return f"{100 * share:.1f}\u202f%"


def size(count: float | None) -> str:
    """Return a number of bytes in a suitable unit."""
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
    total = round(seconds)
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    return f"{total // 3600} h {total % 3600 // 60:02d} min"


def part_name(part: Part) -> str:
    """Return what a part is, with its number from 1."""
    return f"{PARTS[part.kind][0]} {part.number + 1}"


def parts_name(kind: PartKind) -> str:
    """Return what the parts of a round are."""
    return PARTS[kind][1]


def moment(value: datetime | None) -> str:
    """Return a UTC timestamp to the second."""
    return NOTHING if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def short(name: object, most: int = SHORT) -> str:
    """Return a name, shortened in its middle where it is long."""
    text = str(name)
    end = most // 3
    return text if len(text) <= most else f"{text[: most - end - 1]}…{text[-end:]}"


def phrase(name: str) -> str:
    """Return the name of an option or metric as words, for use inside a sentence."""
    return (
        name.replace("_", " ")
        .replace("agop", "AGOP")
        .replace("rmse", "RMSE")
        .replace("brier", "Brier")
        .replace("r2", "R²")
    )


def words(name: str) -> str:
    """Return the name of an option or metric as words with an initial capital."""
    text = phrase(name)
    return text[:1].upper() + text[1:]


def explained(description: str) -> str:
    """Return the description of an option for a form, where an empty input stands for null."""
    return description.replace("Null", "Empty")


def class_weight_text(weights: Any) -> str:
    """Return weights of classes as the form of a job takes them: balanced, ``label=weight``, or JSON."""
    if not isinstance(weights, dict):
        return str(weights or "")
    if any("," in label or label != label.strip() or label.startswith("{") for label in weights):
        return json.dumps(weights)
    return ", ".join(f"{label}={weight!r}".removesuffix(".0") for label, weight in weights.items())


def option(value: Any) -> str:
    """Return the value of an option of a spec."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list):
        return ", ".join(option(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{words(key)} {option(entry)}" for key, entry in value.items() if entry is not None)
    return str(value)
