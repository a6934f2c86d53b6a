"""Errors that a caller can correct, each with a stable code.

FactRFMError
├── InvalidRequest          a request contradicts itself or its data
│   ├── ColumnMismatch      rows to predict lack columns of the model
│   ├── TooWide             the features make more encoded columns than are allowed
│   └── UnknownReference    it names a dataset or model that is not there
├── UnreadableTable         bytes that are not the table they are said to be
├── TableTooLarge           more cells or bytes than the service takes
├── NotFound                no such resource
├── Conflict                the resource's state does not allow it
│   └── RequestInFlight     the first request with this idempotency key still runs
├── KeyReused               an idempotency key came back with another body
├── TooManyUploads          a project has as many unfinished uploads as it may
├── QueueFull               as many jobs wait as the service takes
├── RateLimited             a project sends more requests a second than one process takes
├── PredictionsBusy         as many predictions wait as one process takes
├── DoesNotFit              a fit needs more memory than there is
├── NoTrialSucceeded        every trial of a search failed
├── NotInstalled            an optional package is needed and not there
├── StorageFull             the disk or quota of storage has no room left
├── StorageUnavailable      storage, or a folder for temporary files, cannot be used at the moment
├── ArtifactMissing         storage has lost a file that a row names
├── ArtifactCorrupt         a stored file's checksum or format is wrong
└── LeaseLost               another attempt owns the job now
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

WIDEST_NAMED = 3
LIKE_OTHERS = 12
"""A numeric column is at most this wide once encoded."""


@dataclass(frozen=True)
class FieldError:
    """One wrong value. ``pointer`` is a JSON pointer into the request body, e.g. ``/spec/ridge``."""

    pointer: str
    message: str


def pointer(*steps: str | int) -> str:
    """Return the JSON pointer (RFC 6901) of the value at ``steps``."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


class FactRFMError(Exception):
    """Base of every error that callers see.

    ``detail`` says what is wrong, where, and what would be right.
    """

    code: ClassVar[str] = "error"
    permanent: ClassVar[bool] = True
    """Whether the same request always fails, whatever is stored and however busy the service is."""

    def __init__(self, detail: str, *, errors: tuple[FieldError, ...] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors


class InvalidRequest(FactRFMError):
    code = "invalid_request"

    @classmethod
    def at(cls, pointer: str, message: str) -> Self:
        """Return the error of one wrong value."""
        return cls(message, errors=(FieldError(pointer, message),))


class ColumnMismatch(InvalidRequest):
    code = "column_mismatch"
    permanent = False


class UnknownReference(InvalidRequest):
    permanent = False


class TooWide(InvalidRequest):
    code = "invalid_request"

    @classmethod
    def expanded(cls, width: int, plain: int, most: int, encoding: str = "expanded") -> Self:
        """Return the error for columns that are too wide only in an ``encoding`` with more than 'plain'."""
        return cls.at(
            "/spec/encoding",
            f"encoding {encoding!r} makes {width} encoded columns and at most {most} are allowed; encoding 'plain' "
            f"makes {plain}",
        )

    @classmethod
    def of(cls, widths: Mapping[str, int], most: int) -> Self:
        """Return the error for columns of these encoded ``widths``, of which ``most`` are allowed in total."""
        widest = sorted(widths.items(), key=lambda item: -item[1])[:WIDEST_NAMED]
        if widest[0][1] > LIKE_OTHERS:
            named = ", ".join(f"{name!r} ({width})" for name, width in widest)
            remedy = f"the widest are {named}: exclude those that name rows rather than describe them"
        else:
            remedy = "learn from fewer columns"
        return cls.at(
            "/features",
            f"the features make {sum(widths.values())} encoded columns and at most {most} are allowed; {remedy}",
        )


class UnreadableTable(FactRFMError):
    code = "unreadable_table"
    # its reader process may have died for another reason
    permanent = False


class TableTooLarge(FactRFMError):
    code = "table_too_large"
    # reading may have timed out
    permanent = False


class NotFound(FactRFMError):
    code = "not_found"


class Conflict(FactRFMError):
    code = "conflict"


class RequestInFlight(Conflict):
    code = "request_in_flight"


class KeyReused(FactRFMError):
    code = "idempotency_key_reused"


class RateLimited(FactRFMError):
    code = "rate_limited"


class PredictionsBusy(FactRFMError):
    code = "predictions_busy"


class TooManyUploads(FactRFMError):
    code = "too_many_uploads"


class QueueFull(FactRFMError):
    code = "queue_full"


class DoesNotFit(FactRFMError):
    code = "does_not_fit"


class NoTrialSucceeded(FactRFMError):
    code = "no_trial_succeeded"


class NotInstalled(FactRFMError):
    code = "not_installed"


class StorageFull(FactRFMError):
    code = "storage_full"


class StorageUnavailable(FactRFMError):
    code = "storage_unavailable"


def is_disk_full(error: OSError) -> bool:
    """Return whether the error is a full disk or an exhausted quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class ArtifactMissing(FactRFMError):
    code = "artifact_missing"


class ArtifactCorrupt(FactRFMError):
    code = "artifact_corrupt"


class LeaseLost(FactRFMError):
    code = "lease_lost"


class UnknownCategories(UserWarning):
    """Rows to predict hold categories that no training row had."""

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Self:
        """Return the warning for the number of such rows by column."""
        columns = ", ".join(
            f"{name if name.isprintable() else repr(name)} ({count} row{'s' if count > 1 else ''})"
            for name, count in counts.items()
        )
        return cls(f"rows hold categories that no training row had: {columns}")
