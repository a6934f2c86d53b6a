"""Tables as callers see them."""

from pydantic import Field

from worker.contracts.base import (
    DATE_ORDER,
    DECIMAL,
    MISSING_WORDS,
    ColumnType,
    Contract,
    DateOrder,
    DecimalMark,
    Label,
    UtcDatetime,
)

MAX_TOP_LENGTH = 100
CUT_MARK = "…"
"""Ends frequent texts that are cut to the maximal length."""


class TopValue(Contract):
    """A frequent value of a column of categories, texts or truth values."""

    value: Label
    count: int

    @property
    def cut(self) -> bool:
        """Whether the value is only the beginning of a longer one."""
        return isinstance(self.value, str) and len(self.value) == MAX_TOP_LENGTH and self.value.endswith(CUT_MARK)


class Column(Contract):
    """A column of a dataset, with statistics of its values."""

    name: str
    type: ColumnType
    index: bool = Field(False, description="It is the index of the data frame that was sent: no feature unless named.")
    missing: int = Field(description="Rows without a value.")
    first_missing: int | None = Field(
        None, description="The first row without a value, from 1. Null where there is none, and in datasets of before."
    )
    missing_words: tuple[str, ...] | None = Field(None, description=MISSING_WORDS)
    decimal: DecimalMark | None = Field(None, description=DECIMAL)
    date_order: DateOrder | None = Field(None, description=DATE_ORDER)
    inferred_from: str | None = Field(
        None,
        description="What of its cells told the type: 'numbers', 'money', 'percent', 'thousands', 'leading zeros', "
        "'declared category', 'dates', 'texts', 'sentences' and so on. Null in datasets of before.",
    )
    distinct: int = Field(description="Distinct values, the missing one not counted.")
    min: float | str | None = Field(
        None, description="numeric only, over finite values; likewise mean, std, max. datetime: the first, in ISO 8601."
    )
    mean: float | None = None
    std: float | None = None
    max: float | str | None = Field(None, description="numeric, and of datetime the last.")
    infinite: int = Field(0, description="numeric only: rows with an infinite value.")
    integer: bool = Field(False, description="numeric only: every value is a whole number.")
    top: list[TopValue] | None = Field(None, description="categorical, text and boolean: the most frequent values.")
    not_numbers: list[TopValue] | None = Field(
        None,
        description="categorical only, where most values are numbers, or would be without a decimal comma, marks of "
        "thousands or a sign of money: the values that keep the column from being numeric.",
    )


class DroppedColumn(Contract):
    """A column that is not taken, and why."""

    column: str
    reason: str


class Reading(Contract):
    """How the text or the workbook of a dataset was read, as the caller said or as its cells tell."""

    separator: str | None = Field(description="Between two cells. Null for workbooks.")
    encoding: str | None = Field(description="Of the characters. Null for workbooks.")
    sheet: str | None = Field(None, description="Of a workbook: the name of the sheet that is the table.")
    header: bool = Field(description="Whether the first row holds the names. If not, they are column_1, column_2, ….")
    skipped_rows: int = Field(description="Lines or rows in front of the table, such as a title.")
    renamed: dict[str, str] = Field(
        description="Column → its name in the file, where that is missing, or is an earlier column's too."
    )
    dropped_columns: list[DroppedColumn] = Field(description="Columns without a name and without a value.")


class Dataset(Contract):
    """An immutable table."""

    id: str
    name: str
    sha256: str = Field(description="Of the uploaded bytes, after decompression.")
    bytes: int
    media_type: str
    rows: int
    columns: list[Column]
    created_at: UtcDatetime
    reading: Reading | None = Field(
        None, description="Of texts and workbooks. Null for other formats, and in datasets of before."
    )
    remarks: list[str] | None = Field(
        None,
        description="What should be looked at before a fit, a sentence each: columns that name rows, what they cost, "
        "numbers that were read as texts. Null in lists.",
    )


class Histogram(Contract):
    """Number of rows of a numeric column between each two ``edges``, of finite values only."""

    column: str
    edges: list[float] = Field(description="One more than counts. The last bin holds its right edge too.")
    counts: list[int]
    missing: int
    infinite: int


class DatasetRows(Contract):
    """The first rows of a dataset."""

    columns: list[str]
    rows: list[list[Label | None]]
