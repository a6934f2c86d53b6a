"""Counts of the character n-grams of texts, by a hash of each.

The n-grams are those of scikit-learn's analyzer ``char_wb``: within words, with a blank at both ends of a word. They
are hashed as integers of 64 bits, so a text has the same counts on every machine and beside any other texts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

LENGTHS = (3, 4, 5)
BUCKET_BITS = 13
BUCKETS = 2**BUCKET_BITS
MAX_CHARACTERS = 2000
"""So many characters of a text count, from its beginning."""
CHUNK = 2**16
"""Texts are counted in chunks of about so many characters, which bounds memory."""
BASE, MIXER = np.uint64(0x100000001B3), np.uint64(0x9E3779B97F4A7C15)
"""Multipliers of an FNV hash, and 2^64 over the golden ratio, whose product has well mixed upper bits."""
BLANK = 32


@dataclass(frozen=True)
class Counts:
    """The buckets of consecutive texts that hold n-grams, text after text, each text's ascending.

    ``texts``: the number of the first text and one past the last. ``starts`` (texts,): where the entries of each text
    begin. ``buckets`` and ``counts`` (entries,): how many n-grams of the text fell into the bucket.
    """

    texts: slice
    starts: np.ndarray
    buckets: np.ndarray
    counts: np.ndarray

    @property
    def owners(self) -> np.ndarray:
        """The text of each entry, counted from the first of these, (entries,)."""
        return np.repeat(np.arange(len(self.starts)), np.diff(self.starts, append=len(self.buckets)))


def normalized(text: str) -> str:
    """Return a text as its n-grams are taken: in lower case, with one blank around each word, of bounded length."""
    return f" {' '.join(text.strip()[:MAX_CHARACTERS].lower().split())} "


def counted(texts: Sequence[str]) -> Iterator[Counts]:
    """Yield the counts of texts that hold a word each, in order, a chunk of them at a time."""
    chunk: list[str] = []
    start, length = 0, 0
    for text in map(normalized, texts):
        if chunk and length + len(text) > CHUNK:
            yield _counts(chunk, start)
            start, length, chunk = start + len(chunk), 0, []
        chunk.append(text)
        length += len(text)
    if chunk:
        yield _counts(chunk, start)


def _counts(texts: Sequence[str], start: int) -> Counts:
    letters = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32)
    owners = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    inner = letters != BLANK
    keys = []
    for length in LENGTHS:
        windows = max(len(letters) - length + 1, 0)
        within = np.ones(windows, bool)
        hashes = np.full(windows, length, np.uint64)
        for place in range(length):
            if 0 < place < length - 1:
                # also no window goes from one text into the next, between which there are two blanks
                within &= inner[place : place + windows]
            hashes = (hashes ^ letters[place : place + windows]) * BASE
        buckets = (hashes[within] * MIXER) >> np.uint64(64 - BUCKET_BITS)
        keys.append(owners[:windows][within] * BUCKETS + buckets.astype(np.int64))
    entries, counts = np.unique(np.concatenate(keys), return_counts=True)
    starts = np.searchsorted(entries, np.arange(len(texts)) * BUCKETS)
    return Counts(slice(start, start + len(texts)), starts, entries % BUCKETS, counts)
