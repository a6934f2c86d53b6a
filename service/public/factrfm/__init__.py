"""FACT-RFM: scikit-learn estimators, clients of the training service, and models without it.

Names are imported lazily, so a client imports neither torch nor scikit-learn.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.client import (
        AsyncClient,
        Client,
        ClientError,
        JobFailed,
        NotReached,
        Refused,
        TimedOut,
        UnknownCategories,
        UnreadableAnswer,
        UploadInterrupted,
    )
    from service.client.progress import ProgressBar
    from worker.contracts.errors import ArtifactCorrupt, ColumnMismatch, FactRFMError, InvalidRequest
    from worker.estimators import FactRFMClassifier, FactRFMRegressor
    from worker.prediction import ServedModel, load

__all__ = [
    "ArtifactCorrupt",
    "AsyncClient",
    "Client",
    "ClientError",
    "ColumnMismatch",
    "FactRFMClassifier",
    "FactRFMError",
    "FactRFMRegressor",
    "InvalidRequest",
    "JobFailed",
    "NotReached",
    "ProgressBar",
    "Refused",
    "ServedModel",
    "TimedOut",
    "UnknownCategories",
    "UnreadableAnswer",
    "UploadInterrupted",
    "load",
]

_MODULES = {
    "service.client": (
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
    ),
    "service.client.progress": ("ProgressBar",),
    "worker.contracts.errors": ("ArtifactCorrupt", "ColumnMismatch", "FactRFMError", "InvalidRequest"),
    "worker.estimators": ("FactRFMClassifier", "FactRFMRegressor"),
    "worker.prediction": ("ServedModel", "load"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __dir__() -> list[str]:
    return __all__


# hidden from type checkers, which would accept any name
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'factrfm' has no attribute {name!r}")
        try:
            value = getattr(import_module(_MODULE_OF[name]), name)
        except (ImportError, AttributeError) as error:
            from ._packages import explain

            explain(error, _MODULE_OF[name])
            raise
        globals()[name] = value
        return value
