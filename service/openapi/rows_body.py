"""The OpenAPI schema of a body with rows."""

from copy import deepcopy
from typing import Any

from service.openapi.document import CELL
from worker.contracts.base import MAX_COLUMNS
from worker.tables.files.raw_table import MAX_NAME_LENGTH
from worker.tables.media import JSON, ROW_TYPES

NAMES: dict[str, Any] = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": MAX_NAME_LENGTH},
    "minItems": 1,
    "maxItems": MAX_COLUMNS,
}
LISTS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "array", "items": CELL, "maxItems": MAX_COLUMNS},
    "minItems": 1,
}
OBJECTS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "object", "additionalProperties": CELL, "maxProperties": MAX_COLUMNS},
    "minItems": 1,
}
TABLE: dict[str, Any] = {
    "anyOf": [
        deepcopy(OBJECTS),
        {
            "type": "object",
            "required": ["rows"],
            "not": {"anyOf": [{"required": ["columns"]}, {"required": ["data"]}]},
            "properties": {"rows": OBJECTS},
        },
        {
            "type": "object",
            "required": ["columns", "rows"],
            "not": {"required": ["data"]},
            "properties": {"columns": NAMES, "rows": LISTS},
        },
        {
            "type": "object",
            "required": ["columns", "data"],
            "not": {"required": ["rows"]},
            "properties": {"columns": NAMES, "data": LISTS},
        },
    ]
}
"""The forms of a table in JSON."""

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": deepcopy(TABLE),
                "examples": {
                    "rows": {"value": {"rows": [{"rooms": 3, "city": "Bern"}]}},
                    "lists": {"value": {"columns": ["rooms", "city"], "rows": [[3, "Bern"], [5, None]]}},
                },
            },
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in ROW_TYPES if kind != JSON},
        },
    }
}
