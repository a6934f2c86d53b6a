"""Suggest known names for an unknown one, in linear time."""

import difflib
import heapq
import re
from collections.abc import Iterable

MAX_LENGTH = 100
"""Only the beginning of longer names is compared and shown."""
COMPARED = 100
"""Number of names, those with the most common pairs of letters, that are compared letter by letter."""
MIN_SIMILARITY = 0.6
MIN_PART = 3
"""A name is similar to a part of it of at least this many letters."""


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """Return the end of an error message with suggestions, or an empty text."""
    close = close_names(name, known, most)
    return f"; did you mean {', '.join(repr(shown(other)) for other in close)}?" if close else ""


def close_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the names most similar to ``name``, best first, ignoring case, spaces and underscores."""
    target = _plain(name)
    pairs = _pairs(target)
    likely = heapq.nlargest(COMPARED, known, key=lambda candidate: _overlap(pairs, _plain(candidate)))
    compare = difflib.SequenceMatcher(autojunk=False)
    compare.set_seq2(target)
    scored = []
    for candidate in likely:
        other = _plain(candidate)
        compare.set_seq1(other)
        shorter, longer = sorted((target, other), key=len)
        part = len(shorter) >= MIN_PART and shorter in longer
        alike = max(compare.ratio(), MIN_SIMILARITY if part else 0.0)
        if alike >= MIN_SIMILARITY:
            scored.append((alike, candidate))
    return [candidate for _, candidate in sorted(scored, key=lambda pair: -pair[0])[:most]]


def shown(name: str) -> str:
    """Return a name shortened for a message."""
    return name if len(name) <= MAX_LENGTH else name[: MAX_LENGTH - 1] + "…"


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]+", "", name[:MAX_LENGTH]).casefold()


def _pairs(text: str) -> set[str]:
    return {text[k : k + 2] for k in range(max(len(text) - 1, 1))}


def _overlap(pairs: set[str], other: str) -> float:
    theirs = _pairs(other)
    return len(pairs & theirs) / max(len(pairs | theirs), 1)
