"""A table as in its file: names, and batches of columns whose types are not inferred yet."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from worker.contracts.base import DecimalMark
from worker.contracts.errors import UnreadableTable
from worker.contracts.resources import Reading
from worker.tables.files.size_limits import check_columns

MAX_NAME_LENGTH = 1000
NUMBERED = "column_"
"""Prefix of generated column names, before their number."""
INVALID_CHARACTERS = re.compile("[\0\ud800-\udfff]")
"""NUL and halves of surrogate pairs, which stored texts cannot hold."""
NO_HEADER = (
    "where the first row is data, send it with ?header=false, which names the columns column_1, column_2, …; where it "
    "holds the names all the same, with ?header=true"
)


@dataclass(frozen=True)
class RawTable:
    """Column names, and batches of columns.

    ``declared``: columns that the file declares as categories. ``index``: columns of a data frame's index.
    ``guessed_header``: the caller did not say whether the first row holds the names. ``missing``: the caller's words
    for missing values, which the batches no longer hold. ``reading``: how a text was read; ``unnamed``: its columns
    that have no name in the file. ``decimal``: the mark that the caller says.
    """

    names: list[str]
    batches: Callable[[], Iterator[list[pa.Array]]]
    declared: frozenset[str] = frozenset()
    index: frozenset[str] = frozenset()
    guessed_header: bool = False
    missing: tuple[str, ...] | None = None
    decimal: DecimalMark | None = None
    reading: Reading | None = None
    unnamed: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Limits:
    """Limits of a table once it is read."""

    max_bytes: int
    max_cells: int


def check_names(table: RawTable) -> None:
    names = table.names
    hint = f"; {NO_HEADER}" if table.guessed_header else ""
    if not names:
        raise UnreadableTable("the table has no columns")
    check_columns(len(names))
    previous: set[str] = set()
    for index, name in enumerate(names, 1):
        if not name.strip():
            raise UnreadableTable(f"column {index} has no name; the first row of a table names its columns{hint}")
        if len(name) > MAX_NAME_LENGTH or INVALID_CHARACTERS.search(name):
            raise UnreadableTable(
                f"the name of column {index} is longer than {MAX_NAME_LENGTH} characters, or holds NUL or half a "
                "character"
            )
        if name in previous:
            raise UnreadableTable(f"two columns are named {name!r}; names must differ{hint}")
        previous.add(name)


def is_numbered(name: str) -> bool:
    """Return whether a name has the form of a generated column name."""
    return name.removeprefix(NUMBERED).isdecimal() and name.startswith(NUMBERED)
