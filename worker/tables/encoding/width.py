"""How many encoded columns the columns of a dataset have, by their statistics only."""

from collections.abc import Sequence

from worker.contracts.resources import Column
from worker.tables.encoding.calendar import PARTS
from worker.tables.encoding.column_code import MANY, MOST
from worker.tables.encoding.encoder import bins_among
from worker.tables.encoding.texts import COMPONENTS


def encoded_width(columns: Sequence[Column], expanded: bool = False) -> int:
    """Return the maximal number of encoded columns; ``expanded`` numeric columns have additional views.

    Mean targets of categories come on top, one for each output or class.
    """
    return sum(widths(columns, expanded).values())


def widths(columns: Sequence[Column], expanded: bool) -> dict[str, int]:
    """Return the maximal number of encoded columns of each column, by its name."""
    bins = bins_among(sum(column.type == "numeric" for column in columns)) if expanded else 0
    return {column.name: _width(column, bins) for column in columns}


def _width(column: Column, bins: int) -> int:
    width = 1
    if column.type == "categorical":
        width += column.distinct if column.distinct <= MANY else min(column.distinct, MOST)
    if column.type == "text":
        width = COMPONENTS
    if column.type == "datetime":
        width += 2 * len(PARTS)
    if bins and column.type == "numeric" and column.distinct > 2:
        width += 1 + bins
    return width + (1 if column.missing else 0)
