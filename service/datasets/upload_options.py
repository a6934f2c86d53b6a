"""What a caller says of a table that is sent: in the query, or in the fields of a form."""

import json
from collections.abc import Iterable
from email.message import Message
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Query
from pydantic import AfterValidator, Field, StringConstraints, ValidationError

from service.http.validation_errors import field_errors
from worker.contracts.base import Contract
from worker.contracts.errors import InvalidRequest, pointer
from worker.tables.close_names import shown
from worker.tables.media import TEXTS

Name = Annotated[
    str | None,
    Query(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", description="What to call the dataset."),
]
HeaderRow = Annotated[
    bool | None,
    Query(
        description="CSV and TSV: whether the first row holds the names. Without them columns are named column_1, "
        "column_2, … Default: it does; a first row that looks like data is refused."
    ),
]
MAX_WORDS_LENGTH = 200
"""Of all words together: every column of a dataset and of a model names them."""


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
        "Default: NA, N/A, n/a, #N/A, <NA>, NaN, nan, NaT, null, NULL, None and ?.",
    ),
]
LISTS = ("missing",)
"""Options that may be told several times."""


class UploadOptions(Contract):
    """The options of an upload.

    ``header``: whether the first row of a text holds the names. ``missing``: the words that mean no value.
    """

    name: Name = Field(default=None)
    header: HeaderRow = Field(default=None)
    missing: Missing = Field(default=None)

    @property
    def missing_words(self) -> tuple[str, ...] | None:
        """The words that mean no value, each once, in one order; None where nothing was said."""
        return None if self.missing is None else tuple(sorted(set(self.missing)))

    def media_type(self, media_type: str) -> str:
        """Return the type of a body with what was said of how to read it, as parameters.

        The same bytes read in another way are another dataset. ``header`` is such a parameter in RFC 4180.
        """
        if self.header is not None:
            media_type += f";header={'present' if self.header else 'absent'}"
        if self.missing is not None:
            media_type += f";missing={quote(json.dumps(self.missing_words))}"
        return media_type


def with_parameters(options: UploadOptions, content_type: str) -> UploadOptions:
    """Return the options of a query, and those of a Content-Type that the query does not name: see ``media_type``.

    Raises:
        InvalidRequest: a parameter has no value of its option.
    """
    message = Message()
    message["content-type"] = content_type
    given = {name.lower(): str(value) for name, value in message.get_params(failobj=[])[1:]}
    told: dict[str, object] = options.model_dump(exclude_none=True)
    try:
        if "header" in given:
            told.setdefault("header", {"present": True, "absent": False}.get(given["header"].lower(), given["header"]))
        if "missing" in given:
            told.setdefault("missing", json.loads(unquote(given["missing"])))
        return UploadOptions.model_validate(told)
    except ValueError as error:
        raise InvalidRequest.at(
            "header:content-type",
            f"the parameters of the Content-Type {shown(content_type)!r} are none of an upload: header=present or "
            "absent, missing with a list of words in JSON, percent-encoded",
        ) from error


def with_fields(options: UploadOptions, fields: Iterable[tuple[str, str]]) -> UploadOptions:
    """Return the options of a query and of the fields of a form together.

    Raises:
        InvalidRequest: a field is no option or has no value of it, or it is told twice.
    """
    told: dict[str, object] = options.model_dump(exclude_none=True)
    for name, value in fields:
        if name in LISTS and isinstance(told.setdefault(name, []), list):
            told[name].append(value)  # type: ignore[attr-defined]
            continue
        if name in told:
            raise InvalidRequest.at(pointer(name), f"the field {shown(name)!r} of the form is told twice; tell it once")
        told[name] = value
    try:
        return UploadOptions.model_validate(told)
    except ValidationError as error:
        errors = tuple(field_errors(told, error.errors(include_url=False)))
        raise InvalidRequest(f"{errors[0].pointer}: {errors[0].message}", errors=errors) from error


def check_header(header: bool | None, media_type: str) -> None:
    """See that ``header`` is told of a text alone.

    Raises:
        InvalidRequest: the form of the table has names of its own.
    """
    if header is not None and media_type not in TEXTS:
        raise InvalidRequest.at("query:header", f"header is for {' and '.join(TEXTS)}, not {media_type}")
