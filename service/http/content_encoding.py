"""Content-Encoding gzip and deflate of bodies that are in memory."""

import zlib

from service.errors import BodyTooLarge, NotAcceptable, UnsupportedMediaType
from service.http.negotiation import choose
from worker.contracts.errors import UnreadableTable

WINDOWS = {"gzip": 31, "deflate": 15}
"""zlib's names for the two wrappings. Deflate is zlib's own (RFC 9110, 8.4.1.2)."""
WORTH_IT = 1024
"""Shorter answers are sent plain: their headers are longer than what would be saved."""
LEVEL = 1
"""Floats hardly get shorter at higher levels, which take several times as long."""


def decoded(body: bytes, encoding: str | None, max_bytes: int) -> bytes:
    """Return a body as it was before its Content-Encoding.

    Raises:
        UnsupportedMediaType: the encoding is none of gzip, deflate and identity.
        UnreadableTable: the body is not what the encoding says.
        BodyTooLarge: it is longer than ``max_bytes`` once it is decompressed.
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
    """Return a body in the encoding that a caller likes best, and its name; None where it is plain."""
    if len(body) < WORTH_IT or not accept_encoding:
        return body, None
    try:
        name = choose(accept_encoding, tuple(WINDOWS), "Accept-Encoding")
    except NotAcceptable:
        return body, None
    writer = zlib.compressobj(LEVEL, wbits=WINDOWS[name])
    return writer.compress(body) + writer.flush(), name
