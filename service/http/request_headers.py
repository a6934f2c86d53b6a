"""Headers of a request, read from the ASGI scope, because a Headers object is slow."""

from collections.abc import Iterable

from starlette.types import Scope

IDEMPOTENCY_HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255


def header(scope: Scope, name: bytes) -> str | None:
    """Return the first header with this lower-case ``name``, or None."""
    for key, value in scope["headers"]:
        if key == name:
            text: str = value.decode("latin-1")
            return text
    return None


def has_two_lengths(names: Iterable[bytes]) -> bool:
    """Return whether headers give the body's length twice, which allows request smuggling."""
    return {b"content-length", b"transfer-encoding"} <= set(names)
