"""Check before a job whether the weights that its request says are some: of rows, and of classes."""

from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from service.jobs.cell_checks import MAX_CELLS
from worker.contracts.artifacts import ArtifactRef
from worker.contracts.base import Label
from worker.contracts.errors import InvalidRequest
from worker.contracts.requests import TypeOfColumn
from worker.contracts.resources import Column, ModelColumn
from worker.store.files.artifacts import Artifacts
from worker.tables.column_types import as_written, changed, model_columns, read_as
from worker.tables.encoding.targets import class_codes, rows_with_targets
from worker.tables.encoding.weights import check_statistics, read_weights
from worker.tables.storage import ROW_GROUP, iter_column, iter_tables, open_table


def check_weights(
    artifacts: Artifacts, table: ArtifactRef, rows: int, column: Column, read: ModelColumn, dropped: int
) -> None:
    """Check the weights of a dataset's rows by their column's statistics, and name the first row with a wrong one.

    The job checks texts that are read as numbers. ``read``: the column as the request reads it; ``dropped``: rows
    without a target, which need no weight.

    Raises:
        InvalidRequest: see ``check_statistics``.
    """
    try:
        check_statistics(column, dropped)
    except InvalidRequest:
        if rows <= MAX_CELLS and column.min is not None:
            _check_cells(artifacts, table, read)
        raise


def _check_cells(artifacts: Artifacts, table: ArtifactRef, column: ModelColumn) -> None:
    first = 0
    with artifacts.open_part(table) as source, open_table(source) as file:
        for block in iter_column(file, column.name):
            there = np.flatnonzero(~block.is_null(nan_is_null=True).to_numpy(zero_copy_only=False))
            read_weights(pa.chunked_array([block]), column, there, first=first)
            first += len(block)


def labels_of(
    artifacts: Artifacts,
    table: ArtifactRef,
    rows: int,
    stored: Mapping[str, Column],
    target: str,
    types: Mapping[str, TypeOfColumn],
) -> list[Label] | None:
    """Return the sorted classes of a target, None if there are too many rows to look: the job does."""
    if rows > MAX_CELLS:
        return None
    [column] = model_columns(stored, [target], types)
    with artifacts.open_part(table) as source:
        texts = as_written(stored.values(), [column])
        read = pa.concat_tables(_cells(iter_tables(source, [target], ROW_GROUP, texts), stored, column))
    there = rows_with_targets(read, [target], None, column.missing_words)
    return class_codes(read, target, None, there, column.missing_words)[1]


def _cells(tables: Iterable[pa.Table], stored: Mapping[str, Column], column: ModelColumn) -> list[pa.Table]:
    return [read_as(table, changed(stored.values(), [column])) for table in tables]
