"""Parse JSON from callers: nesting is bounded, and a key occurs once in an object."""

import json
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from pydantic_core import from_json

MAX_JSON_DEPTH = 200
"""Nesting of lists and objects that the parser accepts."""
MAX_DIGITS = 4300
"""Of an integer: as many as the parser accepts."""
MAX_SHOWN_LENGTH = 80
MAX_SHOWN_DIGITS = 40
BEFORE_COLONS = (b'":', b" :", b"\t:", b"\n:", b"\r:")


@dataclass(frozen=True)
class LongNumber:
    """An integer of more than ``MAX_DIGITS`` digits, as it was written."""

    text: str

    def __str__(self) -> str:
        digits = len(self.text.lstrip("-"))
        return f"the number {shorten_number(self.text)} has {digits} digits; a whole number has at most {MAX_DIGITS}"


def shorten_number(text: str) -> str:
    """Return a number as it was written; a long one with its first and last digits only."""
    return text if len(text) <= MAX_SHOWN_DIGITS else f"{text[: MAX_SHOWN_DIGITS // 2]}…{text[-4:]}"


def parse_json(text: bytes, *, long_numbers: bool = False) -> Any:
    """Parse JSON in any Unicode encoding.

    ``long_numbers``: return integers of too many digits as ``LongNumber``, so that the caller can name their place.

    Raises:
        ValueError: it is not JSON, it is nested too deeply, an object has a key twice, or an integer is too long.
    """
    encoding = json.detect_encoding(text)
    if encoding != "utf-8":
        text = text.decode(encoding).encode()
    try:
        document = from_json(text)
    except ValueError as error:
        if "recursion limit" in str(error):
            raise ValueError(_TOO_DEEP) from error
        if "hex escape" not in str(error) and "number out of range" not in str(error):
            raise
        # a lone surrogate, or a long number: the caller checks the values and names it
        return _checked(text, long_numbers=long_numbers)
    if not _all_counted(text, document):
        _checked(text, long_numbers=long_numbers)
    return document


def numbers_as_written(text: bytes) -> Any:
    """Parse JSON with every number as the text it was written as."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


_TOO_DEEP = f"it is nested more than {MAX_JSON_DEPTH} levels deep"


def _checked(text: bytes, *, long_numbers: bool) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=partial(_parse_int, long_numbers=long_numbers))
    except RecursionError as nested:
        raise ValueError(_TOO_DEEP) from nested


def _parse_int(text: str, *, long_numbers: bool) -> int | LongNumber:
    if len(text.lstrip("-")) <= MAX_DIGITS:
        return int(text)
    number = LongNumber(text)
    if not long_numbers:
        raise ValueError(str(number))
    return number


def _all_counted(text: bytes, document: Any) -> bool:
    """Return whether a document has as many keys as its text; False means that a key may occur twice.

    The parser silently keeps the last of equal keys. Counting is much cheaper than parsing.
    """
    keys = _keys(document, text.count(b"{"))
    # texts may hold colons; the colon after a key follows a quote or white space
    return keys == text.count(b":") or keys == sum(map(text.count, BEFORE_COLONS))


def _keys(document: Any, objects: int) -> int:
    """Return the number of keys in a document with ``objects`` objects; the search ends when all are found."""
    keys, level = 0, [document]
    while level and objects > 0:
        mappings = [value for value in level if type(value) is dict]
        keys += sum(map(len, mappings))
        objects -= len(mappings)
        if objects > 0:
            lists = [value for value in level if type(value) is list]
            level = [*chain.from_iterable(map(dict.values, mappings)), *chain.from_iterable(lists)]
    return keys


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = set()
        for name, _ in pairs:
            if name in names:
                raise ValueError(f"the key {name[:MAX_SHOWN_LENGTH]!r} is there twice in one object")
            names.add(name)
    return made
