"""Rules of RFC 9112 that h11 does not enforce, against request smuggling.

h11 accepts bare line feeds, folded lines, control characters in values, a repeated length, and any target. All lines of
heads, chunks and trailers leave its buffer by two methods.
"""

import re

import h11
from h11._receivebuffer import ReceiveBuffer

MAX_HEAD_BYTES = 2**16
"""Of a request's line and headers, and of trailers."""
MAX_CHUNK_LINE_BYTES = 1024
"""Of a chunk's size and extensions."""
STRAY = re.compile(rb"(?<!\r)\n|\r(?=[^\n])|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""A line feed or carriage return inside a line; a control character."""
LENGTHS = re.compile(rb"\r\ncontent-length:([^\r]*)", re.IGNORECASE)
CHUNK_LINE = re.compile(rb"[0-9A-Fa-f]{1,16}(?:;[\t\x20-\x7e\x80-\xff]*)?\r\n")
ABSOLUTE = re.compile(rb"https?://(?P<authority>[^/?#@]+)(?P<rest>[/?].*)?", re.IGNORECASE)
"""A target in absolute form (RFC 9112, 3.2.2), without a user (RFC 9110, 4.2.4)."""
VERSIONS = (b"1.0", b"1.1")


class StrictConnection(h11.Connection):
    """The server side of a connection. ``refusal``: the error of a malformed request."""

    refusal: h11.RemoteProtocolError | None = None

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self._receive_buffer = _StrictBuffer()

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """Return the next event.

        Raises:
            RemoteProtocolError: the request is malformed.
        """
        try:
            event = super().next_event()
            if isinstance(event, h11.Request):
                _check_request(event)
        except h11.RemoteProtocolError as error:
            self.refusal = error
            raise
        return event


class _StrictBuffer(ReceiveBuffer):
    """The bytes not yet parsed. Each byte is searched once."""

    _looked_at = 0

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Return the lines up to the next empty one; None while it is missing."""
        if self._data.startswith(b"\r\n"):
            self._extract(2)
            return []
        end = self._data.find(b"\r\n\r\n", max(0, self._looked_at - 3))
        size = end if end >= 0 else len(self._data)
        if size > MAX_HEAD_BYTES:
            raise h11.LocalProtocolError(f"a head has at most {MAX_HEAD_BYTES} bytes", 431)
        if STRAY.search(self._data, max(0, self._looked_at - 1), size):
            raise h11.LocalProtocolError("lines end in CR LF, and hold no control character")
        if end < 0:
            self._looked_at = size
            return None
        self._looked_at = 0
        block = self._extract(end + 4)[:-4]
        if b"\r\n " in block or b"\r\n\t" in block:
            raise h11.LocalProtocolError("a header is one line")
        lengths = LENGTHS.findall(block)
        if len(lengths) > 1 or (lengths and b"," in lengths[0]):
            raise h11.LocalProtocolError("Content-Length is told once")
        return block.split(b"\r\n")

    def maybe_extract_next_line(self) -> bytearray | None:
        """Return the line before a chunk; None while it is incomplete."""
        line: bytearray | None = super().maybe_extract_next_line()
        if len(self if line is None else line) > MAX_CHUNK_LINE_BYTES:
            raise h11.LocalProtocolError(f"a chunk's size and extensions have at most {MAX_CHUNK_LINE_BYTES} bytes")
        if line is not None and not CHUNK_LINE.fullmatch(line):
            raise h11.LocalProtocolError("a chunk begins with its size in hexadecimal digits")
        return line


def _check_request(request: h11.Request) -> None:
    """Check the version and the target of a request.

    Raises:
        RemoteProtocolError: one of them is not allowed.
    """
    if request.http_version not in VERSIONS:
        raise h11.RemoteProtocolError("a request is of HTTP/1.0 or HTTP/1.1")
    if request.http_version == b"1.0" and any(name == b"transfer-encoding" for name, _ in request.headers):
        raise h11.RemoteProtocolError("a request of HTTP/1.0 has no Transfer-Encoding")
    target = request.target
    known = target.startswith(b"/") or ABSOLUTE.fullmatch(target) or (target == b"*" and request.method == b"OPTIONS")
    if not known or b"#" in target or request.method == b"CONNECT":
        raise h11.RemoteProtocolError("a target is a path or an http address, without a user and a fragment")
