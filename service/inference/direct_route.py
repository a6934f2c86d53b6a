"""Dispatch predict and infer without FastAPI's dependency solving."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from service.http.pagination import MAX_NAME_LENGTH
from service.runtime.context import get_context


class DirectRoute(APIRoute):
    """A route whose endpoint is called with the context, the request and the path parameters.

    Requests with a query take FastAPI's usual way, which validates them.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler."""
        solved = super().get_route_handler()

        async def answer(request: Request) -> Response:
            named = request.path_params
            if request.scope["query_string"] or any(len(text) > MAX_NAME_LENGTH for text in named.values()):
                return await solved(request)
            response: Response = await self.endpoint(get_context(request), request, **named)
            return response

        return answer
