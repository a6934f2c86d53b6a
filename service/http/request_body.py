"""Reading the whole body of a request."""

from starlette.requests import ClientDisconnect, Request


async def whole_body(request: Request) -> bytes:
    """Return the body. It is read once: the request keeps no copy.

    Raises:
        ClientDisconnect: the client left before the body was complete.
    """
    pieces: list[bytes] = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)
