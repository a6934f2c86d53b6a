"""Dispatch predict and infer without FastAPI's dependency solving."""

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

from service.http.pagination import MAX_NAME_LENGTH
from service.runtime.context import get_context


class DirectRoute(APIRoute):
    """A POST whose function takes context, request and the texts of the path, and returns the answer.

    Requests with a query take FastAPI's usual way, which validates them.
    """

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose method and path are those of the route."""
        named = scope["path_params"]
        if (
            scope["method"] != "POST"
            or scope["query_string"]
            or any(len(text) > MAX_NAME_LENGTH for text in named.values())
        ):
            await super().handle(scope, receive, send)
            return
        request = Request(scope, receive, send)
        response: Response = await self.endpoint(get_context(request), request, **named)
        await response(scope, receive, send)
