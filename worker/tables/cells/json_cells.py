"""Valid cells of JSON tables, for training and prediction."""

import re
from math import isinf
from types import NoneType
from typing import Any

from worker.contracts.json_text import LongNumber

CELL_TYPES = frozenset({str, int, float, bool, NoneType})
HALF_CHARACTER = re.compile("[\ud800-\udfff]")
LARGEST = "numbers end at 1.8e308"


def mistake(cell: Any) -> str | None:
    """Return the fault of a cell; None if it is valid."""
    if isinstance(cell, LongNumber):
        return str(cell)
    if type(cell) not in CELL_TYPES:
        return "a cell is a number, text, boolean or null"
    if type(cell) is float and isinf(cell):
        return f"{cell} is not a finite number; {LARGEST}"
    if type(cell) is str and HALF_CHARACTER.search(cell):
        return f"the text {cell[:80]!r} is no valid Unicode: it holds half a character"
    return None
