"""Blank lines of a text with a single column: between other lines they are cells without a value."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

BLOCK = 2**16
ROWS_AT_ONCE = 2**14


def rows_of_lines(source: Path, lines: Iterable[pa.Array], *, named: bool) -> Iterator[pa.Array]:
    """Yield the cells of the rows: without the blank lines at the end of the file, and without the name of the column.

    ``lines``: what stands on each line, "" on a blank one. ``named``: the first line that is not blank holds the name.
    """
    waiting = 0
    for cells in lines:
        filled = pc.indices_nonzero(pc.not_equal(cells, ""))
        if named and len(filled):
            first = filled[0].as_py() + 1
            cells, filled, named = cells[first:], pc.subtract(filled[1:], pa.scalar(first, pa.uint64())), False
        elif named:
            continue
        # whether blank lines are at the end of the file is not known yet
        past = filled[-1].as_py() + 1 if len(filled) else 0
        if past:
            yield from _blank(waiting)
            yield cells[:past]
            waiting = 0
        waiting += len(cells) - past
    # a last line of two quotes holds an empty text, and is not blank
    yield from _blank(waiting - blank_lines_at_end(source))


def blank_lines_at_end(source: Path) -> int:
    """Return how many blank lines a file ends with."""
    breaks, last = 0, b""
    with source.open("rb") as file:
        place = file.seek(0, 2)
        while place > 0:
            begin = max(0, place - BLOCK)
            file.seek(begin)
            block = file.read(place - begin)
            kept = block.rstrip(b"\r\n")
            end = block[len(kept) :]
            # the two characters of one line break may lie in two blocks
            breaks += end.count(b"\n") + end.count(b"\r") - end.count(b"\r\n")
            breaks -= end.endswith(b"\r") and last.startswith(b"\n")
            if kept:
                return max(0, breaks - 1)
            place, last = begin, end
    return breaks


def _blank(count: int) -> Iterator[pa.Array]:
    while count > 0:
        yield pa.array([""] * min(count, ROWS_AT_ONCE), pa.string())
        count -= ROWS_AT_ONCE
