"""A table in JSON, part by part as it comes."""

from collections.abc import Iterator
from decimal import Decimal
from math import isinf
from pathlib import Path
from typing import IO, Any

import ijson

from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.tables.files.size_limits import LONGEST_TEXT, check_columns
from worker.tables.values import EXACT_INTEGERS, float_tells, whole_digits

ROWS = ("rows", "data")
"""What the list of rows may be called; pandas calls it data, and puts the index of the frame beside it."""
JSON_SHAPE = 'a JSON table is {"columns": ["a", "b"], "rows": [[1, 2], [3, 4]]}'
LONGEST_QUIET = 8 * LONGEST_TEXT


def json_parts(source: Path) -> Iterator[tuple[str, list[Any]]]:
    """Yield ("columns", names) and ("row", cells) as they come. What is nested deeper than a row is refused at once.

    Raises:
        UnreadableTable: this is not JSON, or not a table in JSON.
        TableTooLarge: a row has too many cells, or a text is too long.
    """
    key, depth, rows = "", 0, 0
    rows_key: str | None = None
    named = False
    current: list[Any] = []
    with source.open("rb") as file:
        watched = _Watched(file)
        try:
            for event, value in ijson.basic_parse(watched):
                watched.quiet_bytes = 0
                if event in ("start_map", "start_array"):
                    depth += 1
                    expected = {1: "start_map", 2: "start_array", 3: "start_array"}.get(depth)
                    if (
                        event != expected
                        or (depth == 2 and key not in ("columns", "index", *ROWS))
                        or (depth == 3 and key not in ROWS)
                    ):
                        raise UnreadableTable(f"unexpected nesting after {rows} rows; {JSON_SHAPE}")
                    current = []
                elif event in ("end_map", "end_array"):
                    if depth == 2 and key == "columns":
                        yield "columns", current
                    elif depth == 3:
                        rows += 1
                        yield "row", current
                    depth -= 1
                elif event == "map_key":
                    key = value
                    if depth == 1 and key in ROWS:
                        if rows_key is not None:
                            raise UnreadableTable(f"the rows are there twice, as {rows_key!r} and as {key!r}")
                        rows_key = key
                    elif depth == 1 and key == "columns":
                        if named:
                            raise UnreadableTable("the columns are there twice; a JSON table names them once")
                        named = True
                elif depth == 0 or (depth == 1 and key in ("columns", *ROWS)) or (depth == 2 and key in ROWS):
                    raise UnreadableTable(
                        f"a list was expected and {value!r:.80} found after {rows} rows; {JSON_SHAPE}"
                    )
                elif depth > 1 and key != "index":
                    if isinstance(value, Decimal):
                        if isinf(float(value)):
                            raise UnreadableTable(f"row {rows + 1} holds a number that is too large")
                        value = _number(value)
                    if isinstance(value, str) and len(value) > LONGEST_TEXT:
                        raise TableTooLarge(f"row {rows + 1} holds a text of more than {LONGEST_TEXT} characters")
                    current.append(value)
                    check_columns(len(current))
        except ijson.JSONError as error:
            raise UnreadableTable(f"the body is not JSON: {' '.join(str(error).split())[:300]}") from error


def _number(value: Decimal) -> float | int:
    """Return a float, or an integer where it is a whole number that a float rounds."""
    number = float(value)
    if abs(number) < EXACT_INTEGERS or float_tells(str(value)) or whole_digits(str(value)) is None:
        return number
    return int(value)


class _Watched:
    """A file whose reader must find something in it now and then: the time for one text grows with its square."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.quiet_bytes = 0

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.quiet_bytes += len(block)
        if self.quiet_bytes > LONGEST_QUIET:
            raise TableTooLarge(f"the JSON holds a text of more than {LONGEST_TEXT} characters")
        return block
