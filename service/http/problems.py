"""Errors as problem documents (RFC 9457), with one table of their statuses."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from service.errors import (
    AmbiguousLength,
    BodyTooLarge,
    BodyTooSlow,
    Forbidden,
    InvalidTarget,
    MisdirectedRequest,
    NotAcceptable,
    NotReady,
    PreconditionFailed,
    RangeNotSatisfiable,
    TooManyFollowers,
    Unauthorized,
    UnsupportedMediaType,
)
from service.http.validation_errors import MAX_PLACES, field_errors
from worker.contracts import errors
from worker.store.database import is_full

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
MAX_PATH_LENGTH, MAX_METHOD_LENGTH = 500, 20
"""Of parts of the request that are repeated in answers."""
LASTING = "lasting"
"""Name in a request's state: whether its error is lasting."""
RETRY_AFTER = {409: "1", 429: "5", 503: "2", 507: "30"}
STATUS: Mapping[type[errors.FactRFMError], int] = {
    errors.InvalidRequest: 422,
    errors.UnreadableTable: 422,
    errors.TableTooLarge: 422,
    errors.KeyReused: 422,
    errors.NotInstalled: 422,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooManyUploads: 429,
    errors.QueueFull: 429,
    errors.RateLimited: 429,
    errors.PredictionsBusy: 429,
    errors.StorageFull: 507,
    Unauthorized: 401,
    Forbidden: 403,
    AmbiguousLength: 400,
    InvalidTarget: 400,
    MisdirectedRequest: 421,
    BodyTooSlow: 408,
    BodyTooLarge: 413,
    TooManyFollowers: 429,
    UnsupportedMediaType: 415,
    NotReady: 503,
    NotAcceptable: 406,
    PreconditionFailed: 412,
    RangeNotSatisfiable: 416,
}
"""Other errors are faults of the service: 500."""


class FieldProblem(BaseModel):
    pointer: str = Field(description="JSON pointer into the body, or the name of a query parameter or header.")
    message: str


class Problem(BaseModel):
    """What went wrong (RFC 9457). ``code`` is stable; ``error`` repeats ``detail``."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str
    code: str
    error: str
    errors: list[FieldProblem] | None = None


HEADERS: Mapping[int, dict[str, Any]] = {
    401: {"WWW-Authenticate": {"required": True, "schema": {"const": "Bearer"}}},
    409: {"Retry-After": {"description": "Seconds; only where another try may help.", "schema": {"type": "integer"}}},
    416: {"Content-Range": {"required": True, "schema": {"type": "string", "pattern": r"^bytes \*/\d+$"}}},
    **{
        status: {"Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "integer"}}}
        for status in (429, 503, 507)
    },
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route for the problems that it can answer."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "headers": dict(HEADERS.get(status, {})),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }


def problem(
    request: Request,
    status: int,
    code: str,
    detail: str,
    *,
    fields: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """Return a problem document as the answer to ``request``."""
    document = Problem(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        instance=request.url.path[:MAX_PATH_LENGTH],
        code=code,
        error=detail,
        errors=list(fields) or None,
    )
    return JSONResponse(
        document.model_dump(exclude_none=True), status_code=status, headers=dict(headers or {}), media_type=MEDIA_TYPE
    )


def install(app: FastAPI, page: Callable[[Request, str], Response | None]) -> None:
    """Add handlers that answer expected errors with problem documents. For unexpected ones see ``on_fault``.

    ``page``: returns the page for status 404, or None if the client is no browser.
    """
    app.state.missing_page = page
    app.add_exception_handler(errors.FactRFMError, on_factrfm_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(OperationalError, on_database_away)


def status_of(error: errors.FactRFMError) -> int:
    """Return the HTTP status of an error: its own or that of the nearest listed base."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def on_factrfm_error(request: Request, error: Exception) -> JSONResponse:
    """Answer an error with its problem document. Middleware calls this, because handlers do not see its errors."""
    assert isinstance(error, errors.FactRFMError)  # noqa: S101 - registered for this type
    status = status_of(error)
    setattr(request.state, LASTING, error.permanent)
    if status == 500:
        log.error("service fault", code=error.code, detail=error.detail)
    headers = {"Retry-After": RETRY_AFTER[status]} if status in (429, 503, 507) else {}
    if isinstance(error, errors.RateLimited | errors.PredictionsBusy):
        headers = {"Retry-After": "1"}
    elif isinstance(error, errors.RequestInFlight):
        headers = {"Retry-After": RETRY_AFTER[409]}
    elif status == 409:
        # tells clients that retry conflicts by themselves that a retry is useless
        headers = {"x-should-retry": "false"}
    elif status == 408:
        # the rest of the body must not be read as a request
        headers = {"Connection": "close"}
    elif status == 401:
        headers = {"WWW-Authenticate": "Bearer"}
    elif isinstance(error, RangeNotSatisfiable):
        headers = {"Content-Range": f"bytes */{error.length}"}
    fields = [FieldProblem(pointer=entry.pointer, message=entry.message) for entry in error.errors[:MAX_PLACES]]
    return problem(request, status, error.code, error.detail, fields=fields, headers=headers)


def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    fields = _fields(error)
    first = fields[0]
    detail = f"{first.pointer}: {first.message}" if first.pointer else first.message
    return problem(request, 422, "invalid_request", detail, fields=fields)


def _fields(error: RequestValidationError) -> list[FieldProblem]:
    """Return one entry for each wrong place: a JSON pointer into the body, or the name of a parameter or header."""
    details = error.errors()[:MAX_PLACES]
    if details[0]["type"] == "json_invalid":
        why = details[0].get("ctx", {}).get("error", details[0]["msg"])
        return [FieldProblem(pointer="", message=f"the body is not JSON: {why}")]
    places = dict.fromkeys(detail["loc"][0] for detail in details)
    fields: list[FieldProblem] = []
    for place in places:
        inside = [{**detail, "loc": detail["loc"][1:]} for detail in details if detail["loc"][0] == place]
        if place == "body":
            fields += [
                FieldProblem(pointer=entry.pointer, message=entry.message) for entry in field_errors(error.body, inside)
            ]
        else:
            # the first step of the pointer is the parameter's name
            named: dict[str, Any] = {detail["loc"][0]: {} for detail in inside if detail["type"] != "missing"}
            fields += [
                FieldProblem(pointer=f"{place}:{entry.pointer.removeprefix('/')}", message=entry.message)
                for entry in field_errors(named, inside)
            ]
    return fields


def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    code = HTTPStatus(error.status_code).name.lower()
    detail = str(error.detail)
    if error.status_code == 404:
        path = request.url.path
        page: Response | None = request.app.state.missing_page(request, path[:MAX_PATH_LENGTH])
        if page is not None:
            return page
        detail = f"there is nothing at {path[:MAX_PATH_LENGTH]}; see /docs"
    elif error.status_code == 405:
        detail = f"{request.url.path[:MAX_PATH_LENGTH]} does not answer {request.method[:MAX_METHOD_LENGTH]}"
        return problem(request, 405, code, detail, headers={"Allow": ", ".join(_allowed(request))})
    return problem(request, error.status_code, code, detail, headers=error.headers)


def _allowed(request: Request) -> list[str]:
    """Return every method of the path. FastAPI names those of its first route only."""
    paths = request.app.openapi()["paths"]
    methods = {method.upper() for path, calls in paths.items() if _fits(path, request.url.path) for method in calls}
    if "GET" in methods:
        methods.add("HEAD")
    return sorted(methods) or ["GET", "HEAD"]


def _fits(template: str, path: str) -> bool:
    return compile_path(template)[0].match(path) is not None


FULL = (
    "the disk of the database is full: nothing was changed; delete what is not needed, which works still, or add room"
)


def on_database_away(request: Request, error: Exception) -> JSONResponse:
    """Answer an error of a database that is unreachable or full. Middleware calls this too."""
    if isinstance(error, OperationalError) and is_full(error):
        return on_factrfm_error(request, errors.StorageFull(FULL))
    log.warning("database out of reach", error=type(error).__name__)
    detail = "the database cannot be reached right now; try again"
    return problem(request, 503, "unavailable", detail, headers={"Retry-After": RETRY_AFTER[503]})


def on_fault(request: Request, error: Exception) -> JSONResponse:
    """Log an unexpected error and return an answer without its details."""
    log.error("unexpected error", exc_info=error)
    return problem(request, 500, "internal", "the service made a mistake; its log tells which")
