"""The words for a missing value that a caller named, taken out of columns of every type.

A word that is a number, a truth value or a moment stands for all that are written in another way: -999 for -999.0 in
a text, in a column of numbers and in a number of JSON. So a table means the same in every form.
"""

from collections.abc import Sequence
from functools import lru_cache

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.errors import UnreadableTable
from worker.tables import values


class MissingWords:
    """Words by how they are compared: as texts, and as what they may be written like."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)
        self._spelled = frozenset(map(values.spelling, words))
        self.numbers = [float(word) for word in self._spelled if values.NUMBER.fullmatch(word)]
        self._truths = [word == "true" for word in self._spelled if word in ("true", "false")]

    def without(self, column: pa.Array) -> pa.Array:
        """Return a column, of whatever type, with null in the place of each word.

        Texts lose their outer white space, and blank ones are missing; declared categories stay as they are.
        """
        declared = pa.types.is_dictionary(column.type)
        own = values.decoded(column)
        kind = own.type
        if values.is_text(kind):
            texts = own.cast(pa.string())
            trimmed = values.without_missing(texts, self._words)
            there = pc.invert(pc.or_(pc.is_null(trimmed), self._written(trimmed)))
            return pc.if_else(there, texts if declared else trimmed, None)
        if pa.types.is_boolean(kind):
            gone = pc.is_in(own, value_set=pa.array(self._truths, pa.bool_()))
        elif pa.types.is_temporal(kind):
            try:
                gone = self._written(values.typed("", own, "categorical"))
            except UnreadableTable:
                # of a type that no table holds: it is refused by name elsewhere
                return column
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
            gone = pc.is_in(values.as_floats(own), value_set=pa.array(self.numbers, pa.float64()))
        else:
            return column
        kept = pc.if_else(gone, None, own)
        return kept.dictionary_encode() if declared else kept

    def number_of(self, truth: bool) -> list[float]:
        """Return the numbers that are missing, of a column of truth values the numbers that those are."""
        return [float(one) for one in self._truths] if truth else self.numbers

    def _written(self, texts: pa.Array) -> pa.Array:
        """Return which texts are a word that is written in another way; equal ones are looked at once."""
        coded = texts.dictionary_encode()
        gone = [text is not None and values.spelling(text) in self._spelled for text in coded.dictionary.to_pylist()]
        return pa.array([*gone, False], pa.bool_()).take(pc.fill_null(coded.indices, len(gone)))


@lru_cache(maxsize=100)
def missing_words(words: tuple[str, ...]) -> MissingWords:
    """Return the words of a column, made once for all columns that have them. Callers choose words: few are kept."""
    return MissingWords(words)
