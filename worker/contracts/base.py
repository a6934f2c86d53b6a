"""The base of every contract: frozen, closed, and with finite numbers in JSON."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer, model_validator

MAX_COLUMNS = 20_000
"""Limit of columns of a table."""
MAX_ENCODED_COLUMNS = 4096
"""Default limit of encoded columns: M has as many rows and columns."""
MAX_FIELDS = 200
"""More than any contract has: a larger object is refused as a whole, not field by field."""


DECIMAL = (
    "numeric only: the decimal mark of numbers that are written with signs, such as 1.200,50 € or 12 %. Null where all "
    "are plain numbers."
)
DATE_ORDER = (
    "datetime only: what comes first in dates such as 03/04/2024, with the year last. Null where it is first in all."
)
MISSING_WORDS = (
    "The words that mean no value, as the upload said; blank texts do in any case. Null: the usual ones, as NA and ?."
)


class Contract(BaseModel):
    """A frozen value that refuses unknown fields. Not-a-number and infinities become null in JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_fields(cls, data: Any) -> Any:
        if isinstance(data, dict) and len(data) > MAX_FIELDS:
            raise ValueError(f"the object has {len(data)} fields; no object here has more than {MAX_FIELDS}")
        return data


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _rfc3339(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


UtcDatetime = Annotated[datetime, AfterValidator(_utc), PlainSerializer(_rfc3339, when_used="json")]
"""A moment in UTC; RFC 3339 with milliseconds in JSON."""

ColumnType = Literal["numeric", "categorical", "boolean", "datetime", "text"]
DecimalMark = Literal[".", ","]
DateOrder = Literal["day", "month"]
Task = Literal["regression", "classification"]
Label = bool | int | float | str
"""A class as the user wrote it."""
