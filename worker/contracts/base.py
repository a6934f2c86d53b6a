"""What every contract has in common: frozen, closed, and finite on the wire."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, PlainSerializer


class Contract(BaseModel):
    """A frozen value that refuses unknown fields. Not-a-number and infinities become null in JSON."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="null", allow_inf_nan=False)


def _utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _rfc3339(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


UtcDatetime = Annotated[datetime, AfterValidator(_utc), PlainSerializer(_rfc3339, when_used="json")]
"""A moment in UTC; RFC 3339 with milliseconds in JSON."""

ColumnType = Literal["numeric", "categorical", "boolean"]
Task = Literal["regression", "classification"]
Label = bool | int | float | str
"""A class as the user wrote it."""
