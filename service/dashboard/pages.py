"""What all pages share: templates, rendering, and error pages."""

import json
from collections.abc import Callable, Coroutine
from typing import Any

import jinja2
import structlog
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from markupsafe import Markup, escape
from sqlalchemy.exc import OperationalError
from starlette.types import Scope

from service.dashboard import formats
from service.errors import NotAcceptable
from service.http.caller import ANYBODY, Caller
from service.http.negotiation import choose
from service.http.problems import status_of
from worker.contracts.errors import FactRFMError
from worker.contracts.keys import Scope as KeyScope
from worker.contracts.resources.leaves import leaf_error
from worker.contracts.validation import how_chosen, in_words, selection_notes

log = structlog.get_logger()

TITLES = {401: "Not signed in", 403: "Not allowed", 404: "Not here", 409: "Not now", 503: "Out of reach"}


def keep_carriage_returns(value: Any) -> Any:
    """Escape carriage returns, which a browser would drop from HTML."""
    if isinstance(value, str) and "\r" in value and not isinstance(value, Markup):
        return Markup(str(escape(value)).replace("\r", "&#13;"))  # noqa: S704 - escaped before
    return value


templates = jinja2.Environment(
    loader=jinja2.PackageLoader("service.dashboard"),
    autoescape=True,
    finalize=keep_carriage_returns,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters |= {
    "number": formats.number,
    "score": formats.score,
    "percent": formats.percent,
    "size": formats.size,
    "duration": formats.duration,
    "part_name": formats.part_name,
    "parts_name": formats.parts_name,
    "moment": formats.moment,
    "short": formats.short,
    "words": formats.words,
    "phrase": formats.phrase,
    "explained": formats.explained,
    "option": formats.option,
    "weights": formats.class_weight_text,
    "leaf_error": leaf_error,
    "chosen": in_words,
    "how_chosen": how_chosen,
    "selection_notes": selection_notes,
    "document": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
}


class PageRoute(APIRoute):
    """A route whose errors are pages instead of problem documents."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with errors turned into pages."""
        handler = super().get_route_handler()

        async def page(request: Request) -> Response:
            try:
                return await handler(request)
            except FactRFMError as error:
                if status_of(error) == 500:
                    log.error("service fault", code=error.code, detail=error.detail)
                return error_page(request, status_of(error), error.detail)
            except RequestValidationError:
                return error_page(request, 404, "This address holds something that cannot be read.")
            except OperationalError as error:
                log.warning("database out of reach", error=type(error).__name__)
                return error_page(request, 503, "The database cannot be reached right now. Try again in a moment.")

        return page


class Static(StaticFiles):
    """Scripts and styles. Browsers revalidate their copies, because the service may have been updated."""

    def file_response(self, full_path: Any, stat_result: Any, scope: Scope, status_code: int = 200) -> Response:
        """Return the file with ``Cache-Control: no-cache``."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers["Cache-Control"] = "no-cache"
        return response


def page_router() -> APIRouter:
    """Return a router for pages, which are not in the OpenAPI document."""
    return APIRouter(include_in_schema=False, route_class=PageRoute, default_response_class=HTMLResponse)


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return the page of ``template`` with ``values``. ``names``: of models by id, for predict jobs."""
    caller: Caller = getattr(request.state, "caller", ANYBODY)
    values.setdefault("names", {})
    text = templates.get_template(template).render(
        caller=caller,
        signed_in=caller.key is not None,
        may_write=caller.may(KeyScope.WRITE),
        path=request.url.path,
        **values,
    )
    return HTMLResponse(text, status, {"Cache-Control": "no-store"})


def error_page(request: Request, status: int, detail: str) -> HTMLResponse:
    """Return an error page."""
    return render(request, "error.html", status, title=TITLES.get(status, "That did not work"), detail=detail)


def missing_page(request: Request, path: str) -> Response | None:
    """Return the page for status 404; None for API paths and for clients that do not prefer HTML."""
    if request.url.path.split("/")[1] in ("v1", "v2"):
        return None
    try:
        liked = choose(request.headers.get("accept"), ("application/problem+json", "text/html"))
    except NotAcceptable:
        return None
    return error_page(request, 404, f"There is nothing at {path}.") if liked == "text/html" else None
