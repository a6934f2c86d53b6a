"""Replace the caller's words for missing values by null, in columns of every type.

A word that is a number, a boolean or a datetime matches all its spellings: -999 matches -999.0 in a text, in a numeric
column and in JSON. So a table means the same in every format.
"""

from collections.abc import Sequence
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.errors import UnreadableTable
from worker.tables import values


class MissingWords:
    """Words prepared for comparison as texts, numbers and booleans."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._spelled = frozenset(map(values.spelling, words))
        self.numbers = [float(word) for word in self._spelled if values.NUMBER.fullmatch(word)]
        self._truths = [word == "true" for word in self._spelled if word in ("true", "false")]

    def without(self, column: pa.Array) -> pa.Array:
        """Return a column of any type with null in place of each word.

        Texts are stripped, and blank ones are missing; declared categories are not stripped.
        """
        declared = pa.types.is_dictionary(column.type)
        cells = values.decoded(column)
        kind = cells.type
        if values.is_text(kind):
            texts = cells.cast(pa.string())
            trimmed = values.without_missing(texts, self._words)
            there = pc.invert(pc.or_(pc.is_null(trimmed), self._written(trimmed)))
            return pc.if_else(there, texts if declared else trimmed, None)
        if pa.types.is_boolean(kind):
            gone = pc.is_in(cells, value_set=pa.array(self._truths, pa.bool_()))
        elif pa.types.is_temporal(kind):
            try:
                gone = self._written(values.typed("", cells, "categorical"))
            except UnreadableTable:
                # an unsupported type, which a later check reports
                return column
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            gone = pc.is_in(values.as_floats(cells), value_set=pa.array(self.numbers, pa.float64()))
        else:
            return column
        cleaned = pc.if_else(gone, None, cells)
        return cleaned.dictionary_encode() if declared else cleaned

    def number_of(self, truth: bool) -> list[float]:
        """Return the missing words that are numbers, or (``truth``) booleans, as numbers."""
        return [float(value) for value in self._truths] if truth else self.numbers

    def _written(self, texts: pa.Array) -> pa.Array:
        """Return which texts are another spelling of a word; each distinct text is checked once."""
        coded = texts.dictionary_encode()
        gone = [text is not None and values.spelling(text) in self._spelled for text in coded.dictionary.to_pylist()]
        return pa.array([*gone, False], pa.bool_()).take(pc.fill_null(coded.indices, len(gone)))


@lru_cache(maxsize=100)
def missing_words(words: tuple[str, ...]) -> MissingWords:
    """Return the prepared words, cached for columns with the same words. The cache is bounded: callers choose words."""
    return MissingWords(words)
