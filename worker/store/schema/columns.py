"""Column types that mean the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, String, TypeDecorator
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeEngine

from worker.contracts.errors import InvalidRequest

Json = JSON
"""JSON text on both: JSONB would not keep the order of keys."""


class UnstorableText(InvalidRequest, DontWrapMixin):
    """A text holds NUL or half a surrogate pair, which PostgreSQL cannot store."""


def storable(text: str) -> bool:
    """Return whether both databases can store ``text``."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


class Text(TypeDecorator[str]):
    """Text that compares byte by byte, so that ids sort alike on both databases.

    Raises:
        UnstorableText: when a value holds NUL or half a surrogate pair, on both databases.
    """

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String(collation="C") if dialect.name == "postgresql" else String())

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is not None and not storable(value):
            raise UnstorableText(f"the text {value[:80]!r} holds NUL or half a surrogate pair; leave that out")
        return value


class UtcDateTime(TypeDecorator[datetime]):
    """A datetime in UTC with microseconds. Naive datetimes are refused."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"a moment needs its time zone: {value!r}")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
