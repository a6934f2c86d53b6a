"""Names for the columns of a text: as in its first row, where these are names and differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from worker.tables.files.raw_table import NUMBERED


@dataclass(frozen=True)
class NamedColumns:
    """``renamed``: name → what the file has in its place. ``unnamed``: those that have no name there."""

    names: list[str]
    renamed: dict[str, str]
    unnamed: frozenset[str]


def named_columns(cells: Sequence[str]) -> NamedColumns:
    """Return names for columns: the cells, numbers for blank ones, and cells with numbers for repeated ones."""
    taken = {cell for cell in cells if cell.strip()}
    names: list[str] = []
    renamed: dict[str, str] = {}
    unnamed = set()
    seen: dict[str, int] = {}
    for number, cell in enumerate(cells, 1):
        count = seen[cell] = seen.get(cell, 0) + 1
        if cell.strip() and count == 1:
            names.append(cell)
            continue
        name = f"{cell}_{count}" if cell.strip() else f"{NUMBERED}{number}"
        while name in taken:
            seen[cell] += 1
            name = f"{cell}_{seen[cell]}" if cell.strip() else f"{name}_"
        taken.add(name)
        names.append(name)
        renamed[name] = cell
        if not cell.strip():
            unnamed.add(name)
    return NamedColumns(names, renamed, frozenset(unnamed))
