"""Errors of the client.

ClientError
├── NotReached         no answer, after all tries
├── UploadInterrupted  an upload in parts ended before all were there, and can be resumed
├── Refused            the service answered with a problem document
├── UnreadableAnswer   the answer cannot be parsed
├── JobFailed          a job failed or was cancelled
└── TimedOut           a job did not end within the timeout
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from worker.contracts.resources import Job


class ClientError(Exception):
    """Base of the client's errors."""


class NotReached(ClientError):
    """No answer came, after all tries. The request may have been carried out anyway."""


class UploadInterrupted(ClientError):
    """An upload in parts ended before it was complete. ``upload(data, resume=upload_id)`` sends what is missing."""

    def __init__(self, upload_id: str, reason: ClientError) -> None:
        super().__init__(
            f"the upload {upload_id} was interrupted: {reason}; what has arrived is kept: resume the upload {upload_id}"
        )
        self.upload_id = upload_id


@dataclass(frozen=True)
class Wrong:
    """One wrong value. ``pointer``: a JSON pointer into the body, or the name of a parameter."""

    pointer: str
    message: str


class Refused(ClientError):
    """The service refused the request. ``code`` is stable; ``detail`` says what is wrong and how to fix it."""

    def __init__(self, status: int, code: str, detail: str, errors: Sequence[Wrong] = ()) -> None:
        super().__init__(f"{detail} ({status} {code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)

    @classmethod
    def from_response(cls, response: httpx.Response) -> "Refused":
        """Return the error for a problem document, or for the text of another answer."""
        try:
            document: Any = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict) or "detail" not in document:
            text = response.text.strip()[:200] or response.reason_phrase
            return cls(response.status_code, "unknown", f"the service answered {text!r}")
        entries = document.get("errors") or ()
        wrong = [Wrong(str(entry.get("pointer", "")), str(entry.get("message", ""))) for entry in entries]
        return cls(response.status_code, str(document.get("code", "unknown")), str(document["detail"]), wrong)


class UnreadableAnswer(ClientError):
    """The answer cannot be parsed: the service is another program, or a much later version."""


class JobFailed(ClientError):
    """A job failed or was cancelled."""

    def __init__(self, job: Job) -> None:
        why = f": {job.error.detail}" if job.error is not None else ""
        super().__init__(f"job {job.id} is {job.state}{why}")
        self.job = job


class TimedOut(ClientError):
    """A wait timed out. The job goes on."""

    def __init__(self, job_id: str, seconds: float) -> None:
        super().__init__(f"job {job_id} did not end within {seconds:g} s; it goes on")
        self.job_id = job_id
