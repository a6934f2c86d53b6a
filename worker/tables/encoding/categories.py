"""Which category of a column a text stands for, whichever way it came."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from worker.tables.values import MISSING, spelling

UNKNOWN, GAP = -1, -2
"""In the place of a category: none that is known, and no value."""


class Categories:
    """The categories of a column, in their order.

    A text is looked up as it is, then without its outer white space; then it may be a word for a missing value; then it
    is a category that is written in another way: 1.50 for 1.5, TRUE for true, T for the blank between date and time.
    So whatever a training row held is found, also in models whose files were read before all texts were trimmed.
    """

    def __init__(self, categories: Sequence[str]) -> None:
        self._places: dict[str | None, int] = {text: place for place, text in enumerate(categories)}
        spelled = [spelling(text) for text in categories]
        counts = Counter(spelled)
        self._spelled = {
            written: place
            for place, (written, text) in enumerate(zip(spelled, categories, strict=True))
            # of several ways to write one number that are categories each, only the plain one stands for others
            if counts[written] == 1 or written == text
        }
        self._places[None] = GAP

    @property
    def keys(self) -> Mapping[str, int]:
        """Return the texts that are known without a look at how they are written, each with its place."""
        words = dict.fromkeys(MISSING, GAP)
        return {**self._spelled, **words, **{text: place for text, place in self._places.items() if text is not None}}

    def place(self, text: str | None) -> int:
        """Return the place of the category that ``text`` stands for, UNKNOWN or GAP."""
        place = self._places.get(text)
        return self._place_of_other(text) if place is None and text is not None else place  # type: ignore[return-value]

    def places(self, column: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Return the place of every text of a column, (n,) int64."""
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        found = [np.empty(0, np.int64)]
        for chunk in chunks:
            if pa.types.is_dictionary(chunk.type) and len(chunk) < len(chunk.dictionary):
                chunk = chunk.dictionary_decode()
            coded = chunk.dictionary_encode()
            known = np.array([*map(self.place, coded.dictionary.to_pylist()), GAP], np.int64)
            found.append(known[coded.indices.fill_null(len(known) - 1).to_numpy()])
        return np.concatenate(found)

    def _place_of_other(self, text: str) -> int:
        trimmed = text.strip()
        place = self._places.get(trimmed)
        if place is not None:
            return place
        return GAP if trimmed in MISSING else self._spelled.get(spelling(trimmed), UNKNOWN)
