"""Metadata of columnar files about their columns: declared categories, and the index of a data frame."""

import base64
import json
from typing import Any

import pyarrow as pa
import pyarrow.ipc

from worker.contracts.errors import UnreadableTable
from worker.tables.values import ALLOWED_CELLS, decoded_type, is_text, type_of

EXTENSION = b"ARROW:extension:name"


def declared_categories(schema: pa.Schema, written: bytes | None) -> frozenset[str]:
    """Return the columns that the writer declared as categories: dictionaries of Arrow, categories of pandas.

    ``written``: the Arrow schema in a Parquet file, in base64; Parquet itself has no dictionaries of numbers.
    """
    declared = {field.name for field in [*schema, *_kept_schema(written)] if pa.types.is_dictionary(field.type)}
    columns = _pandas(schema).get("columns")
    for column in columns if isinstance(columns, list) else []:
        if isinstance(column, dict) and column.get("pandas_type") == "categorical":
            declared.add(str(column.get("field_name") or column.get("name")))
    return frozenset(declared.intersection(schema.names))


def check_types(schema: pa.Schema, written: bytes | None) -> None:
    """Check that tables support the types of all columns as their writer declared them.

    An extension type unknown to Arrow appears as its storage type: months of pandas as integers. In Parquet a
    dictionary of durations is a column of numbers. ``written``: see ``declared_categories``.

    Raises:
        UnreadableTable: naming a column of another type.
    """
    for field in [*schema, *_kept_schema(written)]:
        type_of(field.name, field.type)
        named = (field.metadata or {}).get(EXTENSION)
        if named is not None and not is_text(decoded_type(field.type)):
            raise UnreadableTable(f"column {field.name!r} holds {named.decode(errors='replace'):.80}; {ALLOWED_CELLS}")


def index_columns(schema: pa.Schema) -> frozenset[str]:
    """Return the columns that were the index of the pandas data frame."""
    names = _pandas(schema).get("index_columns")
    index = {name for name in names if isinstance(name, str)} if isinstance(names, list) else set()
    return frozenset(index.intersection(schema.names))


def _pandas(schema: pa.Schema) -> dict[str, Any]:
    try:
        metadata = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    except (ValueError, RecursionError):
        return {}
    return metadata if isinstance(metadata, dict) else {}


def _kept_schema(written: bytes | None) -> list[pa.Field]:
    if written is None:
        return []
    try:
        return list(pa.ipc.read_schema(pa.py_buffer(base64.b64decode(written))))
    except (ValueError, pa.ArrowException):
        return []
