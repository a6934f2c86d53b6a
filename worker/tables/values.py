"""Canonical values of cells from any source (file, JSON, tensor, data frame), for training and prediction.

A table has three types: float64, bool, string. Dates are stored as texts, and a model reads them as timestamps
in UTC. Null and NaN are missing. The type of a text column follows from all its texts: numeric if all are numbers,
boolean if all are true or false, datetime if all are dates, else categorical. Texts are stripped, and missing if they
are one of the missing words. A column that its file declares as categories (dictionaries of Arrow, categories of pandas
and polars) stays categorical, with unchanged texts. A caller may name the missing words; then no others count, and text
columns are stored as declared categories.

Tables store the original texts, and declared categories as dictionaries; models learn from ``canonical`` columns.
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
from worker.tables.cells.moments import is_date, moment_text, seconds_of

MISSING = ("", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "null", "NULL", "None", "?")
ARROW_TYPES: dict[ColumnType, pa.DataType] = {
    "numeric": pa.float64(),
    "boolean": pa.bool_(),
    "categorical": pa.string(),
    "datetime": pa.timestamp("us"),
    "text": pa.string(),
}
AS_TEXTS: tuple[ColumnType, ...] = ("categorical", "text")
"""Types of columns whose cells a model takes as their texts, whatever they are."""
DECLARED = pa.dictionary(pa.int32(), pa.string())
"""Stored type of a column that its file declares as categories."""
EXACT_INTEGERS = 2**53
"""float64 holds all integers up to this one exactly."""
ALLOWED_CELLS = "a table holds numbers, booleans, texts, dates and times, one a cell; make one of these of it"
FEW_NUMBERS = 32
"""Up to this many numbers, a Python loop is faster than Arrow functions."""
WRITTEN_ALIKE = (1e-4, 1e10)
"""Arrow and Python format numbers in this range alike."""
MAX_NUMBER_LENGTH = 100
"""Longer texts are not compared as numbers."""
NUMBER = re.compile(r"([+-]?)(?:(0|[1-9][0-9]*)(\.[0-9]*)?|(\.[0-9]+))([eE][+-]?[0-9]{1,3})?")
"""A number with several spellings. With additional leading zeros it is a code, of which each digit counts."""
CODE = r"^[+-]?0[0-9]+$"
INTEGERS = r"^[+-]?[0-9]+$"


def type_of(name: str, kind: pa.DataType) -> ColumnType:
    """Return the table type of an Arrow type; that of texts depends on their column.

    Raises:
        UnreadableTable: tables do not support the type.
    """
    if pa.types.is_dictionary(kind):
        type_of(name, kind.value_type)
        return "categorical"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        return "numeric"
    of_a_length = pa.types.is_duration(kind) or pa.types.is_interval(kind)
    if is_date(kind):
        return "datetime"
    if is_text(kind) or (pa.types.is_temporal(kind) and not of_a_length):
        return "categorical"
    if isinstance(kind, pa.BaseExtensionType):
        raise UnreadableTable(f"column {name!r} holds {kind.extension_name}; {ALLOWED_CELLS}")
    raise UnreadableTable(f"column {name!r} holds {kind}; {ALLOWED_CELLS}")


def is_text(kind: pa.DataType) -> bool:
    """Return whether an Arrow type is a string type."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def typed(name: str, values: pa.Array, kind: ColumnType) -> pa.Array:
    """Return ``values`` in the Arrow type of ``kind``, with NaN as null. Texts stay unchanged.

    Raises:
        UnreadableTable: a text holds a NUL character, or a value cannot be converted.
    """
    try:
        if kind == "categorical":
            return _texts(name, values)
        values = decoded(values)
        if pa.types.is_float16(values.type):
            values = values.cast(pa.float32())
        converted = as_floats(values) if kind == "numeric" else values.cast(ARROW_TYPES[kind], safe=False)
    except pa.ArrowException as error:
        raise UnreadableTable(f"column {name!r}: {error}") from error
    return without_nan(converted) if kind == "numeric" else converted


def without_nan(numbers: pa.Array) -> pa.Array:
    """Return numbers with NaN as null."""
    return pc.if_else(pc.is_nan(numbers), None, numbers) if pa.types.is_floating(numbers.type) else numbers


def numeric_type(kind: pa.DataType) -> pa.DataType:
    """Return the stored type for numbers of an Arrow type, which preserves their text.

    float64 would add digits to float32, and drop digits of decimals.
    """
    if pa.types.is_float16(kind) or pa.types.is_float32(kind):
        return pa.float32()
    return kind if pa.types.is_decimal(kind) and kind.scale > 0 else ARROW_TYPES["numeric"]


def decoded_type(kind: pa.DataType) -> pa.DataType:
    """Return the value type of a dictionary type; other types unchanged."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def decoded(values: pa.Array) -> pa.Array:
    """Return a dictionary array decoded; other arrays unchanged."""
    return values.dictionary_decode() if pa.types.is_dictionary(values.type) else values


def as_floats(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column of numbers, booleans or moments as float64; integers beyond 2^53 are rounded."""
    if pa.types.is_timestamp(column.type):
        return seconds_of(column)
    if pa.types.is_decimal(column.type):
        # by their texts: Arrow's conversion of decimals is not correctly rounded
        column = column.cast(pa.string())
    return column if column.type == ARROW_TYPES["numeric"] else column.cast(ARROW_TYPES["numeric"], safe=False)


def without_missing(texts: pa.Array, words: Sequence[str] | None = None) -> pa.Array:
    """Return stripped texts, with missing words as null.

    ``words``: the caller's missing words; blank texts are always missing. None: ``MISSING``.
    """
    texts = pc.utf8_trim_whitespace(texts)
    gaps = _gaps() if words is None else pc.SetLookupOptions(pa.array(["", *words], pa.string()))
    return pc.if_else(pc.is_in(texts, options=gaps), None, texts)


def canonical(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return a column of a table with missing values as null and texts stripped.

    Declared categories stay unchanged, and only blank ones are missing. Numbers that are not integers are float64.
    """
    if pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        return as_floats(column)
    if pa.types.is_dictionary(column.type):
        texts = column.cast(DECLARED.value_type)
        return pc.if_else(pc.equal(pc.utf8_trim_whitespace(texts), ""), None, texts)
    return without_missing(column) if is_text(column.type) else column


def shown(table: pa.Table) -> pa.Table:
    """Return a stored table for display."""
    return pa.table({name: canonical(column) for name, column in zip(table.column_names, table.columns, strict=True)})


@cache
def _gaps() -> pc.SetLookupOptions:
    # not at import: the reader process bounds its memory before it uses Arrow
    return pc.SetLookupOptions(pa.array(MISSING))


def numbers(texts: pa.Array) -> pa.Array | None:
    """Return texts as float64; None if one of them is not a number."""
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
    """Return whether every text is true or false, ignoring case."""
    known = pc.is_in(pc.utf8_lower(texts.drop_null()), value_set=pa.array(["true", "false"]))
    return bool(pc.all(known, min_count=0).as_py())


def any_code(texts: pa.Array) -> bool:
    """Return whether a text is an integer with a leading zero, such as a postal code."""
    return bool(pc.any(pc.match_substring_regex(texts.drop_null(), CODE), min_count=0).as_py())


def parsed(texts: pa.Array, kind: ColumnType) -> pa.Array:
    """Parse texts, all of which fit the type ``kind``."""
    if kind == "boolean":
        return pc.equal(pc.utf8_lower(texts), "true")
    return _numbers(texts) if kind == "numeric" else texts


def _numbers(texts: pa.Array) -> pa.Array:
    try:
        return texts.cast(pa.float64())
    except pa.ArrowInvalid:
        # Arrow does not parse a plus sign
        return pc.replace_substring_regex(texts, r"^\+([0-9.])", r"\1").cast(pa.float64())


def _texts(name: str, values: pa.Array) -> pa.Array:
    """Return each cell as text: texts unchanged, numbers, booleans and times in their canonical form."""
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
    """Apply ``change`` once to each distinct text."""
    coded = texts.dictionary_encode()
    changed = [None if text is None else change(text) for text in coded.dictionary.to_pylist()]
    return pa.array(changed, pa.string()).take(coded.indices)


def _float_texts(values: pa.Array) -> pa.Array:
    """Return ``number_text`` of each number; Arrow handles those that it formats alike."""
    if len(values) <= FEW_NUMBERS:
        return pa.array(
            [None if number is None or number != number else number_text(number) for number in values.to_pylist()],
            pa.string(),
        )
    size = pc.abs(values)
    integral = pc.and_(pc.equal(values, pc.trunc(values)), pc.less(size, EXACT_INTEGERS)).fill_null(False)
    texts = pc.if_else(
        integral, pc.if_else(integral, values, 0.0).cast(pa.int64()).cast(pa.string()), values.cast(pa.string())
    )
    alike = pc.and_(pc.greater_equal(size, WRITTEN_ALIKE[0]), pc.less(size, WRITTEN_ALIKE[1]))
    others = pc.invert(pc.or_(integral, alike.fill_null(True)))
    if not pc.any(others, min_count=0).as_py():
        return texts
    return pc.replace_with_mask(texts, others, _each(texts.filter(others), _number_or_gap))


def _number_or_gap(text: str) -> str | None:
    # Arrow writes a missing number as "nan"
    return None if text == "nan" else number_text(float(text))


def number_text(value: float) -> str:
    """Return the category of a number: 1, 1.0 and 1e0 are "1"."""
    if isinstance(value, int) or (value.is_integer() and abs(value) < EXACT_INTEGERS):
        return str(int(value))
    return repr(float(value))


def decimal_text(value: Decimal) -> str:
    """Return the category of a decimal number, with all its digits."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def whole_digits(text: str) -> str | None:
    """Return the digits of an integer in any spelling; None for other texts and beyond the range of float64."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or value.adjusted() > sys.float_info.max_10_exp or value != value.to_integral_value():
        return None
    return decimal_text(value)


def float_is_exact(text: str) -> bool:
    """Return whether float64 preserves a number: in its shortest form, or exactly."""
    number = float(text)
    try:
        return Decimal(text) in (Decimal(repr(number)), Decimal(number))
    except InvalidOperation:
        # the exponent is too long for Decimal
        return False


def cell_text(value: bool | float | str) -> str:
    """Return the category of a single value."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return number_text(value)


def spelling(text: str) -> str:
    """Return the canonical text of all spellings of a number, a boolean or a datetime; other texts stripped."""
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
        rounded = abs(value) >= EXACT_INTEGERS and not float_is_exact(text)
        return text if rounded else number_text(value)
    return moment_text(text)
