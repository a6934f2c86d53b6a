"""How answers tell of categories that no training row had."""

import json
from collections.abc import Mapping

HEADER = "Unknown-Categories"
PARAMETER = "unknown_categories"
"""Of an answer of the Open Inference Protocol, whose parameters are single values: the same JSON as text."""
MAX_TEXT = 2000
"""Characters, so that no client or server between stumbles over the header. Columns that do not fit are left out."""


def as_text(unknown: Mapping[str, int]) -> str:
    """Return JSON of as many columns as fit, each with the number of rows; an empty text where there are none."""
    parts: list[str] = []
    left = MAX_TEXT
    for name, count in unknown.items():
        part = f"{json.dumps(name)}: {count}"
        if len(part) <= left:
            parts.append(part)
            left -= len(part) + 2
    return f"{{{', '.join(parts)}}}" if parts else ""
