"""Signing in with a browser: a cookie that carries a key, and the check that a page of ours sent the request.

The cookie cannot be read by scripts, and other sites' pages do not get it sent along.
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
LASTS_SECONDS = 30 * 24 * 3600


def key_in(scope: Scope) -> str | None:
    """Return the key that the cookie of a request carries; None where there is none."""
    if header(scope, b"cookie") is None:
        return None
    try:
        return base64.urlsafe_b64decode(Request(scope).cookies.get(COOKIE, "").encode()).decode() or None
    except (binascii.Error, ValueError):
        return None


def remember(request: Request, response: Response, key: str) -> None:
    """Have the browser send ``key`` with what it asks of this site from now on."""
    response.set_cookie(
        COOKIE,
        # a key may hold characters that end a cookie
        base64.urlsafe_b64encode(key.encode()).decode(),
        max_age=LASTS_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


def forget(response: Response) -> None:
    """Have the browser drop the key."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


def check_same_origin(scope: Scope) -> None:
    """See that a page of this very site sent the request.

    Browsers say so in Sec-Fetch-Site, and over plain HTTP at least in Origin.

    Raises:
        Forbidden: another site sent it, or nothing says where it is from.
    """
    if not _is_same_origin(scope):
        raise Forbidden(
            "a request that changes something and is signed in by cookie must come from a page of this site; "
            "programs send 'Authorization: Bearer <key>'"
        )


def check_no_other_site(scope: Scope) -> None:
    """See that no page of another site had a browser send a request to a service that asks for no key.

    Programs say nothing about where a request is from, and may call.

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
