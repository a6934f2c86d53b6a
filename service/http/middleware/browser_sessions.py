"""Browser sessions: a cookie with the key, and protection against cross-site requests.

The cookie is HttpOnly and SameSite=strict.
"""

import base64
import binascii
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from service.errors import Forbidden
from service.http.request_headers import header

COOKIE = "factrfm_key"
MAX_AGE_SECONDS = 30 * 24 * 3600


def key_in(scope: Scope) -> str | None:
    """Return the key in the cookie of a request, if there is one."""
    if header(scope, b"cookie") is None:
        return None
    try:
        return base64.urlsafe_b64decode(Request(scope).cookies.get(COOKIE, "").encode()).decode() or None
    except (binascii.Error, ValueError):
        return None


def remember(request: Request, response: Response, key: str) -> None:
    """Set the cookie with ``key``."""
    response.set_cookie(
        COOKIE,
        # a key may hold characters that a cookie cannot
        base64.urlsafe_b64encode(key.encode()).decode(),
        max_age=MAX_AGE_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def forget(response: Response) -> None:
    """Delete the cookie."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


def check_same_origin(scope: Scope) -> None:
    """Check that a page of this site sent the request, by Sec-Fetch-Site, or over plain HTTP by Origin.

    Raises:
        Forbidden: another site sent it, or both headers are missing.
    """
    if not _is_same_origin(scope):
        raise Forbidden(
            "a request that changes something and is signed in by cookie must come from a page of this site; "
            "programs send 'Authorization: Bearer <key>'"
        )


def check_no_other_site(scope: Scope) -> None:
    """Check that no page of another site sent a request to a service without keys.

    Requests of programs have neither Sec-Fetch-Site nor Origin, and are allowed.

    Raises:
        Forbidden: another site sent it.
    """
    site = header(scope, b"sec-fetch-site")
    from_a_page = site is not None or header(scope, b"origin") is not None
    if from_a_page and site != "none" and not _is_same_origin(scope):
        raise Forbidden("a page of another site sent this request, and this service asks for no key: it is refused")


def _is_same_origin(scope: Scope) -> bool:
    site = header(scope, b"sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    try:
        origin = urlsplit(header(scope, b"origin") or "").netloc
    except ValueError:
        return False
    return origin != "" and origin == header(scope, b"host")
