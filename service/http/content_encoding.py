"""Content-Encoding gzip and deflate of bodies in memory."""

import zlib

from service.errors import BodyTooLarge, NotAcceptable, UnsupportedMediaType
from service.http.negotiation import choose
from worker.contracts.errors import UnreadableTable

WINDOWS = {"gzip": 31, "deflate": 15}
"""``wbits`` of zlib. Deflate is the zlib format (RFC 9110, 8.4.1.2)."""
MIN_BYTES = 1024
"""Shorter answers are not compressed."""
LEVEL = 1
"""Higher levels take several times as long and hardly shrink floats."""


def decoded(body: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """Return a body without its Content-Encoding.

    Raises:
        UnsupportedMediaType: the encoding is none of gzip, deflate and identity.
        UnreadableTable: the body is not valid in that encoding.
        BodyTooLarge: the decompressed body is longer than ``max_bytes``.
    """
    name = (encoding or "identity").strip().lower()
    if name == "identity":
        return body
    if name not in WINDOWS:
        raise UnsupportedMediaType(f"the Content-Encoding {name!r} is not supported; send gzip, deflate or none")
    reader = zlib.decompressobj(WINDOWS[name])
    try:
        plain = reader.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise UnreadableTable(f"the body is not valid {name}, as its Content-Encoding says: {error}") from error
    if len(plain) > max_bytes:
        raise BodyTooLarge(f"the body is longer than {max_bytes} bytes once decompressed")
    if not reader.eof or reader.unused_data:
        raise UnreadableTable(f"the body is not one whole {name} stream, as its Content-Encoding says")
    return plain


def encoded(body: bytes, accept_encoding: str | None) -> tuple[bytes, str | None]:
    """Return a body in the preferred encoding of the client, and the encoding; None if it is not encoded."""
    if len(body) < MIN_BYTES or not accept_encoding:
        return body, None
    try:
        name = choose(accept_encoding, tuple(WINDOWS), "Accept-Encoding")
    except NotAcceptable:
        return body, None
    writer = zlib.compressobj(LEVEL, wbits=WINDOWS[name])
    return writer.compress(body) + writer.flush(), name
