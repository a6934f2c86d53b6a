"""Infer the type of each column of a file from all of its cells, and how to store it."""

import sys
from dataclasses import dataclass, field, replace

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import ColumnType, DateOrder, DecimalMark
from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.contracts.resources import ModelColumn
from worker.tables import values, written
from worker.tables.cells import number_formats
from worker.tables.cells.dates import DateFormat, in_calendar, order_of
from worker.tables.cells.digits import digits_of, is_rounded, not_digits
from worker.tables.cells.moments import is_date, seconds_of
from worker.tables.cells.number_formats import NumberFormat, decimal_of
from worker.tables.delimited.header import check_header, holds_name, looks_alike
from worker.tables.files.raw_table import RawTable
from worker.tables.rows.matching import fitted

CATEGORICAL: ColumnType = "categorical"
WIDE_INTEGERS = (pa.int64(), pa.uint64())


@dataclass(frozen=True)
class ColumnForm:
    """The type of a column and its Arrow type in storage.

    ``keeps_texts``: its texts are stored in a second column. ``empty``: all cells are texts that mean no value.
    ``decimal``: the mark of formatted numbers, see ``number_formats``. ``date_order``: see ``dates``, which are stored
    as texts. ``inferred_from``: what of the cells told the type.
    """

    type: ColumnType
    stored: pa.DataType
    keeps_texts: bool = False
    empty: bool = False
    decimal: DecimalMark | None = None
    date_order: DateOrder | None = None
    inferred_from: str = "texts"

    def convert(self, name: str, column: pa.Array) -> pa.Array:
        """Convert a column of a file to its stored type.

        Raises:
            UnreadableTable: a text holds a NUL character, or a value does not fit the type.
        """
        if self.stored in WIDE_INTEGERS:
            return digits_of(column).cast(self.stored)
        if self.type in ("categorical", "datetime"):
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
        # dates are told from names by how they are written, as other texts are
        types = [CATEGORICAL if inference.type == "datetime" else inference.type for inference in inferences]
        repeated, alike = zip(*((inference.repeated, inference.alike) for inference in inferences), strict=True)
        repetitive = sum(
            bool(inference.repetitive) and kind == CATEGORICAL
            for inference, kind in zip(inferences, types, strict=True)
        )
        renamed = {} if raw.reading is None else raw.reading.renamed
        check_header([renamed.get(name, name) for name in raw.names], types, repeated, repetitive, alike)
    if any(inference.rounded for inference in inferences):
        for batch in raw.batches():
            for inference, column in zip(inferences, batch, strict=True):
                inference.update_digits(column)
    mark = raw.decimal or decimal_of(inference.format for inference in inferences)
    order = order_of(inference.dates for inference in inferences)
    return [inference.form(mark, order) for inference in inferences]


def typed_table(table: pa.Table) -> tuple[pa.Table, list[ModelColumn]]:
    """Return an in-memory table as a model reads it, and its columns.

    Raises:
        UnreadableTable: a column has a type that tables do not support.
    """
    declared = frozenset(field.name for field in table.schema if pa.types.is_dictionary(field.type))
    columns = [_contiguous(column) for column in table.columns]
    forms = column_forms(RawTable(table.column_names, lambda: iter([columns]), declared), sys.maxsize)
    named = zip(table.column_names, forms, columns, strict=True)
    typed = pa.table({name: form.convert(name, column) for name, form, column in named})
    read = [
        ModelColumn(name=name, type=form.type, decimal=form.decimal, date_order=form.date_order)
        for name, form in zip(typed.column_names, forms, strict=True)
    ]
    for place, column in enumerate(read):
        if column.type == "datetime":
            typed = typed.set_column(place, column.name, fitted(typed.column(place), column))
    return typed, read


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
    dates: DateFormat = field(default_factory=DateFormat)
    known: ColumnType | None = None
    number: bool = True
    digits: bool = True
    zeros: bool = False
    moments: bool = False
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
        return self.known is not None and not self.wide and not self.moments

    @property
    def type(self) -> ColumnType:
        if self.known is not None:
            return self.known
        if self.number or (self.format.any_number and self.format.possible and not self.boolean):
            return "numeric"
        if self.any_value and self.dates.possible:
            return "datetime"
        return "boolean" if self.boolean and self.any_value else "categorical"

    def form(self, mark: DecimalMark, order: DateOrder | None) -> ColumnForm:
        """Return the form of the column. ``mark``, ``order``: of numbers and dates of the table."""
        form = self._form(mark)
        if form.type == "datetime" and self.known is None:
            form = replace(form, date_order=self.dates.order(order))
        return replace(form, inferred_from=self._inferred_from(form))

    def _inferred_from(self, form: ColumnForm) -> str:
        """Return what of the cells told the type."""
        if form.empty:
            return "no values"
        if self.declared:
            return "declared category"
        if form.type == "numeric":
            return "numbers" if form.decimal is None else self.format.what(form.decimal)
        if form.type == "boolean":
            return "truth values"
        if form.type == "datetime":
            return "dates" if form.date_order is None else self.dates.what(form.date_order)
        if self.digits and self.zeros:
            return "leading zeros"
        return "long numbers" if self.rounded and self.number else "texts"

    def _form(self, mark: DecimalMark) -> ColumnForm:
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
        if self.type in ("categorical", "datetime"):
            # where the caller names the missing words, all other texts are values
            declared = self.declared or self.missing is not None
            return ColumnForm(self.type, values.DECLARED if declared else values.ARROW_TYPES["categorical"])
        empty = self.known is None and not self.any_value
        return ColumnForm(self.type, self.plain if self.type == "numeric" else pa.bool_(), self.differ, empty)

    def update(self, column: pa.Array) -> None:
        """Take the cells of one batch into account."""
        kind = values.decoded(column[:0]).type
        if self.declared or not values.is_text(kind):
            self.moments = not self.declared and is_date(kind)
            if self.known is None or self.moments:
                self._know(column, kind)
            self.plain = values.numeric_type(kind)
            self.wide = not self.declared and (kind in WIDE_INTEGERS or pa.types.is_decimal(kind))
            self.rounded = self.rounded or (self.wide and is_rounded(column))
            return
        if self.repetitive is None and len(column):
            self.repetitive = 4 * len(column.unique()) <= 3 * len(column)
            self.alike = looks_alike(self.name, column) if self.guessed else None
        self.repeated = self.repeated or (self.guessed and bool(self.repetitive) and holds_name(self.name, column))
        if not (self.number or self.boolean or self.digits or self.format.possible or self.dates.possible):
            return
        cells = values.typed(self.name, column, "categorical")
        texts = values.without_missing(cells, self.missing)
        self.any_value = self.any_value or texts.null_count < len(texts)
        self.boolean = self.boolean and values.could_be_boolean(texts)
        if self.digits:
            numbers = values.numbers(texts)
            if numbers is not None and self.missing is not None and values.any_nan(numbers):
                # the caller does not name NaN as a missing word, so it is a text
                numbers = None
            self.digits = numbers is not None
            # the leading zeros of a code, such as a postal code, count
            self.zeros = self.zeros or (self.digits and values.any_code(texts))
            self.number = self.digits and not self.zeros
            self.rounded = self.rounded or (self.number and is_rounded(numbers))
        if self.dates.possible:
            self.dates.update(texts)
        if self.format.possible:
            self.format.update(texts, signs=self.missing is None, plain=self.number)
        if not self.differ and (self.number or self.boolean):
            parsed = numbers if self.number else values.parsed(texts, "boolean")
            self.differ = written.any_differs(cells, parsed)

    def _know(self, column: pa.Array, kind: pa.DataType) -> None:
        """Take the type of cells that are no texts; moments before the year 1 or after 9999 stay categories."""
        if self.declared or self.known == "categorical" or (self.moments and _beyond_calendar(column)):
            self.known = "categorical"
        else:
            self.known = values.type_of(self.name, kind)

    def update_digits(self, column: pa.Array) -> None:
        """Check for a column that float64 rounds whether all numbers are integers, and which type holds them."""
        if not self.rounded or not self.all_integers:
            return
        digits, others = digits_of(column), not_digits(column)
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


def _beyond_calendar(moments: pa.Array) -> bool:
    return bool(in_calendar(seconds_of(moments)).null_count > moments.null_count)
