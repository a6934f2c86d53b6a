"""Parameters and media types shared by several routes."""

from typing import Annotated

from fastapi import Header, Path, Query
from pydantic import Field

from service.http.pagination import MAX_NAME_LENGTH

SAFETENSORS = "application/vnd.safetensors"
PNG = "image/png"

Ref = Annotated[
    str, Path(description="mdl_…, a name (its default or newest version), or name@version.", max_length=MAX_NAME_LENGTH)
]

HeaderOfRows = Annotated[
    bool | None,
    Query(
        alias="header",
        description="CSV, TSV and XLSX: whether the first row holds the names. false for a model that learned from a "
        "file without them: columns are column_1, column_2, … Default: it does.",
    ),
]

Accept = Annotated[str | None, Header(include_in_schema=False)]

MAX_ENCODED_LENGTH = 10_000
"""Of the name of an encoded column, which contains a category."""

Folded = Annotated[
    bool,
    Query(
        description="The matrix over original columns: where one is encoded as several, an entry is the Frobenius norm "
        "of their block."
    ),
]

Columns = Annotated[
    list[Annotated[str, Field(max_length=MAX_ENCODED_LENGTH)]],
    Query(max_length=1000, description="Only these rows and columns, in this order."),
]
