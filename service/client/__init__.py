"""A client of the service: typed answers, tables in and out, retries that repeat nothing.

``Client`` blocks, ``AsyncClient`` awaits; both have the same methods.
"""

from service.client.aio import AsyncClient
from service.client.errors import (
    ClientError,
    JobFailed,
    NotReached,
    Refused,
    TimedOut,
    UnreadableAnswer,
)
from service.client.sync import Client
from worker.contracts.errors import UnknownCategories

__all__ = [
    "AsyncClient",
    "Client",
    "ClientError",
    "JobFailed",
    "NotReached",
    "Refused",
    "TimedOut",
    "UnknownCategories",
    "UnreadableAnswer",
]
