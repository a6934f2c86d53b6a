"""Infer the type of each column of a file from all of its cells, and how to store it."""

import sys
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import ColumnType, DecimalMark
from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.contracts.resources import ModelColumn
from worker.tables import values, written
from worker.tables.cells import number_formats
from worker.tables.cells.number_formats import NumberFormat, decimal_of
from worker.tables.delimited.header import check_header, holds_name, looks_alike
from worker.tables.files.raw_table import RawTable

WIDE_INTEGERS = (pa.int64(), pa.uint64())


@dataclass(frozen=True)
class ColumnForm:
    """The type of a column and its Arrow type in storage.

    ``keeps_texts``: its texts are stored in a second column. ``empty``: all cells are texts that mean no value.
    ``decimal``: the mark of formatted numbers, see ``number_formats``.
    """

    type: ColumnType
    stored: pa.DataType
    keeps_texts: bool = False
    empty: bool = False
    decimal: DecimalMark | None = None

    def convert(self, name: str, column: pa.Array) -> pa.Array:
        """Convert a column of a file to its stored type.

        Raises:
            UnreadableTable: a text holds a NUL character, or a value does not fit the type.
        """
        if self.stored in WIDE_INTEGERS:
            return _digits(column).cast(self.stored)
        if self.type == "categorical":
            texts = values.typed(name, column, "categorical")
            return texts.dictionary_encode() if self.stored == values.DECLARED else texts
        if self.type == "numeric" and self.stored != values.ARROW_TYPES["numeric"]:
            return values.without_nan(column.cast(self.stored))
        if values.is_text(values.decoded(column).type):
            texts = values.without_missing(values.typed(name, column, "categorical"))
            if self.decimal is None:
                column = values.parsed(texts, self.type)
            else:
                column = number_formats.numbers(texts, self.decimal)
        return values.typed(name, column, self.type)

    def fields(self, name: str) -> list[pa.Field]:
        """Return the fields of the arrays that ``parts`` returns."""
        main = pa.field(name, self.stored)
        return [main, pa.field(written.text_column_name(name), written.TEXT_TYPE)] if self.keeps_texts else [main]

    def parts(self, name: str, column: pa.Array) -> list[pa.Array]:
        """Return the converted column, and the texts that are stored beside it.

        Raises:
            UnreadableTable: see ``convert``.
        """
        stored = self.convert(name, column)
        if not self.keeps_texts:
            return [stored]
        texts = values.typed(name, column, "categorical")
        return [stored, written.differing(texts, stored).dictionary_encode()]


def column_forms(raw: RawTable, max_cells: int) -> list[ColumnForm]:
    """Return the form of each column; texts that are not declared categories get the type that all of them fit.

    Raises:
        UnreadableTable: the table has no rows, or its header seems to be a row of data.
        TableTooLarge: more than ``max_cells`` cells.
    """
    inferences = None
    rows = 0
    for batch in raw.batches():
        if inferences is None:
            inferences = [_Inference(name, name in raw.declared, raw.guessed_header, raw.missing) for name in raw.names]
        rows += len(batch[0])
        check_cells(rows, len(raw.names), max_cells)
        for inference, column in zip(inferences, batch, strict=True):
            inference.update(column)
        if all(inference.complete for inference in inferences):
            break
    if inferences is None:
        raise UnreadableTable("the table has no rows")
    if raw.guessed_header:
        types = [inference.type for inference in inferences]
        repeated, alike = zip(*((inference.repeated, inference.alike) for inference in inferences), strict=True)
        repetitive = sum(bool(inference.repetitive) and inference.type == "categorical" for inference in inferences)
        renamed = {} if raw.reading is None else raw.reading.renamed
        check_header([renamed.get(name, name) for name in raw.names], types, repeated, repetitive, alike)
    if any(inference.rounded for inference in inferences):
        for batch in raw.batches():
            for inference, column in zip(inferences, batch, strict=True):
                inference.update_digits(column)
    mark = raw.decimal or decimal_of(inference.format for inference in inferences)
    return [inference.form(mark) for inference in inferences]


def typed_table(table: pa.Table) -> tuple[pa.Table, list[ModelColumn]]:
    """Return an in-memory table in the form of a stored upload, and its columns as a model reads them.

    Raises:
        UnreadableTable: a column has a type that tables do not support.
    """
    declared = frozenset(field.name for field in table.schema if pa.types.is_dictionary(field.type))
    columns = [_contiguous(column) for column in table.columns]
    forms = column_forms(RawTable(table.column_names, lambda: iter([columns]), declared), sys.maxsize)
    named = zip(table.column_names, forms, columns, strict=True)
    typed = {name: form.convert(name, column) for name, form, column in named}
    read = [
        ModelColumn(name=name, type=form.type, decimal=form.decimal) for name, form in zip(typed, forms, strict=True)
    ]
    return pa.table(typed), read


def _contiguous(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array


def check_cells(rows: int, columns: int, max_cells: int) -> None:
    """Refuse a table that is too large.

    Raises:
        TableTooLarge: more than ``max_cells`` cells.
    """
    if rows * columns > max_cells:
        raise TableTooLarge(
            f"the table has more than {max_cells} cells: {columns} columns and at least {rows} rows; send fewer"
        )


@dataclass
class _Inference:
    """The type of a column as far as its cells have been read."""

    name: str
    declared: bool
    guessed: bool
    missing: tuple[str, ...] | None
    format: NumberFormat = field(default_factory=NumberFormat)
    known: ColumnType | None = None
    number: bool = True
    boolean: bool = True
    any_value: bool = False
    repetitive: bool | None = None
    repeated: bool = False
    alike: bool | None = None
    wide: bool = False
    rounded: bool = False
    differ: bool = False
    digits_differ: bool = False
    plain: pa.DataType = values.ARROW_TYPES["numeric"]
    integers: set[pa.DataType] = field(default_factory=lambda: set(WIDE_INTEGERS))
    all_integers: bool = True
    all_digits: bool = True
    all_exact: bool = True

    @property
    def are_identifiers(self) -> bool:
        """Whether all numbers are written digit by digit, or float64 cannot hold one of them exactly."""
        return self.all_digits or not self.all_exact

    @property
    def complete(self) -> bool:
        """Whether no further cell can change the result."""
        return self.known is not None and not self.wide

    @property
    def type(self) -> ColumnType:
        if self.known is not None:
            return self.known
        if self.number or (self.any_value and self.format.possible and not self.boolean):
            return "numeric"
        return "boolean" if self.boolean and self.any_value else "categorical"

    def form(self, mark: DecimalMark) -> ColumnForm:
        """Return the form of the column. ``mark``: the decimal mark of the table."""
        own = None if self.known is not None else self.format.mark(mark, plain=self.number)
        if self.type == "numeric" and own is not None:
            return ColumnForm("numeric", values.ARROW_TYPES["numeric"], keeps_texts=True, decimal=own)
        if self.rounded and self.type == "numeric":
            stored = next((kind for kind in WIDE_INTEGERS if kind in self.integers), None)
            if stored is not None:
                return ColumnForm("numeric", stored, self.digits_differ)
            if self.all_integers and self.are_identifiers:
                # integers of so many digits are identifiers: every digit counts
                return ColumnForm("categorical", pa.string())
        if self.type == "categorical":
            # where the caller names the missing words, all other texts are values
            declared = self.declared or self.missing is not None
            return ColumnForm(self.type, values.DECLARED if declared else values.ARROW_TYPES[self.type])
        empty = self.known is None and not self.any_value
        return ColumnForm(self.type, self.plain if self.type == "numeric" else pa.bool_(), self.differ, empty)

    def update(self, column: pa.Array) -> None:
        """Take the cells of one batch into account."""
        kind = values.decoded(column[:0]).type
        if self.declared or not values.is_text(kind):
            self.known = "categorical" if self.declared else values.type_of(self.name, kind)
            self.plain = values.numeric_type(kind)
            self.wide = not self.declared and (kind in WIDE_INTEGERS or pa.types.is_decimal(kind))
            self.rounded = self.rounded or (self.wide and _is_rounded(column))
            return
        if self.repetitive is None and len(column):
            self.repetitive = 4 * len(column.unique()) <= 3 * len(column)
            self.alike = looks_alike(self.name, column) if self.guessed else None
        self.repeated = self.repeated or (self.guessed and bool(self.repetitive) and holds_name(self.name, column))
        if not self.number and not self.boolean and not self.format.possible:
            return
        cells = values.typed(self.name, column, "categorical")
        texts = values.without_missing(cells, self.missing)
        self.any_value = self.any_value or texts.null_count < len(texts)
        self.boolean = self.boolean and values.could_be_boolean(texts)
        if self.number:
            # the leading zeros of a code, such as a postal code, count
            numbers = None if values.any_code(texts) else values.numbers(texts)
            if numbers is not None and self.missing is not None and values.any_nan(numbers):
                # the caller does not name NaN as a missing word, so it is a text
                numbers = None
            self.number = numbers is not None
            self.rounded = self.rounded or (numbers is not None and _is_rounded(numbers))
        if self.format.possible:
            self.format.update(texts, dashes=self.missing is None, plain=self.number)
        if not self.differ and (self.number or self.boolean):
            parsed = numbers if self.number else values.parsed(texts, "boolean")
            self.differ = written.any_differs(cells, parsed)

    def update_digits(self, column: pa.Array) -> None:
        """Check for a column that float64 rounds whether all numbers are integers, and which type holds them."""
        if not self.rounded or not self.all_integers:
            return
        digits, others = _digits(column), _not_digits(column)
        integral = pc.match_substring_regex(digits.drop_null(), values.INTEGERS)
        self.all_integers = bool(pc.all(integral, min_count=0).as_py())
        self.all_digits = self.all_digits and not others
        self.all_exact = self.all_exact and all(map(values.float_is_exact, others))
        if not self.all_integers:
            self.integers = set()
        for kind in set(self.integers):
            try:
                integers = digits.cast(kind)
            except pa.ArrowInvalid:
                self.integers.discard(kind)
            else:
                if self.known is None and not self.digits_differ:
                    self.digits_differ = written.any_differs(values.typed(self.name, column, "categorical"), integers)


def _digits(column: pa.Array) -> pa.Array:
    """Return integers as texts of digits without a plus sign, which Arrow cannot read.

    Missing values are null; other texts stay unchanged.
    """
    texts = _written(column)
    plain = pc.match_substring_regex(texts, values.INTEGERS).fill_null(True)
    if not pc.all(plain, min_count=0).as_py():
        coded = texts.dictionary_encode()
        spelled = [values.whole_digits(text) or text for text in coded.dictionary.to_pylist()]
        texts = pc.if_else(plain, texts, pa.array(spelled, pa.string()).take(coded.indices))
    return pc.replace_substring_regex(texts, r"^\+([0-9])", r"\1")


def _not_digits(column: pa.Array) -> list[str]:
    """Return the distinct numbers that are not written digit by digit."""
    texts = _written(column)
    numbers: list[str] = texts.filter(pc.invert(pc.match_substring_regex(texts, values.INTEGERS))).unique().to_pylist()
    return [text for text in numbers if text is not None]


def _written(column: pa.Array) -> pa.Array:
    return values.without_missing(values.decoded(column).cast(pa.string()))


def _is_rounded(numbers: pa.Array) -> bool:
    floats = numbers if pa.types.is_floating(numbers.type) else numbers.cast(pa.float64(), safe=False)
    most = pc.max(pc.abs(floats)).as_py()
    return most is not None and bool(most >= values.EXACT_INTEGERS)
