"""JSON from callers, nested to a depth that is stated."""

import json
from typing import Any

from pydantic_core import from_json

MAX_JSON_DEPTH = 200
"""Lists and objects in one another: as many as the parser takes."""


def parse_json(text: bytes) -> Any:
    """Return the value that a text is, in any of the encodings of Unicode.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    encoding = json.detect_encoding(text)
    if encoding != "utf-8":
        text = text.decode(encoding).encode()
    try:
        return from_json(text)
    except ValueError as error:
        if "recursion limit" in str(error):
            raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} levels deep") from error
        if "hex escape" not in str(error):
            raise
    # half a character: whoever looks at the values can say which text holds it
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} levels deep") from error
