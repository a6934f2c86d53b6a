"""Errors of commands, each a message and an exit code, and errors of HTTP, each a problem document.

``CannotStart``, exit code 1: this machine or a dependency prevents the command.
``WrongSetting``, exit code 2: a flag, an argument or a variable has an invalid value.
The others have a stable ``code``; their status is in ``service.http.problems``.
"""

from worker.contracts import errors


class CommandError(Exception):
    """Ends a command with a message, which says what is wrong and how to fix it."""

    exit_code = 1


class CannotStart(CommandError):
    """This machine, or a service that it depends on, prevents the command."""


class WrongSetting(CommandError):
    """A flag, an argument or a variable has an invalid value."""

    exit_code = 2


class Unauthorized(errors.FactRFMError):
    """There is no key, or one that opens nothing."""

    code = "unauthorized"


class Forbidden(errors.FactRFMError):
    """The key lacks the scope."""

    code = "forbidden"


class BodyTooLarge(errors.FactRFMError):
    """The body is longer than the service takes."""

    code = "body_too_large"


class AmbiguousLength(errors.FactRFMError):
    """The head gives the body's length in two ways."""

    code = "ambiguous_length"


class InvalidTarget(errors.FactRFMError):
    """The request is for nothing that a server has: its target or its host is malformed."""

    code = "invalid_target"


class MisdirectedRequest(errors.FactRFMError):
    """The request is for a host that this service is not."""

    code = "misdirected_request"


class BodyTooSlow(errors.FactRFMError):
    """The body paused for too long."""

    code = "body_too_slow"


class TooManyFollowers(errors.FactRFMError):
    """As many event streams and waits are open as the service holds."""

    code = "too_many_followers"


class UnsupportedMediaType(errors.FactRFMError):
    """The body's Content-Type or Content-Encoding is none that is read here."""

    code = "unsupported_media_type"


class NotReady(errors.FactRFMError):
    """A part that the service needs is out of reach, or the process is stopping."""

    code = "not_ready"


class NotAcceptable(errors.FactRFMError):
    """Accept names no form that there is."""

    code = "not_acceptable"


class PreconditionFailed(errors.FactRFMError):
    """If-Match names no state that there is."""

    code = "precondition_failed"


class RangeNotSatisfiable(errors.FactRFMError):
    """Range begins behind the end."""

    code = "range_not_satisfiable"

    def __init__(self, detail: str, length: int) -> None:
        super().__init__(detail)
        self.length = length
