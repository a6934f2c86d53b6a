"""The canonical text of ISO 8601 dates and times as categories."""

import re
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

DAY = 86_400
TIME = re.compile(r"([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?")
MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"(?:[T ]([0-9]{2}:[0-9]{2})(?::([0-9]{2})(?:\.([0-9]+))?)?(Z|[+-][0-9]{2}:?[0-9]{2}(?::?[0-9]{2})?)?)?"
)


def seconds_of(moments: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return timestamps or dates of any unit and zone as float64 seconds."""
    kind = moments.type
    if pa.types.is_date32(kind):
        return pc.multiply(moments.cast(pa.int32()).cast(pa.float64()), float(DAY))
    units = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
    unit = 1e3 if pa.types.is_date64(kind) else units[kind.unit]
    return pc.divide(moments.cast(pa.int64()).cast(pa.float64(), safe=False), unit)


def is_date(kind: pa.DataType) -> bool:
    """Return whether an Arrow type holds dates, with or without a time."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def moment_text(text: str) -> str:
    """Return the canonical text of an ISO 8601 date or time; other texts unchanged.

    It does not depend on the time unit, midnight is only the date, and datetimes with an offset are in UTC.
    """
    match = MOMENT.fullmatch(text)
    if match is None:
        time = TIME.fullmatch(text)
        return text if time is None else _clock(*time.groups())
    date, minutes, seconds, fraction, zone = match.groups()
    clock = _clock(minutes or "00:00", seconds, None)
    fraction = (fraction or "").rstrip("0")
    if zone is not None and zone != "Z":
        try:
            moment = datetime.fromisoformat(f"{date}T{clock}{zone}").astimezone(UTC)
        except (ValueError, OverflowError):
            return text
        date, clock = moment.date().isoformat(), moment.time().isoformat()
    if clock == "00:00:00" and not fraction and zone is None:
        return date
    return f"{date} {clock}{'.' if fraction else ''}{fraction}{'Z' if zone else ''}"


def _clock(minutes: str, seconds: str | None, fraction: str | None) -> str:
    fraction = (fraction or "").rstrip("0")
    return f"{minutes}:{seconds or '00'}{'.' if fraction else ''}{fraction}"
