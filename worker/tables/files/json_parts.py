"""Read a JSON table part by part. Each part is parsed like the JSON of any other request."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.contracts.json_text import MAX_JSON_DEPTH, MAX_SHOWN_LENGTH, parse_json

ROWS = ("rows", "data")
"""Keys for the list of rows; pandas calls it data, and writes the index of the frame beside it."""
JSON_SHAPE = (
    'a JSON table is {"columns": ["a", "b"], "rows": [[1, 2], [3, 4]]}, {"rows": [{"a": 1, "b": 2}]} or '
    '[{"a": 1, "b": 2}]'
)
BLOCK = 2**20
MAX_PIECE_CHARACTERS = 2**24
"""Bytes of one row, or of one other member of the table."""
MAX_MEMBERS = 100

_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_SPACE = re.compile(rb"[ \t\r\n]*+")
_TEXT = re.compile(_STRING, re.DOTALL)
_WORD = re.compile(rb'[^ \t\r\n,:\[\]{}"]*+')
_NEXT_MARK = re.compile(rb'[^\[\]{}"]*+(?:' + _STRING + rb"|[\[\]{}])", re.DOTALL)
_FLAT_ROW = re.compile(
    rb'[ \t\r\n]*+([\[{][^\[\]{}"]*+(?:' + _STRING + rb'[^\[\]{}"]*+)*+[\]}])[ \t\r\n]*+([,\]])', re.DOTALL
)
"""A row without nesting, as nearly all are, with the mark behind it."""

Row = tuple[bytes, Any]
"""A row as written, and parsed."""


def json_parts(source: Path) -> Iterator[tuple[str, Any]]:
    """Yield ("columns", value) and ("rows", some rows) in the order of the file.

    Raises:
        UnreadableTable: the file is not a JSON table.
        TableTooLarge: a part is too long.
    """
    with source.open("rb") as file:
        pieces = _Pieces(file)
        if pieces.next() == b"[":
            yield from (("rows", rows) for rows in _in_blocks(_rows(pieces)))
            pieces.check_end()
            return
        if pieces.next() != b"{":
            raise UnreadableTable(f"the body is neither an object nor a list; {JSON_SHAPE}")
        pieces.take(b"{")
        keys: set[str] = set()
        more = pieces.next() != b"}"
        while more:
            name = _member(pieces, keys)
            if name in ROWS:
                if pieces.next() != b"[":
                    raise UnreadableTable(f"{name!r} is not a list; {JSON_SHAPE}")
                yield from (("rows", rows) for rows in _in_blocks(_rows(pieces)))
            elif name == "columns":
                yield "columns", _parsed(pieces.value())
            elif pieces.next() == b"[":
                # as long as the table is the index that pandas writes beside it
                for _ in _in_blocks(_rows(pieces)):
                    continue
            else:
                _parsed(pieces.value())
            more = pieces.next() == b","
            if more:
                pieces.take(b",")
        pieces.take(b"}")
        pieces.check_end()


def json_lines(source: Path) -> Iterator[tuple[str, Any]]:
    """Yield ("rows", some rows) of a file of JSON values one after another, each a row.

    Raises:
        UnreadableTable: something is no JSON value.
        TableTooLarge: a value is too long.
    """
    with source.open("rb") as file:
        # the pieces outlive the file, which they would else close with a warning
        pieces = _Pieces(file)
        yield from (("rows", rows) for rows in _in_blocks(_values(pieces)))


def _member(pieces: "_Pieces", keys: set[str]) -> str:
    name = _parsed(pieces.value())
    if not isinstance(name, str):
        raise UnreadableTable(f"the body is not JSON: the key of an object is a text; {JSON_SHAPE}")
    pieces.take(b":")
    other = next((key for key in keys if name == key or (name in ROWS and key in ROWS)), None)
    if other is not None:
        what = "rows" if name in ROWS else "columns" if name == "columns" else None
        subject = f"the key {name[:MAX_SHOWN_LENGTH]!r} is" if what is None else f"the {what} are"
        raise UnreadableTable(f"{subject} there twice{f', as {other!r} and as {name!r}' if what == 'rows' else ''}")
    keys.add(name)
    if len(keys) > MAX_MEMBERS:
        raise UnreadableTable(f"the body has more than {MAX_MEMBERS} keys; {JSON_SHAPE}")
    return name


def _rows(pieces: "_Pieces") -> Iterator[bytes]:
    """Yield the values of a list, as written."""
    pieces.take(b"[")
    if pieces.next() == b"]":
        pieces.take(b"]")
        return
    number, mark = 0, b","
    while mark == b",":
        number += 1
        row, mark = pieces.row(number)
        yield row


def _values(pieces: "_Pieces") -> Iterator[bytes]:
    """Yield values that follow one another to the end, as written."""
    number = 0
    while pieces.next():
        number += 1
        row = pieces.value()
        if not row:
            # a mark that begins no value
            raise UnreadableTable(f"the body is not JSON: row {number} is no object")
        yield row


def _in_blocks(rows: Iterator[bytes]) -> Iterator[list[Row]]:
    """Yield rows parsed, about ``BLOCK`` bytes at a time."""
    first, size = 1, 0
    waiting: list[bytes] = []
    for row in rows:
        waiting.append(row)
        size += len(row)
        if size >= BLOCK:
            yield _parsed_rows(waiting, first)
            first, size, waiting = first + len(waiting), 0, []
    if waiting:
        yield _parsed_rows(waiting, first)


def _parsed_rows(rows: list[bytes], first: int) -> list[Row]:
    try:
        return list(zip(rows, parse_json(b"[" + b",".join(rows) + b"]", long_numbers=True), strict=True))
    except ValueError as error:
        for number, row in enumerate(rows, first):
            _parsed(row, f"row {number}")
        raise UnreadableTable(f"the body is not JSON: {error}") from error


def _parsed(text: bytes, what: str = "the body") -> Any:
    try:
        return parse_json(text, long_numbers=True)
    except ValueError as error:
        raise UnreadableTable(f"{what} is not JSON: {str(error)[:300]}") from error


class _Pieces:
    """Splits a JSON file into values, in linear time and with memory for one value."""

    def __init__(self, file: BinaryIO) -> None:
        encoding = json.detect_encoding(file.read(4))
        file.seek(3 if encoding == "utf-8-sig" else 0)
        self._file = file
        self._decoded = None if encoding.startswith("utf-8") else io.TextIOWrapper(file, encoding, newline="")
        self._buffer = b""
        self._place = 0

    def next(self) -> bytes:
        """Skip white space and return the next byte; b"" at the end."""
        while True:
            self._place = self._space_ends()
            if self._place < len(self._buffer):
                return self._buffer[self._place : self._place + 1]
            if not self._read():
                return b""

    def take(self, mark: bytes) -> None:
        """Consume a mark, which must be next."""
        byte = self.next()
        if byte != mark:
            raise UnreadableTable(
                f"the body is not JSON: {mark.decode()!r} was expected"
                + (f" and {byte.decode(errors='replace')!r} found" if byte else ", but the body ends")
            )
        self._place += 1

    def check_end(self) -> None:
        """Check that nothing follows."""
        if byte := self.next():
            raise UnreadableTable(f"the body is not JSON: {byte.decode(errors='replace')!r} follows its end")

    def row(self, number: int) -> tuple[bytes, bytes]:
        """Return the next value of a list, and the mark after it."""
        if match := _FLAT_ROW.match(self._buffer, self._place):
            self._place = match.end()
            return match[1], match[2]
        value = self.value()
        mark = self.next()
        if mark not in (b",", b"]"):
            raise UnreadableTable(f"the body is not JSON: neither ',' nor ']' is behind row {number}")
        self._place += 1
        return value, mark

    def value(self) -> bytes:
        """Return the next value as written."""
        self.next()
        while (end := self._value_ends()) is None:
            if not self._read():
                raise UnreadableTable("the body is not JSON: it ends inside of a value")
        value = self._buffer[self._place : end]
        self._place = end
        return value

    def _value_ends(self) -> int | None:
        """Return the end of the value that begins here; None if it is not read yet."""
        first = self._buffer[self._place : self._place + 1]
        if first == b'"':
            text = _TEXT.match(self._buffer, self._place)
            return text.end() if text else None
        if first not in (b"[", b"{"):
            word = _WORD.match(self._buffer, self._place)
            end = self._place if word is None else word.end()
            return end if end < len(self._buffer) else None
        place, depth = self._place, 0
        while match := _NEXT_MARK.match(self._buffer, place):
            place = match.end()
            mark = self._buffer[place - 1 : place]
            depth += (mark in (b"[", b"{")) - (mark in (b"]", b"}"))
            if depth > MAX_JSON_DEPTH:
                raise UnreadableTable(f"the body is nested more than {MAX_JSON_DEPTH} levels deep; {JSON_SHAPE}")
            if depth == 0:
                return place
        return None

    def _space_ends(self) -> int:
        space = _SPACE.match(self._buffer, self._place)
        return self._place if space is None else space.end()

    def _read(self) -> bool:
        """Read at least as many bytes as are buffered, so that long values are not scanned too often."""
        rest = self._buffer[self._place :]
        if len(rest) > MAX_PIECE_CHARACTERS:
            raise TableTooLarge(f"the JSON holds a row or another value of more than {MAX_PIECE_CHARACTERS} bytes")
        size = max(BLOCK, len(rest))
        block = self._file.read(size) if self._decoded is None else self._decoded.read(size).encode()
        self._buffer, self._place = rest + block, 0
        return bool(block)
