"""JSON from callers, nested to a depth that is stated, and with each key of an object once."""

import json
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

from pydantic_core import from_json

MAX_JSON_DEPTH = 200
"""Lists and objects in one another: as many as the parser takes."""
MAX_DIGITS = 4300
"""Of a whole number: as many as the parser takes."""
MAX_SHOWN_LENGTH = 80
TOLD_NUMBER = 40
BEFORE_COLONS = (b'":', b" :", b"\t:", b"\n:", b"\r:")


@dataclass(frozen=True)
class LongNumber:
    """A whole number of more than ``MAX_DIGITS`` digits, as it was written."""

    text: str

    def __str__(self) -> str:
        digits = len(self.text.lstrip("-"))
        return f"the number {told_number(self.text)} has {digits} digits; a whole number has at most {MAX_DIGITS}"


def told_number(text: str) -> str:
    """Return a number as it was written; of a long one its first and last digits."""
    return text if len(text) <= TOLD_NUMBER else f"{text[: TOLD_NUMBER // 2]}…{text[-4:]}"


def parse_json(text: bytes, *, long_numbers: bool = False) -> Any:
    """Return the value that a text is, in any of the encodings of Unicode.

    ``long_numbers``: give a number of too many digits as ``LongNumber``, for whoever can say where it stands.

    Raises:
        ValueError: it is no JSON, or nested too deeply, or an object has a key twice, or a whole number is too long.
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
        # half a character, or a long number: whoever looks at the values can say which one it is
        return _checked(text, long_numbers=long_numbers)
    if not _all_counted(text, document):
        _checked(text, long_numbers=long_numbers)
    return document


def numbers_as_written(text: bytes) -> Any:
    """Return the value that a text is, each number as the text that it was written as."""
    return json.loads(text, parse_int=str, parse_float=str, parse_constant=str)


_TOO_DEEP = f"it is nested more than {MAX_JSON_DEPTH} levels deep"


def _checked(text: bytes, *, long_numbers: bool) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_object, parse_int=partial(_whole, long_numbers=long_numbers))
    except RecursionError as nested:
        raise ValueError(_TOO_DEEP) from nested


def _whole(text: str, *, long_numbers: bool) -> int | LongNumber:
    if len(text.lstrip("-")) <= MAX_DIGITS:
        return int(text)
    found = LongNumber(text)
    if not long_numbers:
        raise ValueError(str(found))
    return found


def _all_counted(text: bytes, document: Any) -> bool:
    """Return whether a document has as many keys as its text can have; False says that one may be there twice.

    The parser keeps the last of equal keys and does not tell. Counting costs little of what parsing does.
    """
    keys = _keys(document, text.count(b"{"))
    # a text may hold colons; before that of a key stands a quote, or white space
    return keys == text.count(b":") or keys == sum(map(text.count, BEFORE_COLONS))


def _keys(document: Any, objects: int) -> int:
    """Return how many keys there are in a document of at most so many objects, which are not searched for further."""
    keys, level = 0, [document]
    while level and objects > 0:
        found = [value for value in level if type(value) is dict]
        keys += sum(map(len, found))
        objects -= len(found)
        if objects > 0:
            lists = [value for value in level if type(value) is list]
            level = [*chain.from_iterable(map(dict.values, found)), *chain.from_iterable(lists)]
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
