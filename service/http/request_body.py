"""The body of a request that is read as a whole."""

from starlette.requests import ClientDisconnect, Request


async def whole_body(request: Request) -> bytes:
    """Return the body. It is read once: the request keeps no copy.

    Raises:
        ClientDisconnect: the caller left before it was there.
    """
    pieces: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
