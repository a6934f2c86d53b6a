"""JSON schemas as Markdown: a section a model, a row a field."""

import json
from collections.abc import Mapping
from typing import Any

Schema = Mapping[str, Any]
LIMITS = {"exclusiveMinimum": "> ", "minimum": "≥ ", "exclusiveMaximum": "< ", "maximum": "≤ "}
COUNTS = {"Length": "characters", "Items": "of them", "Properties": "entries"}


def sections(schemas: Mapping[str, Schema], level: str = "##") -> str:
    """Return a section for each schema, in the order of their names."""
    return "\n".join(section(name, schemas[name], level) for name in sorted(schemas))


def section(name: str, schema: Schema, level: str = "##") -> str:
    """Return a heading, what the schema says of itself, and its fields."""
    text = schema.get("description", "").replace("``", "`")
    lines = [f"{level} {name} {{ #{anchor(name)} }}", "", text, ""]
    return "\n".join([*lines, fields(schema), ""])


def fields(schema: Schema) -> str:
    """Return the table of an object's fields."""
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if not properties:
        return f"{kind(schema)}\n"
    rows = [
        f"| `{name}` | {kind(one)} | {_default(name, one, required)} | {cell(one.get('description', ''))} |"
        for name, one in properties.items()
    ]
    return "\n".join(["| field | values | default | meaning |", "|---|---|---|---|", *rows, ""])


def kind(schema: Schema) -> str:
    """Return which values a schema takes, in words, with links to other models."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{anchor(name)})"
    for way in ("anyOf", "oneOf"):
        if way in schema:
            return " or ".join(dict.fromkeys(kind(one) for one in schema[way]))
    if "const" in schema:
        return _literal(schema["const"])
    if "enum" in schema:
        return " or ".join(_literal(one) for one in schema["enum"])
    return _typed(schema)


def anchor(name: str) -> str:
    """Return the anchor of a model's section."""
    return f"model-{name.lower().strip('_')}"


def cell(text: str) -> str:
    """Return a text that stays inside the cell of a table."""
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def _typed(schema: Schema) -> str:
    types = schema.get("type", "anything")
    if isinstance(types, list):
        return " or ".join(types)
    if types == "array":
        inner = schema["prefixItems"] if "prefixItems" in schema else [schema.get("items", {})]
        found = f"list of {', '.join(kind(one) for one in inner)}"
    elif types == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        found = f"object of {kind(schema['additionalProperties'])}"
    else:
        found = {"integer": "whole number", "boolean": "true or false"}.get(types, types)
    bounds = [f"{sign}{schema[name]:g}" for name, sign in LIMITS.items() if name in schema]
    for what, text in COUNTS.items():
        least, most = schema.get(f"min{what}"), schema.get(f"max{what}")
        if least is not None or most is not None:
            bounds.append(f"{least or 0} to {most} {text}" if most is not None else f"at least {least} {text}")
    if "pattern" in schema:
        bounds.append(f"`{schema['pattern']}`")
    if "format" in schema:
        bounds.append(schema["format"])
    return ", ".join([found, *bounds])


def _default(name: str, schema: Schema, required: list[str]) -> str:
    if name in required:
        return "required"
    return _literal(schema["default"]) if "default" in schema else ""


def _literal(value: Any) -> str:
    return f"`{value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)}`"
