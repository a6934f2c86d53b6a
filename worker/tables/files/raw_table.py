"""A table as a file has it: names, and batches of columns whose types only all of them tell."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from worker.contracts.errors import UnreadableTable
from worker.tables.files.size_limits import check_columns

MAX_NAME_LENGTH = 1000
NUMBERED = "column_"
"""How names of columns begin that have none, before their number."""
NO_TEXT = re.compile("[\0\ud800-\udfff]")
"""NUL and halves of surrogate pairs: no text that is stored holds them."""
NO_HEADER = (
    "where the first row is data, send it with ?header=false, which names the columns column_1, column_2, …; where it "
    "holds the names all the same, with ?header=true"
)


@dataclass(frozen=True)
class RawTable:
    """Column names, and batches of columns without a name of their own.

    ``declared``: columns that the file declares to be categories. ``index``: those that are a data frame's index.
    ``guessed_header``: the first row was taken for names without anybody having said that it is. ``missing``: the words
    for a missing value that a caller named, of which no batch holds one any more.
    """

    names: list[str]
    batches: Callable[[], Iterator[list[pa.Array]]]
    declared: frozenset[str] = frozenset()
    index: frozenset[str] = frozenset()
    guessed_header: bool = False
    missing: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Limits:
    """What a table may take at most, once it is read."""

    max_bytes: int
    max_cells: int


def check_names(table: RawTable) -> None:
    names = table.names
    hint = f"; {NO_HEADER}" if table.guessed_header else ""
    if not names:
        raise UnreadableTable("the table has no columns")
    check_columns(len(names))
    seen: set[str] = set()
    for index, name in enumerate(names, 1):
        if not name.strip():
            raise UnreadableTable(f"column {index} has no name; the first row of a table names its columns{hint}")
        if len(name) > MAX_NAME_LENGTH or NO_TEXT.search(name):
            raise UnreadableTable(
                f"the name of column {index} is longer than {MAX_NAME_LENGTH} characters, or holds NUL or half a "
                "character"
            )
        if name in seen:
            raise UnreadableTable(f"two columns are named {name!r}; names must differ{hint}")
        seen.add(name)


def is_numbered(name: str) -> bool:
    """Return whether a name is one of those that columns of a text without a header get."""
    return name.removeprefix(NUMBERED).isdecimal() and name.startswith(NUMBERED)
