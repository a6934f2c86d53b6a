"""The way of requests that come very often: past the framework's routing, which takes longer than all else before them.

A request that leaves the framework nothing to check or to refuse goes straight to its route's function. All others, and
all while spans are recorded, which the framework does, take its own way.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.context import get_context
from service.problems import answered

LONGEST_NAME = 200
"""Of a text in the path; longer ones are refused by the framework."""

Further = Callable[[Scope], Mapping[str, Any] | None]


def _nothing(scope: Scope) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True)
class Often:
    """A POST whose route's function takes context, request, texts of the path, and what ``further`` finds in the head.

    ``further`` returns None where the framework has to look.
    """

    route: APIRoute
    further: Further = _nothing

    @classmethod
    def of(
        cls, routes: Iterable[Any], function: Callable[..., Awaitable[Response]], further: Further = _nothing
    ) -> "Often":
        """Return the short way to the one of ``routes`` whose function it is."""
        return cls(next(route for route in routes if getattr(route, "endpoint", None) is function), further)


class Shortcut:
    """Middleware, innermost."""

    def __init__(self, app: ASGIApp, often: Iterable[Often]) -> None:
        self._app = app
        self._often = {one.route.path.rpartition("/")[2]: one for one in often}
        """By the end of the path."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._find(scope) if scope["type"] == "http" else None
        if found is None:
            await self._app(scope, receive, send)
            return
        often, named = found
        scope["route"] = often.route
        request = Request(scope, receive, send)
        try:
            answer = await often.route.endpoint(get_context(request), request, **named)
        except Exception as error:
            answer = answered(request, error)
        await answer(scope, receive, send)

    def _find(self, scope: Scope) -> tuple[Often, dict[str, Any]] | None:
        path = scope["path"]
        often = self._often.get(path.rpartition("/")[2])
        if (
            often is None
            or scope["method"] != "POST"
            or scope["query_string"]
            or scope.get("root_path")
            or scope.get("fastapi.telemetry") is not None
        ):
            return None
        match = often.route.path_regex.fullmatch(path)
        further = None if match is None else often.further(scope)
        if match is None or further is None or any(len(text) > LONGEST_NAME for text in match.groups()):
            return None
        return often, {**match.groupdict(), **further}
