"""Options of an upload: from the query, from parameters of the Content-Type, or from form fields."""

import json
from collections.abc import Iterable, Mapping
from email.message import Message
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Query
from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from service.http.validation_errors import field_errors, invalid_request
from worker.contracts.base import Contract, DecimalMark
from worker.contracts.errors import InvalidRequest, pointer
from worker.contracts.reading import ReadingOptions
from worker.tables.close_names import shown
from worker.tables.delimited.text_encoding import ENCODINGS, known_encoding
from worker.tables.media import TEXTS, WITH_HEADER, XLSX

Name = Annotated[
    str | None,
    Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="What to call the dataset."),
]
HeaderRow = Annotated[
    bool | None,
    Query(
        description="CSV, TSV and XLSX: whether the first row holds the names. Without them columns are named "
        "column_1, column_2, … Default: it does unless it looks like data."
    ),
]


def _separator(text: str) -> str:
    mark = "\t" if text in ("\\t", "tab") else text
    if len(mark) != 1 or not mark.isascii() or mark.isalnum() or mark in "\"'\\\r\n\0.+-":
        raise ValueError("a separator is one character, such as ; or | or a tab, and no letter, digit, quote, . + or -")
    return mark


def _text_encoding(name: str) -> str:
    known = known_encoding(name)
    if known is None:
        raise ValueError(f"it is none of {', '.join(ENCODINGS)}")
    return known


Separator = Annotated[
    Annotated[str, Field(min_length=1, max_length=3), AfterValidator(_separator)] | None,
    Query(
        description="CSV and TSV: what separates two cells: one character, or 'tab'. A blank means any number of "
        "blanks. Default: it is detected."
    ),
]
TextEncoding = Annotated[
    Annotated[str, Field(min_length=1, max_length=40), AfterValidator(_text_encoding)] | None,
    Query(
        description="CSV and TSV: the encoding of the characters, such as utf-8, cp1252 or shift_jis. Default: it is "
        "detected."
    ),
]
MAX_SHEET_LENGTH = 100
"""Of the name of a sheet; Excel takes 31 characters."""
MAX_WORDS_LENGTH = 200
"""Of all words together: they are stored with every column of a dataset and a model."""


def _short_together(words: list[str]) -> list[str]:
    if sum(map(len, words)) > MAX_WORDS_LENGTH:
        raise ValueError(f"the words have at most {MAX_WORDS_LENGTH} characters together")
    return words


Word = Annotated[str, StringConstraints(strip_whitespace=True, max_length=50, pattern=r"^[^\x00-\x1f\x7f]*$")]
Missing = Annotated[
    Annotated[list[Word], Field(max_length=20), AfterValidator(_short_together)] | None,
    Query(
        description="The words that mean no value, one a parameter; others are values then, and may be classes. A "
        "number stands for all ways to write it. Blank cells mean none in any case. At most 200 characters together. "
        "Default: NA, N/A, n/a, #N/A, <NA>, NaN, nan, NaT, null, NULL, None and ?; in a column of numbers also dashes, "
        "k.A., n.a. and errors of spreadsheets such as #DIV/0!.",
    ),
]
UTF8 = "utf-8"
LISTS = ("missing",)
"""Options that may be repeated."""


Decimal = Annotated[
    DecimalMark | None,
    Query(
        description="The decimal mark of numbers in texts; 1.200,50 € has a comma. Default: the comma where a column "
        "shows it and none shows the point."
    ),
]


Sheet = Annotated[
    Annotated[str, StringConstraints(min_length=1, max_length=MAX_SHEET_LENGTH, pattern=r"^[^\x00-\x1f\x7f]*$")] | None,
    Query(description="XLSX: the name of the sheet that is the table. Default: the first visible one with cells."),
]


class CommonOptions(Contract):
    """Options of an upload, whether it is sent at once or in parts.

    ``header``: whether the first row of a text holds the names. ``missing``: the words that mean no value.
    """

    name: Name = Field(default=None)
    header: HeaderRow = Field(default=None)
    missing: Missing = Field(default=None)
    separator: Separator = Field(default=None)
    decimal: Decimal = Field(default=None)
    sheet: Sheet = Field(default=None)


class UploadOptions(CommonOptions):
    """The options of an upload. ``encoding``: of the characters of a text."""

    encoding: TextEncoding = Field(default=None)

    @property
    def reading(self) -> ReadingOptions:
        """How to read the file; the words that mean no value are sorted, without duplicates."""
        missing = None if self.missing is None else tuple(sorted(set(self.missing)))
        return ReadingOptions(**self.model_dump(exclude={"name", "missing"}), missing=missing)

    def full_media_type(self, media_type: str) -> str:
        """Return the media type with the options as parameters: with other options the same bytes are another dataset.

        The parameters ``header`` and ``charset`` are those of RFC 4180.
        """
        if self.header is not None:
            media_type += f";header={'present' if self.header else 'absent'}"
        if self.missing is not None:
            media_type += f";missing={quote(json.dumps(self.reading.missing))}"
        if self.separator is not None:
            media_type += f";separator={quote(self.separator)}"
        if self.decimal is not None:
            media_type += f";decimal={quote(self.decimal)}"
        if self.encoding is not None:
            media_type += f";charset={self.encoding}"
        if self.sheet is not None:
            media_type += f";sheet={quote(self.sheet)}"
        return media_type


def with_parameters(options: UploadOptions, content_type: str) -> UploadOptions:
    """Return the options of a query, completed by parameters of the Content-Type: see ``full_media_type``.

    Raises:
        InvalidRequest: the value of a parameter is invalid.
    """
    message = Message()
    message["content-type"] = content_type
    parameters = {name.lower(): str(value) for name, value in message.get_params(failobj=[])[1:]}
    values: dict[str, object] = options.model_dump(exclude_none=True)
    try:
        if "header" in parameters:
            header = parameters["header"]
            values.setdefault("header", {"present": True, "absent": False}.get(header.lower(), header))
        if "missing" in parameters:
            values.setdefault("missing", json.loads(unquote(parameters["missing"])))
        if "separator" in parameters:
            values.setdefault("separator", unquote(parameters["separator"]))
        for name in ("decimal", "sheet"):
            if name in parameters:
                values.setdefault(name, unquote(parameters[name]))
        # many clients name utf-8 whatever they send
        is_text = message.get_content_type() in TEXTS
        if is_text and parameters.get("charset", UTF8).lower() not in (UTF8, "utf8"):
            values.setdefault("encoding", parameters["charset"])
        return UploadOptions.model_validate(values)
    except ValueError as error:
        raise InvalidRequest.at(
            "header:content-type",
            f"the parameters of the Content-Type {shown(content_type)!r} are none of an upload: header=present or "
            "absent, missing with a list of words in JSON, percent-encoded, separator, decimal, charset, sheet",
        ) from error


def with_fields(options: UploadOptions, fields: Iterable[tuple[str, str]]) -> UploadOptions:
    """Return the options of a query, completed by form fields.

    Raises:
        InvalidRequest: a field is unknown, invalid, or given twice.
    """
    values: dict[str, object] = options.model_dump(exclude_none=True)
    for name, value in fields:
        if name in LISTS and isinstance(values.setdefault(name, []), list):
            values[name].append(value)  # type: ignore[attr-defined]
            continue
        if name in values:
            raise InvalidRequest.at(pointer(name), f"the field {shown(name)!r} of the form is told twice; tell it once")
        values[name] = value
    try:
        return UploadOptions.model_validate(values)
    except ValidationError as error:
        raise invalid_request(field_errors(values, error.errors(include_url=False))) from error


TAKEN_BY = {
    "header": WITH_HEADER,
    "separator": TEXTS,
    "encoding": TEXTS,
    "text_encoding": TEXTS,
    "sheet": (XLSX,),
}
"""Options that some formats take, and those formats."""


def check_options(options: Mapping[str, object], media_type: str, place: str = "query:") -> None:
    """Check that options of some formats, which the caller gave at ``place``, are given for these only.

    Raises:
        InvalidRequest: one is given for another format.
    """
    for name, formats in TAKEN_BY.items():
        if options.get(name) is not None and media_type not in formats:
            raise InvalidRequest.at(f"{place}{name}", f"{name} is for {' and '.join(formats)}, not {media_type}")
