"""Which category of a column a text stands for, whichever way it came."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import pyarrow as pa

from worker.tables.values import MISSING, NUMBER, number_text, spelling

UNKNOWN, GAP, RARE = -1, -2, -3
"""In the place of a category: none that is known, no value, and one with too few training rows for a place."""
TRUTH_VALUES = {"true": "1", "false": "0"}


class Categories:
    """The categories of a column, in their order.

    A text is looked up as it is, then without its outer white space; then it may be a word for a missing value; then it
    is a category that is written in another way: 1.50 for 1.5, TRUE for true, T for the blank between date and time,
    1 for true where all categories are truth values, and 0.10000000149011612 for 0.1, which it is in float32.
    So whatever a training row held is found, also in models whose files were read before all texts were trimmed.
    ``missing_words``: see ``values.without_missing``. ``rare``: further categories that training rows had.
    """

    def __init__(
        self, categories: Sequence[str], missing_words: Sequence[str] | None = None, rare: Sequence[str] = ()
    ) -> None:
        self._gaps = frozenset(MISSING if missing_words is None else ("", *missing_words))
        self._places: dict[str | None, int] = dict.fromkeys(rare, RARE)
        self._places.update((text, place) for place, text in enumerate(categories))
        texts = [*categories, *rare]
        spelled = [spelling(text) for text in texts]
        counts = Counter(spelled)
        self._spelled = {
            written: self._places[text]
            for written, text in zip(spelled, texts, strict=True)
            # of several ways to write one number that are categories each, only the plain one stands for others
            if counts[written] == 1 or written == text
        }
        for written, other in _further_spellings(self._spelled):
            self._spelled.setdefault(other, self._spelled[written])
        self._places[None] = GAP

    @property
    def keys(self) -> Mapping[str, int]:
        """Return the texts that are known without a look at how they are written, each with its place."""
        words = dict.fromkeys(self._gaps, GAP)
        return {**self._spelled, **words, **{text: place for text, place in self._places.items() if text is not None}}

    def place(self, text: str | None) -> int:
        """Return the place of the category that ``text`` stands for, RARE, UNKNOWN or GAP."""
        place = self._places.get(text)
        return self._place_of_other(text) if place is None and text is not None else place  # type: ignore[return-value]

    def places(self, column: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Return the place of every text of a column, (n,) int64."""
        chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
        places = [np.empty(0, np.int64)]
        for chunk in chunks:
            if pa.types.is_dictionary(chunk.type) and len(chunk) < len(chunk.dictionary):
                chunk = chunk.dictionary_decode()
            coded = chunk.dictionary_encode()
            known = np.array([*map(self.place, coded.dictionary.to_pylist()), GAP], np.int64)
            places.append(known[coded.indices.fill_null(len(known) - 1).to_numpy()])
        return np.concatenate(places)

    def _place_of_other(self, text: str) -> int:
        trimmed = text.strip()
        place = self._places.get(trimmed)
        if place is not None:
            return place
        return GAP if trimmed in self._gaps else self._spelled.get(spelling(trimmed), UNKNOWN)


def _further_spellings(spelled: Collection[str]) -> list[tuple[str, str]]:
    """Return of categories, as ``spelling`` writes them, those that another type may write otherwise, each with how."""
    if spelled and all(written in TRUTH_VALUES for written in spelled):
        return [(written, TRUTH_VALUES[written]) for written in spelled]
    singles = [(written, _single(written)) for written in spelled if NUMBER.fullmatch(written)]
    return [(written, number_text(float(single))) for written, single in singles if single is not None]


def _single(written: str) -> np.float32 | None:
    """Return the number of float32 that is written so; None where there is none."""
    with np.errstate(over="ignore"):
        single = np.float32(written)
    return single if np.isfinite(single) and number_text(float(str(single))) == written else None
