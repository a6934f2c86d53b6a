"""Which names may be meant by one that is not there, at a cost that is linear in all of them."""

import difflib
import heapq
import re
from collections.abc import Iterable

MAX_LENGTH = 100
"""Of longer names only the beginning is compared and shown."""
COMPARED = 100
"""So many names, those with the most pairs of letters in common, are compared letter by letter."""
MIN_SIMILARITY = 0.6
MIN_PART = 3
"""A name that holds the other one, or is held by it, is like it where the shorter one has so many letters."""


def did_you_mean(name: str, known: Iterable[str], most: int = 3) -> str:
    """Return the end of a message that names what may be meant, or nothing."""
    close = close_names(name, known, most)
    return f"; did you mean {', '.join(repr(shown(one)) for one in close)}?" if close else ""


def close_names(name: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the names most like ``name``, the nearest first; capitals, spaces and underscores do not count."""
    wanted = _plain(name)
    pairs = _pairs(wanted)
    likely = heapq.nlargest(COMPARED, ((_overlap(pairs, _plain(one)), one) for one in known), key=lambda pair: pair[0])
    compare = difflib.SequenceMatcher(autojunk=False)
    compare.set_seq2(wanted)
    scored = []
    for _, one in likely:
        other = _plain(one)
        compare.set_seq1(other)
        shorter, longer = sorted((wanted, other), key=len)
        part = len(shorter) >= MIN_PART and shorter in longer
        alike = max(compare.ratio(), MIN_SIMILARITY if part else 0.0)
        if alike >= MIN_SIMILARITY:
            scored.append((alike, one))
    return [one for _, one in sorted(scored, key=lambda pair: -pair[0])[:most]]


def shown(name: str) -> str:
    """Return a name as a message shows it."""
    return name if len(name) <= MAX_LENGTH else name[: MAX_LENGTH - 1] + "…"


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]+", "", name[:MAX_LENGTH]).casefold()


def _pairs(text: str) -> set[str]:
    return {text[k : k + 2] for k in range(max(len(text) - 1, 1))}


def _overlap(pairs: set[str], other: str) -> float:
    theirs = _pairs(other)
    return len(pairs & theirs) / max(len(pairs | theirs), 1)
