"""Clients of the service, with typed answers and idempotent retries.

``Client`` blocks, ``AsyncClient`` is asynchronous; both have the same methods.
"""

from service.client.aio import AsyncClient
from service.client.errors import (
    ClientError,
    JobFailed,
    NotReached,
    Refused,
    TimedOut,
    UnreadableAnswer,
    UploadInterrupted,
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
    "UploadInterrupted",
]
