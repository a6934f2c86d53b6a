"""The body of a request for answers to rows, as the OpenAPI document has it."""

from typing import Any

from service.openapi.document import CELL
from worker.contracts.base import MOST_COLUMNS
from worker.tables.files.readers import LONGEST_NAME
from worker.tables.media import JSON, ROW_TYPES

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "anyOf": [
                        {
                            "type": "object",
                            "required": ["rows"],
                            "not": {"anyOf": [{"required": ["columns"]}, {"required": ["data"]}]},
                            "properties": {
                                "rows": {
                                    "type": "array",
                                    "items": {
                                        "type": "object",
                                        "additionalProperties": CELL,
                                        "maxProperties": MOST_COLUMNS,
                                    },
                                    "minItems": 1,
                                }
                            },
                        },
                        {
                            "type": "object",
                            "required": ["columns", "data"],
                            "not": {"required": ["rows"]},
                            "properties": {
                                "columns": {
                                    "type": "array",
                                    "items": {"type": "string", "maxLength": LONGEST_NAME},
                                    "maxItems": MOST_COLUMNS,
                                },
                                "data": {
                                    "type": "array",
                                    "items": {"type": "array", "items": CELL, "maxItems": MOST_COLUMNS},
                                    "minItems": 1,
                                },
                            },
                        },
                    ]
                },
                "examples": {
                    "rows": {"value": {"rows": [{"rooms": 3, "city": "Bern"}]}},
                    "matrix": {"value": {"columns": ["rooms", "city"], "data": [[3, "Bern"], [5, None]]}},
                },
            },
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in ROW_TYPES if kind != JSON},
        },
    }
}
