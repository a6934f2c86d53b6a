"""The service's address, the caller's key, and the arguments of httpx for a call."""

import os
import uuid
from dataclasses import dataclass
from typing import Any

import httpx

from service.client.calls import Call
from service.client.errors import ClientError, NotReached, Refused
from service.client.retries import is_no_tls

URL, KEY = "FACTRFM_URL", "FACTRFM_API_KEY"
LOCAL = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Address:
    """The service's address and the API key."""

    url: str
    key: str | None

    @classmethod
    def resolve(cls, url: str | None, key: str | None) -> "Address":
        """Return the arguments, else the values of the environment, else a local service without keys.

        Raises:
            ValueError: the address or the key is malformed.
        """
        url = url or os.environ.get(URL) or LOCAL
        key = key or os.environ.get(KEY) or None
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL as error:
            raise ValueError(f"the address {url!r} cannot be: {error}") from error
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ValueError(f"the address {url!r} must look like {LOCAL} or https://host")
        if parsed.path.rstrip("/") in ("/v1", "/v2"):
            raise ValueError(f"the address {url!r} is that of calls; give the service's own, without {parsed.path}")
        if key is not None and not (key.isascii() and key.isprintable()):
            raise ValueError("the key holds characters that no HTTP header can carry")
        return cls(url.rstrip("/"), key)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of every request."""
        headers = {"User-Agent": "factrfm-client", "Accept": "application/json"}
        return headers if self.key is None else {**headers, "Authorization": f"Bearer {self.key}"}


def request_arguments(call: Call[Any]) -> dict[str, Any]:
    """Return the arguments of httpx for a call, without its body. All tries share the idempotency key."""
    headers = {**(call.body.headers if call.body is not None else {}), **call.headers}
    if call.method == "POST":
        headers["Idempotency-Key"] = uuid.uuid4().hex
    arguments = {"method": call.method, "url": call.path, "params": dict(call.params), "headers": headers}
    return arguments if call.json is None else {**arguments, "json": call.json}


def refusal(outcome: httpx.Response | httpx.TransportError, url: httpx.URL) -> ClientError:
    """Return the error for the outcome of the last try."""
    if isinstance(outcome, httpx.Response):
        return Refused.from_response(outcome)
    if is_no_tls(outcome):
        why = "whoever listens there speaks no TLS; try http://"
    else:
        why = str(outcome) or type(outcome).__name__
    error = NotReached(f"{url} did not answer: {why}")
    error.__cause__ = outcome
    return error
