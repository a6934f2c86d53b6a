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
    """The key is missing or invalid."""

    code = "unauthorized"


class Forbidden(errors.FactRFMError):
    """The key lacks the scope."""

    code = "forbidden"


class BodyTooLarge(errors.FactRFMError):
    """The body is longer than the limit."""

    code = "body_too_large"


class AmbiguousLength(errors.FactRFMError):
    """The head gives the body's length twice."""

    code = "ambiguous_length"


class InvalidTarget(errors.FactRFMError):
    """The target or the Host is malformed."""

    code = "invalid_target"


class MisdirectedRequest(errors.FactRFMError):
    """The request is for another host."""

    code = "misdirected_request"


class BodyTooSlow(errors.FactRFMError):
    """The body arrives too slowly."""

    code = "body_too_slow"


class TooManyFollowers(errors.FactRFMError):
    """All slots for event streams and waits are taken."""

    code = "too_many_followers"


class UnsupportedMediaType(errors.FactRFMError):
    """The body's Content-Type or Content-Encoding is not supported."""

    code = "unsupported_media_type"


class NotReady(errors.FactRFMError):
    """A dependency is unreachable, or the process is stopping."""

    code = "not_ready"


class NotAcceptable(errors.FactRFMError):
    """Accept names no available media type."""

    code = "not_acceptable"


class PreconditionFailed(errors.FactRFMError):
    """If-Match names another state."""

    code = "precondition_failed"


class RangeNotSatisfiable(errors.FactRFMError):
    """Range starts after the end of the file."""

    code = "range_not_satisfiable"

    def __init__(self, detail: str, length: int) -> None:
        super().__init__(detail)
        self.length = length
