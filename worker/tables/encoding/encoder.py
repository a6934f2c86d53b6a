"""From typed columns to numbers, with what was learned on training rows only.

numeric, boolean   one column, mean-imputed, standardised; `name:missing` beside it when training rows lacked values
                   expanded: a numeric column of more than two values is followed by `name:rank`, its normal score, and
                   `name:bin1`…, how much of each quantile bin lies below the value (arXiv 2203.05556);
                   the three views share the weight of one column
categorical        one 0/1 column a category, `name=category`, and `name:other` for any value not seen in training, and
                   for rare ones of a column of many;
                   `name:missing` when training rows lacked values, else a missing value counts as other;
                   with statistics, a column of many is followed by `name: target mean`, see ``statistics``
datetime           `name: position` in time, like a number, and the parts in which rows differ as sine and cosine,
                   `name: month sin`, `name: month cos`, then weekday and hour; `name:missing` as of numbers
text               `name: 1 words`, `name: 2 words`, …: its place along directions of hashed n-grams, each called by the
                   words that lie farthest along it, all in one scale; `name:missing` as of numbers
constant           dropped: nothing can be learned from it
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import pyarrow as pa

from worker.contracts.base import MAX_ENCODED_COLUMNS
from worker.contracts.errors import InvalidRequest, TooWide
from worker.contracts.resources import ModelColumn
from worker.tables.encoding import copies
from worker.tables.encoding.categories import UNKNOWN, Categories
from worker.tables.encoding.column_code import VIEWS, ColumnCode, code_of, document_of, learn
from worker.tables.encoding.layout import Layout
from worker.tables.encoding.statistics import MANY, TrainingTargets, learn_statistics, out_of_fold
from worker.tables.encoding.texts import cells_of
from worker.tables.rows.plain import PlainRows, Rows
from worker.tables.values import as_floats

FORMAT_VERSION = 1
TEXTS = "text_"
"""Begins the names of the arrays of a text column, with its place among the codes."""
BINS = 8
WIDTH = 320
"""The views of all numeric columns are at most so many together, as long as every column has two bins."""
MAX_MEANS = 2**20
"""Of mean targets of categories, which are numbers of some 24 bytes in a header that may have 64 MiB."""
BLOCK_ROWS = 4096
"""Rows are encoded in blocks of so many, which bounds the memory of what is computed on the way."""


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
        weights: np.ndarray | None = None,
        targets: TrainingTargets | None = None,
    ) -> Self:
        """Learn from training rows. ``weights`` (n,), above 0: as of ``copies.counts``.

        ``targets``: columns of many categories have statistics of them; ``encode_training`` encodes these rows then.

        Raises:
            InvalidRequest: no column tells the rows apart.
            TooWide: there would be too many statistics.
        """
        bins = bins_among(sum(column.type == "numeric" for column in features)) if expanded else None
        # how rare a category or a word is does not depend on the unit of weights
        weights = None if weights is None else copies.counts(weights)
        codes = {
            column.name: learn(table.column(column.name), column, standardize, bins, weights) for column in features
        }
        varying = tuple(code for code in codes.values() if code is not None)
        if not varying:
            raise InvalidRequest.at("/features", "every feature column is constant or empty in the training rows")
        if targets is not None:
            _check_means(varying, targets)
            varying = tuple(_with_statistics(code, table, targets) for code in varying)
        return cls(varying, tuple(name for name, code in codes.items() if code is None), normalize_rows)

    @property
    def names(self) -> list[str]:
        """The encoded columns, in order."""
        return [name for code in self.codes for name in code.names]

    @property
    def sources(self) -> list[str]:
        """The original column of each encoded one."""
        return [code.name for code in self.codes for _ in code.names]

    @property
    def has_many_categories(self) -> bool:
        """Whether a column has so many categories that it can have statistics."""
        return any(_has_many(code) for code in self.codes)

    def encode(self, rows: Rows) -> np.ndarray:
        """Return float64 (n, len(names)). Columns are found by name; others are ignored."""
        return self.scaled(self._encoded(rows))

    def encode_training(self, rows: Rows, targets: TrainingTargets) -> np.ndarray:
        """Return the rows that were learned from, encoded as ``encode`` does but by targets of other folds."""
        X = self._encoded(rows)
        for code, place in zip(self.codes, self.layout.places, strict=True):
            if code.statistics is not None:
                means = out_of_fold(code.statistics, _places(rows, code), targets)
                X[:, place.stop - means.shape[1] : place.stop] = means
        return self.scaled(X)

    def _encoded(self, rows: Rows) -> np.ndarray:
        X = np.empty((rows.num_rows, self.layout.width))
        for start in range(0, rows.num_rows, BLOCK_ROWS):
            block = rows.slice(start, BLOCK_ROWS)
            categories = [_places(block, code) for code in self.layout.categorical]
            texts = [_texts(block, code) for code in self.layout.texts]
            self.layout.encode(_numbers(block, self.layout.numeric), categories, texts, X[start : start + BLOCK_ROWS])
        return X

    def unknown_categories(self, rows: Rows) -> dict[str, np.ndarray]:
        """Return, of each column that has any, which rows (n,) hold a category that no training row had."""
        unknown = {code.name: _places(rows, code) == UNKNOWN for code in self.layout.categorical}
        return {name: where for name, where in unknown.items() if where.any()}

    def scaled(self, X: np.ndarray) -> np.ndarray:
        """Return encoded rows as the model takes them: divided by their length if it was fitted so. X is lost."""
        if self.normalize_rows:
            X /= lengths(X)
        return np.ascontiguousarray(X)

    @cached_property
    def layout(self) -> Layout:
        """Where the columns of each code are in encoded rows."""
        return Layout(self.codes)

    def to_json(self) -> dict[str, Any]:
        """Return what ``from_json`` makes the same encoder of, beside ``to_arrays``."""
        return {
            "format_version": FORMAT_VERSION,
            "codes": [document_of(code) for code in self.codes],
            "dropped": list(self.dropped),
            "normalize_rows": self.normalize_rows,
        }

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the weights of text columns, by names that no other array of a model's file has."""
        return {
            f"{TEXTS}{place}_{name}": array
            for place, code in enumerate(self.codes)
            if code.text is not None
            for name, array in code.text.to_arrays().items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of ``to_arrays``."""
        return sum(array.nbytes for array in self.to_arrays().values())

    @classmethod
    def from_json(cls, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> Self:
        """Return the encoder that ``to_json`` and ``to_arrays`` took apart. ``arrays`` may hold others too.

        Raises:
            ValueError: the format is of another version.
        """
        if document["format_version"] != FORMAT_VERSION:
            raise ValueError(
                f"the encoder has format version {document['format_version']}; this program reads {FORMAT_VERSION}"
            )
        codes = tuple(
            code_of(code, _with_prefix(arrays or {}, f"{TEXTS}{place}_"))
            for place, code in enumerate(document["codes"])
        )
        return cls(codes, tuple(document["dropped"]), document["normalize_rows"])


def _with_rare(code: ColumnCode) -> tuple[str, ...]:
    """Return all categories that training rows had: rare ones have mean targets of their own."""
    return (*code.categories, *code.rare)


def _has_many(code: ColumnCode) -> bool:
    return code.type == "categorical" and len(_with_rare(code)) > MANY


def _check_means(codes: Sequence[ColumnCode], targets: TrainingTargets) -> None:
    categories = sum(len(_with_rare(code)) for code in codes if _has_many(code))
    if (means := categories * targets.Y.shape[1]) > MAX_MEANS:
        raise TooWide.at(
            "/spec/encoding",
            f"encoding 'statistics' makes {means} mean targets of categories and at most {MAX_MEANS} are allowed; "
            "encoding 'expanded' makes none",
        )


def _with_statistics(code: ColumnCode, table: pa.Table, targets: TrainingTargets) -> ColumnCode:
    if not _has_many(code):
        return code
    categories = _with_rare(code)
    places = Categories(categories, code.missing_words).places(table.column(code.name))
    return replace(code, statistics=learn_statistics(places, len(categories), targets))


def _numbers(rows: Rows, codes: Sequence[ColumnCode]) -> np.ndarray:
    """Return float64 (n, codes), NaN for missing values."""
    if isinstance(rows, PlainRows):
        return rows.numbers[:, [rows.columns.number_places[code.name] for code in codes]]
    numbers = np.empty((rows.num_rows, len(codes)))
    for index, code in enumerate(codes):
        numbers[:, index] = as_floats(rows.column(code.name)).to_numpy()
    return numbers


def _places(rows: Rows, code: ColumnCode) -> np.ndarray:
    """Return the places (n,) that ``Categories`` gives."""
    if isinstance(rows, PlainRows):
        return np.array([code.known.place(text) for text in rows.texts_of(code.name)], int)
    return code.known.places(rows.column(code.name))


def _texts(rows: Rows, code: ColumnCode) -> list[str | None]:
    """Return the cells (n,) of a text column."""
    texts = rows.texts_of(code.name) if isinstance(rows, PlainRows) else rows.column(code.name).to_pylist()
    return cells_of(texts, code.missing_words)


def _with_prefix(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def bins_among(numeric: int) -> int:
    """Return how many bins an expanded column has that is one of so many numeric ones."""
    return min(max(WIDTH // max(numeric, 1) - (VIEWS - 1), 2), BINS)


def check_width(encoder: Encoder) -> None:
    """See that encoded rows have at most ``MAX_ENCODED_COLUMNS`` columns.

    Raises:
        TooWide: saying what would be narrower.
    """
    counts = Counter(encoder.sources)
    plain = sum(len(replace(code, expansion=None, statistics=None).names) for code in encoder.codes)
    if plain <= MAX_ENCODED_COLUMNS < counts.total():
        means = any(code.statistics is not None for code in encoder.codes)
        encoding = "statistics" if means else "expanded"
        raise TooWide.expanded(counts.total(), plain, MAX_ENCODED_COLUMNS, encoding)
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
        norms = np.linalg.norm(X, axis=1, keepdims=True)
    huge = np.isinf(norms[:, 0]) & np.isfinite(X).all(axis=1)
    if huge.any():
        # their squares overflow, and divided by infinity they would all be one row
        largest = np.abs(X[huge]).max(axis=1, keepdims=True)
        norms[huge] = np.linalg.norm(X[huge] / largest, axis=1, keepdims=True) * largest
    return np.where(norms > 0, norms, 1.0)
