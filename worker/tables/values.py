"""From whatever a file's columns hold to the three types of a table: float64, bool, string. NaN is missing."""

from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import ColumnType
from worker.contracts.errors import UnreadableTable

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "null", "NULL", "None", "?")
ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "numeric": pa.float64(),
    "boolean": pa.bool_(),
    "categorical": pa.string(),
}


def type_of(name: str, kind: pa.DataType) -> ColumnType:
    """Return the table type of an Arrow type.

    Raises:
        UnreadableTable: the type has no place in a table.
    """
    if pa.types.is_dictionary(kind):
        return type_of(name, kind.value_type)
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return "numeric"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "categorical"
    if pa.types.is_temporal(kind) and not pa.types.is_duration(kind):
        return "categorical"
    raise UnreadableTable(
        f"column {name!r} holds {kind}; a table holds numbers, booleans, texts, dates and times, one a cell"
    )


def typed(name: str, values: pa.Array, wanted: ColumnType) -> pa.Array:
    """Return ``values`` in the Arrow type of ``wanted``, NaN as null.

    Raises:
        UnreadableTable: a text holds a NUL character, or a value has no place in the type.
    """
    try:
        if pa.types.is_dictionary(values.type):
            values = values.dictionary_decode()
        if pa.types.is_float16(values.type):
            values = values.cast(pa.float32())
        converted = values.cast(ARROW_TYPES[wanted], safe=False)
    except pa.ArrowException as error:
        raise UnreadableTable(f"column {name!r}: {error}") from error
    if wanted == "numeric":
        return pc.if_else(pc.is_nan(converted), None, converted)
    if wanted == "categorical" and pc.any(pc.match_substring(converted, "\0")).as_py():
        raise UnreadableTable(f"column {name!r} holds a NUL character; text cannot")
    return converted


def without_missing(texts: pa.Array) -> pa.Array:
    """Return texts with their outer spaces off and the words for a missing value as null."""
    texts = pc.utf8_trim_whitespace(texts)
    return pc.if_else(pc.is_in(texts, options=_gaps()), None, texts)


@cache
def _gaps() -> pc.SetLookupOptions:
    # not when this is imported: Arrow would take its memory before whoever reads tables has bounded it
    return pc.SetLookupOptions(pa.array(MISSING))


def could_be_number(texts: pa.Array) -> bool:
    """Return whether every text is a number."""
    try:
        texts.cast(pa.float64())
    except pa.ArrowInvalid:
        return False
    return True


def could_be_boolean(texts: pa.Array) -> bool:
    """Return whether every text is true or false, in whatever case."""
    known = pc.is_in(pc.utf8_lower(texts.drop_null()), value_set=pa.array(["true", "false"]))
    return bool(pc.all(known, min_count=0).as_py())


def parsed(texts: pa.Array, wanted: ColumnType) -> pa.Array:
    """Return texts as what all of their column could be."""
    if wanted == "boolean":
        return pc.equal(pc.utf8_lower(texts), "true")
    return texts.cast(ARROW_TYPES[wanted])
