"""Tables whose cells are separated by runs of blanks, which no reader of CSV takes."""

import re
import tempfile
from pathlib import Path

from worker.contracts.errors import UnreadableTable

NUMBER = re.compile(r"[+-]?[0-9.,]*[0-9]$")
LONGEST_LINE = 2**24
FEWEST_ROWS = 3
"""The names and two rows."""


def is_number(cell: str) -> bool:
    """Return whether a cell seems to be a number."""
    return NUMBER.match(cell) is not None


def has_columns_of_blanks(text: str) -> bool:
    """Return whether a text is such a table: rows of as many cells, with numbers in a column, and without quotes."""
    rows = [line.split() for line in text.splitlines() if line.strip()]
    if len(rows) < FEWEST_ROWS or len(rows[0]) == 1 or len({len(row) for row in rows}) > 1 or '"' in text:
        return False
    return any(all(map(is_number, cells)) for cells in zip(*rows[1:], strict=True))


def with_tabs(source: Path) -> tuple[Path, object]:
    """Return a copy of such a UTF-8 text with a tab between two cells, and what keeps it until it is released.

    Raises:
        UnreadableTable: a line is too long.
    """
    copy = tempfile.NamedTemporaryFile(dir=source.parent, prefix="tabs-")  # noqa: SIM115 - whoever reads it keeps it
    with source.open(encoding="utf-8", errors="surrogateescape") as file:
        while line := file.readline(LONGEST_LINE):
            if len(line) == LONGEST_LINE:
                raise UnreadableTable(f"a line of the text is longer than {LONGEST_LINE // 2**20} MiB")
            copy.write("\t".join(line.split()).encode("utf-8", "surrogateescape") + b"\n")
    copy.flush()
    return Path(copy.name), copy
