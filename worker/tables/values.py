"""The one form of a cell, whichever way it came: file, JSON, tensor or data frame; to train on or to predict.

A table has three types: float64, bool, string. Null and NaN are missing. A column of texts is looked at as a whole:
numbers where all of its texts are numbers, booleans where all are true or false, else categories. A text is taken
without its outer white space, and is missing where it is one of the words for that. A column that its file declares to
be categories (dictionaries of Arrow, categories of pandas and polars) stays one, with its texts as they are. A caller
may name the words for a missing value; then no others are, and columns of texts are stored as declared categories.

Tables keep the texts as they came, declared categories as dictionaries; ``canonical`` is what is learned of them.
"""

import re
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import ColumnType
from worker.contracts.errors import UnreadableTable
from worker.tables.moments import moment_text

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "null", "NULL", "None", "?")
ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "numeric": pa.float64(),
    "boolean": pa.bool_(),
    "categorical": pa.string(),
}
DECLARED = pa.dictionary(pa.int32(), pa.string())
"""How a table holds a column that its file declares to be categories."""
EXACT_INTEGERS = 2**53
"""Whole numbers of float64 up to this one are exact."""
HOLDS = "a table holds numbers, booleans, texts, dates and times, one a cell; make one of these of it"
FEW_NUMBERS = 32
"""So many are written one by one sooner than by the steps that a column takes."""
WRITTEN_ALIKE = (1e-4, 1e10)
"""Arrow and Python write numbers of such sizes in the same way."""
MAX_NUMBER_LENGTH = 100
"""Longer texts are not compared as numbers."""
NUMBER = re.compile(r"([+-]?)(?:(0|[1-9][0-9]*)(\.[0-9]*)?|(\.[0-9]+))([eE][+-]?[0-9]{1,3})?")
"""A number that may be written in other ways. With further leading zeros it is a code, of which each digit counts."""
CODE = r"^[+-]?0[0-9]+$"
INTEGERS = r"^[+-]?[0-9]+$"


def type_of(name: str, kind: pa.DataType) -> ColumnType:
    """Return the table type of an Arrow type; of texts only their column can tell.

    Raises:
        UnreadableTable: the type has no place in a table.
    """
    if pa.types.is_dictionary(kind):
        type_of(name, kind.value_type)
        return "categorical"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return "numeric"
    of_a_length = pa.types.is_duration(kind) or pa.types.is_interval(kind)
    if is_text(kind) or (pa.types.is_temporal(kind) and not of_a_length):
        return "categorical"
    if isinstance(kind, pa.BaseExtensionType):
        raise UnreadableTable(f"column {name!r} holds {kind.extension_name}; {HOLDS}")
    raise UnreadableTable(f"column {name!r} holds {kind}; {HOLDS}")


def is_text(kind: pa.DataType) -> bool:
    """Return whether cells of an Arrow type are texts."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def typed(name: str, values: pa.Array, wanted: ColumnType) -> pa.Array:
    """Return ``values`` in the Arrow type of ``wanted``, NaN as null. Texts stay as they are.

    Raises:
        UnreadableTable: a text holds a NUL character, or a value has no place in the type.
    """
    try:
        if wanted == "categorical":
            return _texts(name, values)
        values = decoded(values)
        if pa.types.is_float16(values.type):
            values = values.cast(pa.float32())
        converted = as_floats(values) if wanted == "numeric" else values.cast(ARROW_TYPES[wanted], safe=False)
    except pa.ArrowException as error:
        raise UnreadableTable(f"column {name!r}: {error}") from error
    return without_nan(converted) if wanted == "numeric" else converted


def without_nan(numbers: pa.Array) -> pa.Array:
    """Return numbers with NaN as null."""
    return pc.if_else(pc.is_nan(numbers), None, numbers) if pa.types.is_floating(numbers.type) else numbers


def numeric_type(kind: pa.DataType) -> pa.DataType:
    """Return the type in which a table stores numbers of an Arrow type, so that they are written as they came.

    float64 has more digits than a number of float32 is written with, and fewer than a decimal number may have.
    """
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return pa.float32()
    return kind if pa.types.is_decimal(kind) and kind.scale > 0 else ARROW_TYPES["numeric"]


def decoded_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values of a dictionary; others as they are."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def decoded(values: pa.Array) -> pa.Array:
    """Return the values of a dictionary one a row; others as they are."""
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def as_floats(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return numbers or booleans of a stored column as float64; integers beyond 2^53 are rounded."""
    if pa.types.is_decimal(column.type):
        # by their digits: Arrow's own way from decimals misses the nearest number
        column = column.cast(pa.string())
    return column if column.type == ARROW_TYPES["numeric"] else column.cast(ARROW_TYPES["numeric"], safe=False)


def without_missing(texts: pa.Array, words: Sequence[str] | None = None) -> pa.Array:
    """Return texts with their outer white space off and the words for a missing value as null.

    ``words``: those that a caller named; blank texts are missing in any case. None: ``MISSING``.
    """
    texts = pc.utf8_trim_whitespace(texts)
    gaps = _gaps() if words is None else pc.SetLookupOptions(pa.array(["", *words], pa.string()))
    return pc.if_else(pc.is_in(texts, options=gaps), None, texts)


def canonical(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column of a table with missing values as null and without white space around texts.

    Of declared categories nothing but white space is missing, and they are taken as they are. Numbers that are not
    integers are float64.
    """
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return as_floats(column)
    if pa.types.is_dictionary(column.type):
        texts = column.cast(DECLARED.value_type)
        return pc.if_else(pc.equal(pc.utf8_trim_whitespace(texts), ""), None, texts)
    return without_missing(column) if is_text(column.type) else column


def shown(table: pa.Table) -> pa.Table:
    """Return a stored table as it is shown to people."""
    return pa.table({name: canonical(column) for name, column in zip(table.column_names, table.columns, strict=True)})


@cache
def _gaps() -> pc.SetLookupOptions:
    # not when this is imported: Arrow would take its memory before whoever reads tables has bounded it
    return pc.SetLookupOptions(pa.array(MISSING))


def numbers(texts: pa.Array) -> pa.Array | None:
    """Return texts as float64; None where one of them is no number."""
    try:
        return _numbers(texts)
    except pa.ArrowInvalid:
        return None


def any_nan(numbers: pa.Array) -> bool:
    """Return whether a number is NaN."""
    return bool(pc.any(pc.is_nan(numbers), min_count=0).as_py())


def could_be_number(texts: pa.Array) -> bool:
    """Return whether every text is a number."""
    return numbers(texts) is not None


def could_be_boolean(texts: pa.Array) -> bool:
    """Return whether every text is true or false, in whatever case."""
    known = pc.is_in(pc.utf8_lower(texts.drop_null()), value_set=pa.array(["true", "false"]))
    return bool(pc.all(known, min_count=0).as_py())


def any_code(texts: pa.Array) -> bool:
    """Return whether a text is whole digits of which the first is a zero that a number would not have."""
    return bool(pc.any(pc.match_substring_regex(texts.drop_null(), CODE), min_count=0).as_py())


def parsed(texts: pa.Array, wanted: ColumnType) -> pa.Array:
    """Return texts as what all of their column could be."""
    if wanted == "boolean":
        return pc.equal(pc.utf8_lower(texts), "true")
    return _numbers(texts) if wanted == "numeric" else texts


def _numbers(texts: pa.Array) -> pa.Array:
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        # Arrow knows no sign before positive numbers
        return pc.replace_substring_regex(texts, r"^\+([0-9.])", r"\1").cast(pa.float64())


def _texts(name: str, values: pa.Array) -> pa.Array:
    """Return each cell as text: texts as they are, numbers, booleans and times in the one way that they are written."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        if len(values) < len(values.dictionary):
            return _texts(name, values.dictionary_decode())
        return _texts(name, values.dictionary).take(values.indices)
    if pa.types.is_null(kind):
        return values.cast(pa.string())
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind):
        return values.cast(pa.string())
    if is_text(kind):
        texts = values.cast(pa.string())
        if pc.any(pc.match_substring(texts, "\0")).as_py():
            raise UnreadableTable(f"column {name!r} holds a NUL character; text cannot")
        return texts
    if pa.types.is_float16(kind):
        values = values.cast(pa.float32())
    if pa.types.is_float64(kind):
        return _float_texts(values)
    if pa.types.is_floating(kind):
        return _each(values.cast(pa.string()), _number_or_gap)
    if pa.types.is_decimal(kind):
        return _each(values.cast(pa.string()), lambda text: decimal_text(Decimal(text)))
    type_of(name, kind)
    return _each(values.cast(pa.string()), moment_text)


def _each(texts: pa.Array, change: Callable[[str], str | None]) -> pa.Array:
    """Return texts, each changed; equal ones are changed once."""
    coded = texts.dictionary_encode()
    changed = [None if text is None else change(text) for text in coded.dictionary.to_pylist()]
    return pa.array(changed, pa.string()).take(coded.indices)


def _float_texts(values: pa.Array) -> pa.Array:
    """Return what ``number_text`` makes of each number. Those that Arrow writes so do not pass through Python."""
    if len(values) <= FEW_NUMBERS:
        return pa.array(
            [None if number is None or number != number else number_text(number) for number in values.to_pylist()],
            pa.string(),
        )
    size = pc.abs(values)
    whole = pc.and_(pc.equal(values, pc.trunc(values)), pc.less(size, EXACT_INTEGERS)).fill_null(False)
    texts = pc.if_else(
        whole, pc.if_else(whole, values, 0.0).cast(pa.int64()).cast(pa.string()), values.cast(pa.string())
    )
    alike = pc.and_(pc.greater_equal(size, WRITTEN_ALIKE[0]), pc.less(size, WRITTEN_ALIKE[1]))
    others = pc.invert(pc.or_(whole, alike.fill_null(True)))
    if not pc.any(others, min_count=0).as_py():
        return texts
    return pc.replace_with_mask(texts, others, _each(texts.filter(others), _number_or_gap))


def _number_or_gap(text: str) -> str | None:
    # "nan" is how Arrow writes a missing number
    return None if text == "nan" else number_text(float(text))


def number_text(value: float) -> str:
    """Return a number as it is written where it stands for a category: 1, 1.0 and 1e0 are "1"."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < EXACT_INTEGERS):
        return str(int(value))
    return repr(float(value))


def decimal_text(value: Decimal) -> str:
    """Return a decimal number as it is written where it stands for a category, to its last digit."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def whole_digits(text: str) -> str | None:
    """Return the digits of a whole number, however it is written; None of other texts and of what is beyond float64."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or value.adjusted() > sys.float_info.max_10_exp or value != value.to_integral_value():
        return None
    return decimal_text(value)


def float_tells(text: str) -> bool:
    """Return whether a number is one that float64 gives back: as it writes that number, or to its last digit."""
    number = float(text)
    try:
        return Decimal(text) in (Decimal(repr(number)), Decimal(number))
    except InvalidOperation:
        # an exponent of more digits than a decimal number has room for
        return False


def cell_text(value: bool | float | str) -> str:
    """Return a single value as the text of a category."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value)


def spelling(text: str) -> str:
    """Return what texts have in common that differ only in how a number, a truth value or a moment is written."""
    text = text.strip()
    if text.lower() in ("true", "false"):
        return text.lower()
    if len(text) > MAX_NUMBER_LENGTH:
        return text
    if number := NUMBER.fullmatch(text):
        _, _, fraction, point, exponent = number.groups()
        if fraction is point is exponent is None:
            return str(int(text))
        value = float(text)
        rounded = abs(value) >= EXACT_INTEGERS and not float_tells(text)
        return text if rounded else number_text(value)
    return moment_text(text)
