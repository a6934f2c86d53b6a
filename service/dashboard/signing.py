"""Signing in with a key, and signing out."""

from typing import cast

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from service.dashboard.pages import page_router, render
from service.http.caller import LOGIN
from service.http.middleware import browser_sessions
from service.http.middleware.authentication import KeyRing
from worker.contracts.keys import Scope

router = page_router()

HOME = "/"


@router.get(LOGIN)
async def form(request: Request, next: str = HOME) -> Response:  # noqa: A002 - the name of the query parameter
    """Show the form; a service without keys redirects to the start page."""
    if await _ring(request).empty():
        return RedirectResponse(HOME, 303)
    return render(request, "login.html", next=_local_path(next), complaint=None)


@router.post(LOGIN)
async def sign_in(request: Request) -> Response:
    """Store a valid key in a cookie and redirect to the requested page."""
    browser_sessions.check_same_origin(request.scope)
    async with request.form(max_files=0, max_fields=4) as fields:
        key, target = str(fields.get("key", "")).strip(), _local_path(str(fields.get("next", HOME)))
    caller = await _ring(request).find(key)
    if caller is None:
        complaint = "This is no key of this service. 'factrfm keys create' makes one."
        return render(request, "login.html", 401, next=target, complaint=complaint)
    if not caller.may(Scope.READ):
        return render(request, "login.html", 403, next=target, complaint="This key may not read.")
    answer = RedirectResponse(target, 303)
    browser_sessions.remember(request, answer, key)
    return answer


@router.post("/logout")
def sign_out(request: Request) -> Response:
    """Delete the cookie with the key."""
    browser_sessions.check_same_origin(request.scope)
    answer = RedirectResponse(LOGIN, 303)
    browser_sessions.forget(answer)
    return answer


def _ring(request: Request) -> KeyRing:
    return cast("KeyRing", request.app.state.keys)


def _local_path(place: str) -> str:
    """Return ``place`` if it is a path of this site, else the start page."""
    is_local = place.startswith("/") and not place.startswith(("//", "/\\")) and place.isprintable()
    return place if is_local else HOME
