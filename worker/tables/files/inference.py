"""Which type each column of a file has, by all of its cells, and how it is stored."""

import sys
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from worker.contracts.base import ColumnType
from worker.contracts.errors import TableTooLarge, UnreadableTable
from worker.tables import values, written
from worker.tables.files.header import check_header, holds_name, looks_alike
from worker.tables.files.raw_table import RawTable

WIDE_INTEGERS = (pa.int64(), pa.uint64())


@dataclass(frozen=True)
class ColumnForm:
    """The type of a column, and the Arrow type in which it is stored; ``keeps_texts``: with texts beside it."""

    type: ColumnType
    stored: pa.DataType
    keeps_texts: bool = False

    def of(self, name: str, column: pa.Array) -> pa.Array:
        """Return a column of a file as it is stored.

        Raises:
            UnreadableTable: a text holds a NUL character, or a value has no place in the type.
        """
        if self.stored in WIDE_INTEGERS:
            return _digits(column).cast(self.stored)
        if self.type == "categorical":
            texts = values.typed(name, column, "categorical")
            return texts.dictionary_encode() if self.stored == values.DECLARED else texts
        if self.type == "numeric" and self.stored != values.ARROW_TYPES["numeric"]:
            return values.without_nan(column.cast(self.stored))
        if values.is_text(values.decoded(column).type):
            column = values.parsed(values.without_missing(values.typed(name, column, "categorical")), self.type)
        return values.typed(name, column, self.type)

    def fields(self, name: str) -> list[pa.Field]:
        """Return the fields of what ``parts`` returns."""
        own = pa.field(name, self.stored)
        return [own, pa.field(written.texts_of(name), written.TYPE)] if self.keeps_texts else [own]

    def parts(self, name: str, column: pa.Array) -> list[pa.Array]:
        """Return a column of a file as it is stored, and the texts that are kept beside it.

        Raises:
            UnreadableTable: see ``of``.
        """
        own = self.of(name, column)
        if not self.keeps_texts:
            return [own]
        texts = values.typed(name, column, "categorical")
        return [own, written.differing(texts, own).dictionary_encode()]


def column_forms(raw: RawTable, max_cells: int) -> list[ColumnForm]:
    """Return the form of each column: of texts that are not declared categories, what all of them could be.

    Raises:
        UnreadableTable: the table has no rows, or its first row is data that was taken for names.
        TableTooLarge: more than ``max_cells`` cells.
    """
    looks = None
    rows = 0
    for batch in raw.batches():
        if looks is None:
            looks = [_Look(name, name in raw.declared, raw.guessed_header, raw.missing) for name in raw.names]
        rows += len(batch[0])
        check_cells(rows, len(raw.names), max_cells)
        for look, column in zip(looks, batch, strict=True):
            look.at(column)
        if all(look.settled for look in looks):
            break
    if looks is None:
        raise UnreadableTable("the table has no rows")
    types = [look.type for look in looks]
    if raw.guessed_header:
        repetitive = sum(bool(look.repetitive) and look.type == "categorical" for look in looks)
        check_header(raw.names, types, [look.repeated for look in looks], repetitive, [look.alike for look in looks])
    if any(look.rounded for look in looks):
        for batch in raw.batches():
            for look, column in zip(looks, batch, strict=True):
                look.at_digits(column)
    return [look.form for look in looks]


def typed_table(table: pa.Table) -> tuple[pa.Table, dict[str, ColumnType]]:
    """Return a table in memory as an uploaded one is stored, and the type of each column.

    Raises:
        UnreadableTable: a column holds what has no place in a table.
    """
    declared = frozenset(field.name for field in table.schema if pa.types.is_dictionary(field.type))
    columns = [_contiguous(column) for column in table.columns]
    forms = column_forms(RawTable(table.column_names, lambda: iter([columns]), declared), sys.maxsize)
    typed = {name: form.of(name, column) for name, form, column in zip(table.column_names, forms, columns, strict=True)}
    return pa.table(typed), dict(zip(typed, (form.type for form in forms), strict=True))


def _contiguous(column: pa.ChunkedArray) -> pa.Array:
    found = column.combine_chunks()
    if isinstance(found, pa.ChunkedArray):
        return pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], found.type)
    return found


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
class _Look:
    """What the cells of a column have shown so far."""

    name: str
    declared: bool
    guessed: bool
    missing: tuple[str, ...] | None
    known: ColumnType | None = None
    number: bool = True
    boolean: bool = True
    seen: bool = False
    repetitive: bool | None = None
    repeated: bool = False
    alike: bool | None = None
    wide: bool = False
    rounded: bool = False
    differ: bool = False
    digits_differ: bool = False
    plain: pa.DataType = values.ARROW_TYPES["numeric"]
    integers: set[pa.DataType] = field(default_factory=lambda: set(WIDE_INTEGERS))
    whole: bool = True
    all_digits: bool = True
    all_told: bool = True

    @property
    def names(self) -> bool:
        """Whether all are written digit by digit, or float64 does not give one of them back."""
        return self.all_digits or not self.all_told

    @property
    def settled(self) -> bool:
        """Whether no further cell can change what is known."""
        return self.known is not None and not self.wide

    @property
    def type(self) -> ColumnType:
        if self.known is not None:
            return self.known
        return "numeric" if self.number else "boolean" if self.boolean and self.seen else "categorical"

    @property
    def form(self) -> ColumnForm:
        if self.rounded and self.type == "numeric":
            stored = next((kind for kind in WIDE_INTEGERS if kind in self.integers), None)
            if stored is not None:
                return ColumnForm("numeric", stored, self.digits_differ)
            if self.whole and self.names:
                # integers of so many digits are names of something, of which each digit counts
                return ColumnForm("categorical", pa.string())
        if self.type == "categorical":
            # texts that are values by a caller's word stay so
            as_they_are = self.declared or self.missing is not None
            return ColumnForm(self.type, values.DECLARED if as_they_are else values.ARROW_TYPES[self.type])
        return ColumnForm(self.type, self.plain if self.type == "numeric" else pa.bool_(), self.differ)

    def at(self, column: pa.Array) -> None:
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
        if not self.number and not self.boolean:
            return
        cells = values.typed(self.name, column, "categorical")
        texts = values.without_missing(cells, self.missing)
        self.seen = self.seen or texts.null_count < len(texts)
        self.boolean = self.boolean and values.could_be_boolean(texts)
        if self.number:
            # a code, such as that of a place, begins with zeros that count
            numbers = None if values.any_code(texts) else values.numbers(texts)
            if numbers is not None and self.missing is not None and values.any_nan(numbers):
                # NaN is a word, too, and not one of those that a caller named
                numbers = None
            self.number = numbers is not None
            self.rounded = self.rounded or (numbers is not None and _is_rounded(numbers))
        if not self.differ and (self.number or self.boolean):
            made = numbers if self.number else values.parsed(texts, "boolean")
            self.differ = written.any_differs(cells, made)

    def at_digits(self, column: pa.Array) -> None:
        """Look at a column whose numbers float64 rounds: are all of them integers, and which type holds them?"""
        if not self.rounded or not self.whole:
            return
        digits, others = _digits(column), _not_digits(column)
        self.whole = bool(pc.all(pc.match_substring_regex(digits.drop_null(), values.INTEGERS), min_count=0).as_py())
        self.all_digits = self.all_digits and not others
        self.all_told = self.all_told and all(map(values.float_tells, others))
        if not self.whole:
            self.integers = set()
        for kind in set(self.integers):
            try:
                made = digits.cast(kind)
            except pa.ArrowInvalid:
                self.integers.discard(kind)
            else:
                if self.known is None and not self.digits_differ:
                    self.digits_differ = written.any_differs(values.typed(self.name, column, "categorical"), made)


def _digits(column: pa.Array) -> pa.Array:
    """Return whole numbers as text, digit by digit and without a plus sign, which Arrow does not read.

    Missing ones are null, and what is no whole number stays as it is written.
    """
    texts = _written(column)
    plain = pc.match_substring_regex(texts, values.INTEGERS).fill_null(True)
    if not pc.all(plain, min_count=0).as_py():
        coded = texts.dictionary_encode()
        spelled = [values.whole_digits(text) or text for text in coded.dictionary.to_pylist()]
        texts = pc.if_else(plain, texts, pa.array(spelled, pa.string()).take(coded.indices))
    return pc.replace_substring_regex(texts, r"^\+([0-9])", r"\1")


def _not_digits(column: pa.Array) -> list[str]:
    """Return the numbers that are not written digit by digit, each once."""
    texts = _written(column)
    found: list[str] = texts.filter(pc.invert(pc.match_substring_regex(texts, values.INTEGERS))).unique().to_pylist()
    return [text for text in found if text is not None]


def _written(column: pa.Array) -> pa.Array:
    return values.without_missing(values.decoded(column).cast(pa.string()))


def _is_rounded(numbers: pa.Array) -> bool:
    floats = numbers if pa.types.is_floating(numbers.type) else numbers.cast(pa.float64(), safe=False)
    most = pc.max(pc.abs(floats)).as_py()
    return most is not None and bool(most >= values.EXACT_INTEGERS)
