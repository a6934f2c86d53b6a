"""JSON from callers, nested to a depth that is stated, and with each key of an object once."""

import json
from itertools import chain
from typing import Any

from pydantic_core import from_json

MAX_JSON_DEPTH = 200
"""Lists and objects in one another: as many as the parser takes."""
LONGEST_TOLD = 80
BEFORE_COLONS = (b'":', b" :", b"\t:", b"\n:", b"\r:")


def parse_json(text: bytes) -> Any:
    """Return the value that a text is, in any of the encodings of Unicode.

    Raises:
        ValueError: it is no JSON, or nested too deeply, or an object has a key twice.
    """
    encoding = json.detect_encoding(text)
    if encoding != "utf-8":
        text = text.decode(encoding).encode()
    try:
        document = from_json(text)
    except ValueError as error:
        if "recursion limit" in str(error):
            raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} levels deep") from error
        if "hex escape" not in str(error):
            raise
        # half a character: whoever looks at the values can say which text holds it
        try:
            return json.loads(text, object_pairs_hook=_object)
        except RecursionError as nested:
            raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} levels deep") from nested
    if not _all_counted(text, document):
        json.loads(text, object_pairs_hook=_object)
    return document


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
                raise ValueError(f"the key {name[:LONGEST_TOLD]!r} is there twice in one object")
            names.add(name)
    return made
