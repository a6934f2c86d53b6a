"""The report on categories unseen in training, in answers to predictions."""

import json
from collections.abc import Mapping

HEADER = "Unknown-Categories"
PARAMETER = "unknown_categories"
"""In the Open Inference Protocol, whose parameters are scalars: the JSON as text."""
MAX_TEXT = 2000
"""Longest text, so that proxies and clients accept the header. Columns that do not fit are left out."""


def as_text(unknown: Mapping[str, int]) -> str:
    """Return JSON of as many columns as fit, each with its number of rows; "" where there are none."""
    parts: list[str] = []
    left = MAX_TEXT
    for name, count in unknown.items():
        part = f"{json.dumps(name)}: {count}"
        if len(part) <= left:
            parts.append(part)
            left -= len(part) + 2
    return f"{{{', '.join(parts)}}}" if parts else ""
