"""What can go wrong between a client and the service.

ClientError
├── NotReached         no answer, after all tries
├── Refused            the service answered with a problem document
├── UnreadableAnswer   the answer is not what this client knows
├── JobFailed          a job that was waited for failed or was cancelled
└── TimedOut           a job did not end in the time that was given
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from worker.contracts.resources import Job


class ClientError(Exception):
    """Base of the client's errors."""


class NotReached(ClientError):
    """No answer came, after all tries. What was asked may have been done all the same."""


@dataclass(frozen=True)
class Wrong:
    """One wrong value: a JSON pointer into the body, or the name of a parameter, and what is wrong with it."""

    pointer: str
    message: str


class Refused(ClientError):
    """The service said no. ``code`` is stable; ``detail`` says what was wrong and what would be right."""

    def __init__(self, status: int, code: str, detail: str, errors: Sequence[Wrong] = ()) -> None:
        super().__init__(f"{detail} ({status} {code})")
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = tuple(errors)

    @classmethod
    def from_response(cls, response: httpx.Response) -> "Refused":
        """Return the problem that ``response`` holds; its text where it holds none."""
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
    """The answer is not what this client knows: the service is another program, or a much later version."""


class JobFailed(ClientError):
    """A job that was waited for did not succeed."""

    def __init__(self, job: Job) -> None:
        why = f": {job.error.detail}" if job.error is not None else ""
        super().__init__(f"job {job.id} is {job.state}{why}")
        self.job = job


class TimedOut(ClientError):
    """The job goes on; only the waiting has ended."""

    def __init__(self, job_id: str, seconds: float) -> None:
        super().__init__(f"job {job_id} did not end within {seconds:g} s; it goes on")
        self.job_id = job_id
