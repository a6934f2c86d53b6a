"""What the head of a request says, looked up in what the server read: an object over it takes longer."""

from collections.abc import Iterable

from starlette.types import Scope

IDEMPOTENCY_HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header of a ``name`` in small letters; None where there is none."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def told_twice(names: Iterable[bytes]) -> bool:
    """Return whether headers tell a body's length in two ways, so that two servers could see two requests in it."""
    return {b"content-length", b"transfer-encoding"} <= set(names)
