"""Check before a job whether the cells of a stored table fit the types that its request says."""

from collections.abc import Iterable, Mapping

import pyarrow as pa

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import InvalidRequest, pointer
from worker.contracts.requests import TypeOfColumn
from worker.contracts.resources import Column
from worker.store.files.artifacts import Artifacts
from worker.tables.column_types import fits, model_columns, read_column
from worker.tables.rows.matching import WrongRow
from worker.tables.storage import iter_column, open_table

MAX_CELLS = 2**21
"""A request waits for at most so many cells, which takes about a second; the job checks those of larger tables."""


def check_cells(
    artifacts: Artifacts,
    table: ArtifactRef,
    rows: int,
    stored: Mapping[str, Column],
    names: Iterable[str],
    types: Mapping[str, TypeOfColumn],
) -> None:
    """Check the cells of the named columns whose statistics do not tell that they fit.

    Raises:
        InvalidRequest: a cell does not fit; row, column and value are named.
    """
    doubtful = [name for name in names if not fits(stored[name], types.get(name, "ignore"))]
    if not doubtful or rows * len(doubtful) > MAX_CELLS:
        return
    with artifacts.open_part(table) as source, open_table(source) as file:
        for column in model_columns(stored, doubtful, types):
            first = 0
            for block in iter_column(file, column.name):
                try:
                    read_column(pa.chunked_array([block]), column)
                except WrongRow as error:
                    place = pointer("columns", column.name)
                    raise InvalidRequest.at(place, error.counted_from(first).detail) from error
                first += len(block)
