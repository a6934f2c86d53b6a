"""From typed columns to numbers, with what was learned on training rows only.

numeric, boolean   one column, mean-imputed, standardised; `name:missing` beside it when training rows lacked values
                   expanded: a numeric column of more than two values is followed by `name:rank`, its normal score, and
                   `name:bin1`…, how much of each quantile bin lies below the value (arXiv 2203.05556);
                   the three views share the weight of one column
categorical        one 0/1 column a category, `name=category`, and `name:other` for any value not seen in training;
                   `name:missing` when training rows lacked values, else a missing value counts as other
constant           dropped: nothing can be learned from it
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa

from worker.contracts.base import MAX_ENCODED_COLUMNS
from worker.contracts.errors import InvalidRequest, TooWide
from worker.contracts.resources import ModelColumn
from worker.tables.encoding.column_code import VIEWS, ColumnCode, code_of, learn

FORMAT_VERSION = 1
BINS = 8
WIDTH = 320
"""The views of all numeric columns are at most so many together, as long as every column has two bins."""


@dataclass(frozen=True)
class Encoder:
    """Fitted on training rows; the same at prediction."""

    codes: tuple[ColumnCode, ...]
    dropped: tuple[str, ...]
    normalize_rows: bool

    @classmethod
    def fit(
        cls,
        table: pa.Table,
        features: Sequence[ModelColumn],
        *,
        standardize: bool,
        normalize_rows: bool,
        expanded: bool = False,
    ) -> Self:
        """Learn from training rows.

        Raises:
            InvalidRequest: no column tells the rows apart.
        """
        bins = bins_among(sum(column.type == "numeric" for column in features)) if expanded else None
        codes = {column.name: learn(table.column(column.name), column, standardize, bins) for column in features}
        kept = tuple(code for code in codes.values() if code is not None)
        if not kept:
            raise InvalidRequest.at("/features", "every feature column is constant or empty in the training rows")
        return cls(kept, tuple(name for name, code in codes.items() if code is None), normalize_rows)

    @property
    def names(self) -> list[str]:
        """The encoded columns, in order."""
        return [name for code in self.codes for name in code.names]

    @property
    def sources(self) -> list[str]:
        """The original column of each encoded one."""
        return [code.name for code in self.codes for _ in code.names]

    def encode(self, table: pa.Table) -> np.ndarray:
        """Return float64 (n, len(names)). Columns are found by name; others are ignored."""
        places, shifts, scales = self._layout
        X = np.empty((len(table), len(shifts)))
        for code, place in zip(self.codes, places, strict=True):
            column = table.column(code.name)
            if code.plain:
                X[:, place.start] = code.numbers(column)
            else:
                X[:, place] = code.encode(column)
        # plain columns all at once: a step for each takes longer than the work of a few rows
        with np.errstate(over="ignore"):
            X -= shifts
            X /= scales
        return self.scaled(X)

    def unknown_categories(self, table: pa.Table) -> dict[str, np.ndarray]:
        """Return, of each column that has any, which rows (n,) hold a category that no training row had."""
        found = {
            code.name: code.unknown_categories(table.column(code.name))
            for code in self.codes
            if code.type == "categorical"
        }
        return {name: rows for name, rows in found.items() if rows.any()}

    def joined(self, blocks: Sequence[np.ndarray]) -> np.ndarray:
        """Return the encoded rows (n, len(names)) whose columns ``codes`` made, a block (n, …) each."""
        return self.scaled(np.hstack(blocks))

    def scaled(self, X: np.ndarray) -> np.ndarray:
        """Return encoded rows as the model takes them: divided by their length if it was fitted so. X is lost."""
        if self.normalize_rows:
            X /= lengths(X)
        return np.ascontiguousarray(X)

    @cached_property
    def _layout(self) -> tuple[list[slice], np.ndarray, np.ndarray]:
        """The encoded columns of each code; what of them is still to be subtracted, and what to divide by."""
        places: list[slice] = []
        shifts: list[float] = []
        scales: list[float] = []
        for code in self.codes:
            width = len(code.names)
            places.append(slice(len(shifts), len(shifts) + width))
            shifts += [code.shift if code.plain else 0.0] * width
            scales += [code.scale if code.plain else 1.0] * width
        return places, np.array(shifts), np.array(scales)

    def to_json(self) -> dict[str, Any]:
        """Return what ``from_json`` makes the same encoder of."""
        return {
            "format_version": FORMAT_VERSION,
            "codes": [asdict(code) for code in self.codes],
            "dropped": list(self.dropped),
            "normalize_rows": self.normalize_rows,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Return the encoder that ``to_json`` wrote down.

        Raises:
            ValueError: the format is of another version.
        """
        if document["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"the encoder has format version {document['format_version']}; this program reads {FORMAT_VERSION}"
            )
        codes = tuple(code_of(code) for code in document["codes"])
        return cls(codes, tuple(document["dropped"]), document["normalize_rows"])


def bins_among(numeric: int) -> int:
    """Return how many bins an expanded column has that is one of so many numeric ones."""
    return min(max(WIDTH // max(numeric, 1) - (VIEWS - 1), 2), BINS)


def check_width(encoder: Encoder) -> None:
    """See that encoded rows have at most ``MAX_ENCODED_COLUMNS`` columns.

    Raises:
        TooWide: saying what would be narrower.
    """
    counts = Counter(encoder.sources)
    plain = sum(len(replace(code, expansion=None).names) for code in encoder.codes)
    if plain <= MAX_ENCODED_COLUMNS < counts.total():
        raise TooWide.expanded(counts.total(), plain, MAX_ENCODED_COLUMNS)
    if counts.total() > MAX_ENCODED_COLUMNS:
        raise TooWide.of(counts, MAX_ENCODED_COLUMNS)


def check_finite(encoder: Encoder, X: np.ndarray) -> None:
    """See that encoded training rows are numbers.

    Raises:
        InvalidRequest: naming the first column that is beyond them.
    """
    wrong = np.flatnonzero(~np.isfinite(X).all(axis=0))
    if len(wrong):
        name = encoder.sources[wrong[0]]
        raise InvalidRequest(
            f"column {name!r} holds numbers whose spread is beyond all numbers; give them in a larger unit"
        )


def lengths(X: np.ndarray) -> np.ndarray:
    """Return what rows are divided by to have length 1, (n, 1); 1 for rows of zeros."""
    with np.errstate(over="ignore"):
        found = np.linalg.norm(X, axis=1, keepdims=True)
    huge = np.isinf(found[:, 0]) & np.isfinite(X).all(axis=1)
    if huge.any():
        # their squares overflow, and divided by infinity they would all be one row
        largest = np.abs(X[huge]).max(axis=1, keepdims=True)
        found[huge] = np.linalg.norm(X[huge] / largest, axis=1, keepdims=True) * largest
    return np.where(found > 0, found, 1.0)
