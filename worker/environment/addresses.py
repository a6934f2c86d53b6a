"""Addresses of a database or a queue, put together from an address without a password and the password itself.

In an address ``@ % / : #`` end one of its parts, so a password that holds them must be percent-encoded there. Given by
itself it is taken as it is.
"""

from urllib.parse import quote, urlsplit, urlunsplit

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - names, not a listener
"""Where a caller on the same machine finds a service that listens on all addresses."""


def with_password(address: str, password: str) -> str:
    """Return the address with the password in it, percent-encoded.

    Raises:
        ValueError: it has one already, or is none of a server.
    """
    parts = urlsplit(address)
    user, _, server = parts.netloc.rpartition("@")
    if ":" in user:
        raise ValueError("the address has a password already; leave it out there or here")
    if not parts.scheme or parts.scheme.startswith("sqlite"):
        raise ValueError("the address names no server that would ask for one")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{server}"))


def local_url(host: str, port: int) -> str:
    """Return where a caller on this machine finds an API that listens there."""
    reached = EVERYWHERE.get(host, host)
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
