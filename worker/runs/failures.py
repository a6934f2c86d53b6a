"""From an exception to the last report of a run: failures that a retry would repeat are final, others are not."""

import structlog
import torch

from worker.contracts.errors import FactRFMError, StorageFull, StorageUnavailable
from worker.contracts.messages import Failed, Interrupted
from worker.contracts.resources import JobError
from worker.engine.errors import EngineError

log = structlog.get_logger()


def last_report(error: Exception) -> Failed | Interrupted:
    """Return the last report of a run that raised ``error``.

    A run is a function of its order, so its exceptions are final; only failures of storage and of the device are worth
    a retry.

    Raises:
        SystemExit: the accelerator failed. The process ends, and the job is retried.
    """
    if isinstance(error, StorageFull | StorageUnavailable):
        return Interrupted(error=JobError(type=error.code, detail=error.detail))
    if isinstance(error, FactRFMError):
        return Failed(error=JobError(type=error.code, detail=error.detail))
    if isinstance(error, EngineError):
        return Failed(error=JobError(type="numerical_failure", detail=str(error)))
    # torch has no exception type for a failed allocation on the CPU
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error):
        return Failed(error=JobError(type="out_of_memory", detail=f"memory ran out during the run: {error}"))
    if isinstance(error, OSError):
        reason = f"a file could not be used: {error.strerror or type(error).__name__}"
        return Interrupted(error=JobError(type=StorageUnavailable.code, detail=reason))
    log.error("the run made a mistake", exc_info=error)
    if isinstance(error, torch.AcceleratorError):
        raise SystemExit(1) from error
    if isinstance(error, ArithmeticError | torch.linalg.LinAlgError):  # type: ignore[attr-defined]
        return Failed(error=JobError(type="numerical_failure", detail=f"the arithmetic broke down: {error}"))
    return Failed(error=JobError.internal(error))
