"""Build the address of a database or queue from an address without a password and a separate password.

In an address ``@ % / : #`` are delimiters, so a password that holds them must be percent-encoded there. A separate
password is taken as it is.
"""

from urllib.parse import quote, urlsplit, urlunsplit

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - names, not a listener
"""Local address of a service that listens on all addresses."""


def with_password(address: str, password: str) -> str:
    """Return the address with the password in it, percent-encoded.

    Raises:
        ValueError: the address has a password already, or does not name a server.
    """
    parts = urlsplit(address)
    user, _, server = parts.netloc.rpartition("@")
    if ":" in user:
        raise ValueError("the address has a password already; leave it out there or here")
    if not parts.scheme or parts.scheme.startswith("sqlite"):
        raise ValueError("the address names no server that would ask for one")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{server}"))


def local_url(host: str, port: int) -> str:
    """Return the URL on this machine of an API that listens on host and port."""
    reached = EVERYWHERE.get(host, host)
    return f"http://{f'[{reached}]' if ':' in reached else reached}:{port}"
