"""Blank lines of a text with a single column: between other lines they are missing values."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

BLOCK = 2**16
ROWS_AT_ONCE = 2**14


def rows_of_lines(source: Path, lines: Iterable[pa.Array], *, named: bool) -> Iterator[pa.Array]:
    """Yield the cells of the rows, without the blank lines at the end of the file and without the column's name.

    ``lines``: the text of each line, "" for a blank one. ``named``: the first line that is not blank is the name.
    """
    waiting = 0
    for cells in lines:
        filled = pc.indices_nonzero(pc.not_equal(cells, ""))
        if named and len(filled):
            first = filled[0].as_py() + 1
            cells, filled, named = cells[first:], pc.subtract(filled[1:], pa.scalar(first, pa.uint64())), False
        elif named:
            continue
        # later batches show whether these blank lines are at the end of the file
        past = filled[-1].as_py() + 1 if len(filled) else 0
        if past:
            yield from _blank(waiting)
            yield cells[:past]
            waiting = 0
        waiting += len(cells) - past
    # a last line of two quotes is an empty text, not blank
    yield from _blank(waiting - blank_lines_at_end(source))


def blank_lines_at_end(source: Path) -> int:
    """Return the number of blank lines at the end of a file."""
    breaks, last = 0, b""
    with source.open("rb") as file:
        place = file.seek(0, 2)
        while place > 0:
            begin = max(0, place - BLOCK)
            file.seek(begin)
            block = file.read(place - begin)
            content = block.rstrip(b"\r\n")
            end = block[len(content) :]
            # a line break of two characters may span two blocks
            breaks += end.count(b"\n") + end.count(b"\r") - end.count(b"\r\n")
            breaks -= end.endswith(b"\r") and last.startswith(b"\n")
            if content:
                return max(0, breaks - 1)
            place, last = begin, end
    return breaks


def _blank(count: int) -> Iterator[pa.Array]:
    while count > 0:
        yield pa.array([""] * min(count, ROWS_AT_ONCE), pa.string())
        count -= ROWS_AT_ONCE
