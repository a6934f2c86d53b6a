"""From typed columns to numbers, with what was learned on training rows only.

numeric, boolean   one column, mean-imputed, standardised; `name:missing` beside it when training rows lacked values
categorical        one 0/1 column a category, `name=category`, and `name:other` for any value not seen in training;
                   `name:missing` when training rows lacked values, else a missing value counts as other
constant           dropped: nothing can be learned from it
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import ColumnType
from worker.contracts.errors import InvalidRequest
from worker.contracts.resources import ModelColumn

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ColumnCode:
    """How one column is encoded: (value − shift) / scale, a missing value as ``fill``; or ``categories`` as 0/1."""

    name: str
    type: ColumnType
    missing: bool
    fill: float = 0.0
    shift: float = 0.0
    scale: float = 1.0
    categories: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The encoded columns."""
        if self.type == "categorical":
            own = [*(f"{self.name}={value}" for value in self.categories), f"{self.name}:other"]
        else:
            own = [self.name]
        return [*own, f"{self.name}:missing"] if self.missing else own

    def encode(self, column: pa.ChunkedArray) -> np.ndarray:
        """Return float64 (n, number of names)."""
        absent = pc.is_null(column).to_numpy()
        if self.type == "categorical":
            block = np.zeros((len(column), len(self.categories) + 1))
            codes = pc.index_in(column, value_set=pa.array(self.categories, pa.string()))
            place = pc.fill_null(codes, len(self.categories)).to_numpy().astype(np.int64)
            block[np.arange(len(column)), place] = 1.0
            if self.missing:
                block[absent, -1] = 0.0
        else:
            values = pc.fill_null(column.cast(pa.float64()), self.fill).to_numpy()
            block = ((values - self.shift) / self.scale)[:, None]
        return np.hstack([block, absent[:, None].astype(np.float64)]) if self.missing else block


@dataclass(frozen=True)
class Encoder:
    """Fitted on training rows; the same at prediction."""

    codes: tuple[ColumnCode, ...]
    dropped: tuple[str, ...]
    normalize_rows: bool

    @classmethod
    def fit(cls, table: pa.Table, features: Sequence[ModelColumn], *, standardize: bool, normalize_rows: bool) -> Self:
        """Learn from training rows.

        Raises:
            InvalidRequest: no column tells the rows apart.
        """
        codes = {column.name: _learn(table.column(column.name), column, standardize) for column in features}
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
        X = np.hstack([code.encode(table.column(code.name)) for code in self.codes])
        if self.normalize_rows:
            lengths = np.linalg.norm(X, axis=1, keepdims=True)
            X /= np.where(lengths > 0, lengths, 1.0)
        return np.ascontiguousarray(X)

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
        codes = tuple(ColumnCode(**{**code, "categories": tuple(code["categories"])}) for code in document["codes"])
        return cls(codes, tuple(document["dropped"]), document["normalize_rows"])


def _learn(column: pa.ChunkedArray, described: ModelColumn, standardize: bool) -> ColumnCode | None:
    missing = 0 < column.null_count < len(column)
    if described.type == "categorical":
        categories = sorted(value for value in pc.unique(column).to_pylist() if value is not None)
        if len(categories) + missing < 2:
            return None
        return ColumnCode(described.name, described.type, missing, categories=tuple(categories))
    values = column.drop_null().cast(pa.float64()).to_numpy()
    if len(values) == 0 or (values.min() == values.max() and not missing):
        return None
    # a power of two changes no digit, and squares of huge numbers stay finite
    unit = 2.0 ** (int(np.frexp(np.abs(values).max())[1]) - 1)
    mean, deviation = float((values / unit).mean() * unit), float((values / unit).std() * unit)
    scale = deviation if standardize and deviation > 0 else 1.0
    shift = mean if standardize else 0.0
    return ColumnCode(described.name, described.type, missing, fill=mean, shift=shift, scale=scale)
