"""Rows of a stored table that are read, encoded and dropped in batches.

Held for all rows are only their targets and the numbers of those that train: a few numbers a row. Columns of the
encoder are learned one at a time.
"""

from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from worker.contracts.artifacts import TableRef
from worker.contracts.messages import BlocksOrder
from worker.contracts.specs import FitSpec
from worker.engine.blocks.machines import at_most
from worker.engine.targets import Targets
from worker.runs.data import (
    LabeledRows,
    columns_of,
    columns_of_labels,
    labeled_rows,
    labeled_validation_rows,
    matched,
    split_rows,
)
from worker.store.files.artifacts import Artifacts
from worker.tables.column_types import as_written, changed, read_as, read_column
from worker.tables.encoding.encoder import Encoder, check_finite, check_width
from worker.tables.storage import ROW_GROUP, iter_tables, load_table
from worker.tables.written import categories_among, columns_to_read, restore_texts
from worker.training.rows import TrainingRows, fitted_targets

ENCODER_ROWS = 2**22
"""A numeric column is learned from so many training rows, drawn by the seed, where there are more: mean, deviation and
quantiles are then right to about a thousandth of a rank. Categories are those of all training rows."""
ENCODED_BYTES = 64 * 2**20
"""A batch of encoded rows takes about so much at most."""


class StreamedRows:
    """The rows of an order. ``folder``: for a copy of the table, where storage is not local.

    Rows are counted among those that have every target; the others never come. ``targets``: the coding of the training
    rows' targets. ``training``: which rows these are; ``held_out``: those that a fraction holds out, None without.

    Raises:
        InvalidRequest: nothing is left to learn from, or a validation label is unknown.
    """

    def __init__(self, order: BlocksOrder, artifacts: Artifacts, folder: Path) -> None:
        request = order.request
        self._order, self._artifacts, self._folder = order, artifacts, folder
        self._source = artifacts.local_copy(order.table.table, folder)
        stored = order.table.columns
        self._features, self._targets = (
            columns_of(order, names) for names in (request.features or (), request.targets)
        )
        self._categorical = set(categories_among(self._features))
        self._changed = {column.name: column for column in changed(stored, self._features)}
        self._as_written = as_written(stored, self._features)
        as_texts, self._other_targets = as_written(stored, self._targets), changed(stored, self._targets)
        labeled = labeled_rows(
            order, read_as(load_table(self._source, columns_of_labels(order), as_texts), self._other_targets)
        )
        self.classes, self._numbers, self._dropped = labeled.classes, labeled.numbers, labeled.dropped
        self._raw = torch.tensor(labeled.Y)
        self.training, self.held_out = split_rows(order, labeled, None)
        own = self._raw[torch.from_numpy(self.training)]
        self.targets: Targets = fitted_targets(own, self.classes, centred=True)
        self._encoders: dict[str | None, Encoder] = {}

    @property
    def count(self) -> int:
        """How many rows there are."""
        return len(self._raw)

    @property
    def dropped(self) -> tuple[int, int]:
        """How many rows of the dataset, and of the validation dataset, have no target."""
        return self._dropped, 0 if self._order.validation is None else self._labeled_validation.dropped

    @property
    def outputs(self) -> int:
        """Numbers of a row's raw targets."""
        return 1 if self._raw.ndim == 1 else self._raw.shape[1]

    def blocks(self, drawn: Sequence[Tensor]) -> Tensor:
        """Return which block each row trains, (rows,) int16, −1 for none.

        ``drawn``: of each block, which of the training rows are its own.
        """
        own = torch.full((len(self._raw),), -1, dtype=torch.int16)
        for number, rows in enumerate(drawn):
            own[torch.from_numpy(self.training)[rows]] = number
        return own

    def encoder(self, spec: FitSpec) -> Encoder:
        """Return the encoder of the training rows for a spec.

        Raises:
            InvalidRequest: every column is constant.
            TooWide: there would be too many encoded columns.
        """
        if spec.encoding not in self._encoders:
            self._encoders[spec.encoding] = Encoder.fit(
                self,
                self._features,
                standardize=spec.standardize,
                normalize_rows=spec.normalize_rows,
                expanded=spec.encoding == "expanded",
            )
        encoder = self._encoders[spec.encoding]
        check_width(encoder)
        return encoder

    def use(self, spec: FitSpec, encoder: Encoder) -> None:
        """Take the encoder of a spec as it was fitted before."""
        self._encoders[spec.encoding] = encoder

    def column(self, name: str) -> pa.ChunkedArray:
        """Return the training rows of a column, as ``Encoder.fit`` asks for them of a table."""
        as_texts = [name] if name in self._as_written else []
        names = columns_to_read(self._file.schema_arrow.names, [name], as_texts)
        column = restore_texts(self._file.read(columns=names)).column(0)
        if name in self._changed:
            column = read_column(column, self._changed[name])
        rows = self._numbers[self.training if name in self._categorical else self._drawn]
        return column if len(rows) == len(column) else column.take(pa.array(rows))

    @cached_property
    def _file(self) -> pq.ParquetFile:
        # opened once for all columns: that reads what is said of all of them
        return pq.ParquetFile(self._source, memory_map=True)

    @cached_property
    def _drawn(self) -> np.ndarray:
        return at_most(torch.from_numpy(self.training), ENCODER_ROWS, self._order.request.spec.seed).numpy()

    def sample(self, spec: FitSpec, training: int, validating: int) -> TrainingRows:
        """Return at most so many training rows and so many to validate on, drawn by the spec's seed, as encoded.

        The encoder and the coding of targets are those of all training rows.

        Raises:
            InvalidRequest: as of ``encoder``, or a column holds numbers that are too large.
        """
        encoder = self.encoder(spec)
        chosen = at_most(torch.from_numpy(self.training), training, spec.seed)
        X = encoder.encode(self._own(self._numbers[chosen]))
        check_finite(encoder, X)
        validation = self.validation(spec, validating)
        return TrainingRows(
            torch.from_numpy(X), self._raw[chosen], self.targets, self.classes, encoder, validation, None
        )

    def validation(self, spec: FitSpec, most: int) -> tuple[Tensor, Tensor] | None:
        """Return at most so many encoded rows to validate on and their raw targets, None where there are none."""
        encoder, order = self.encoder(spec), self._order
        if self.held_out is not None:
            chosen = at_most(torch.from_numpy(self.held_out), most, spec.seed)
            return torch.from_numpy(encoder.encode(self._own(self._numbers[chosen]))), self._raw[chosen]
        if order.validation is None:
            return None
        judging = self._labeled_validation
        chosen = at_most(torch.arange(len(judging.Y)), most, spec.seed)
        numbers = judging.numbers[chosen]
        table = matched(
            self._gathered(order.validation, numbers, categories_among(self._features)), self._features, numbers
        )
        return torch.from_numpy(encoder.encode(table)), torch.tensor(judging.Y[chosen])

    @cached_property
    def _labeled_validation(self) -> LabeledRows:
        """The rows of the validation dataset that have every target."""
        order = self._order
        assert order.validation is not None  # noqa: S101 - as the callers see to
        source = self._artifacts.local_copy(order.validation.table, self._folder)
        table = load_table(source, list(order.request.targets), categories_among(self._targets))
        return labeled_validation_rows(order, read_as(table, self._other_targets), self.classes)

    def encoded(self, encoder: Encoder) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Yield which rows come, these rows encoded, (k, d) float64, and which of them are held out.

        All rows come once, in order.

        Raises:
            InvalidRequest: a column holds numbers that are too large, in a row that trains.
        """
        most = max(ENCODED_BYTES // (8 * len(encoder.names)), 1)
        held_out = torch.zeros(len(self._raw), dtype=torch.bool)
        if self.held_out is not None:
            held_out[torch.from_numpy(self.held_out)] = True
        start = 0
        names = [column.name for column in self._features]
        for table in iter_tables(self._source, names, min(most, ROW_GROUP), self._as_written, numbers=self._numbers):
            X = encoder.encode(read_as(table, [*self._changed.values()]))
            where = slice(start, start + len(X))
            check_finite(encoder, X[~held_out[where].numpy()])
            yield where, torch.from_numpy(X), held_out[where]
            start = where.stop

    def raw(self, rows: slice) -> Tensor:
        """Return the raw targets of some rows as float64, (k, outputs)."""
        return self._raw[rows].double().reshape(-1, self.outputs)

    def numbers(self, rows: slice) -> Tensor:
        """Return the numbers of some rows in the dataset, (k,) int64."""
        return torch.from_numpy(self._numbers[rows])

    def targets_of(self, raw: Tensor) -> Tensor:
        """Return raw targets (k, outputs) float64 as the coding takes them: codes are (k,) int64."""
        return raw if self.classes is None else raw.squeeze(1).long()

    def _own(self, numbers: np.ndarray) -> pa.Table:
        """Return the features of rows of the dataset by their ascending numbers."""
        return read_as(self._gathered(self._order.table, numbers, self._as_written), [*self._changed.values()])

    def _gathered(self, ref: TableRef, numbers: np.ndarray, as_texts: Collection[str] = ()) -> pa.Table:
        """Return the features of rows by their ascending numbers in a table. Memory holds one batch beside them."""
        source = self._source if ref == self._order.table else self._artifacts.local_copy(ref.table, self._folder)
        names = [column.name for column in self._features]
        return pa.concat_tables(iter_tables(source, names, ROW_GROUP, as_texts, numbers=numbers))
