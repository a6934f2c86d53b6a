"""How one API process shares out the memory that its container may take.

Readers of tables and loaded models have bounds of their own. Together with the process itself these must not be more
than the container's limit: otherwise two large uploads at once end the API, and with it every request under way.
"""

from service.errors import WrongSetting
from service.settings import MIN_READER_BYTES, ServiceSettings
from worker.settings import GIB

BASE_BYTES = GIB // 2
"""The process without models and readers: libraries, requests under way, and what predictions compute."""
POOLS = 2
"""Uploaded tables and rows to predict have readers apart."""
CACHE_SHARE = 8
"""One part in so many is for loaded models where the default is too much."""


def needed_bytes(settings: ServiceSettings) -> int:
    """Return what the API takes at most when all its readers are at work and its cache of models is full."""
    return BASE_BYTES + settings.model_cache_bytes + POOLS * settings.table_readers * settings.table_reader_bytes


def fit_to_limit(settings: ServiceSettings, limit: int | None) -> ServiceSettings:
    """Return the settings, with defaults lowered so that all of them together fit a limit of memory.

    Raises:
        WrongSetting: what is set leaves too little for the rest.
    """
    if limit is None or needed_bytes(settings) <= limit:
        return settings
    room = max(limit - BASE_BYTES, 0)
    lowered: dict[str, int] = {}
    if "model_cache_bytes" not in settings.model_fields_set:
        lowered["model_cache_bytes"] = max(min(settings.model_cache_bytes, room // CACHE_SHARE), 1)
    if "table_reader_bytes" not in settings.model_fields_set and settings.table_readers:
        cache = lowered.get("model_cache_bytes", settings.model_cache_bytes)
        share = (room - cache) // (POOLS * settings.table_readers)
        lowered["table_reader_bytes"] = max(min(settings.table_reader_bytes, share), MIN_READER_BYTES)
    reduced = settings.model_copy(update=lowered)
    if needed_bytes(reduced) > limit:
        raise WrongSetting(
            f"the container may take {limit / GIB:.2f} GiB of memory and the API may need "
            f"{needed_bytes(reduced) / GIB:.2f}: {BASE_BYTES / GIB:g} for itself, FACTRFM_MODEL_CACHE_BYTES "
            f"{reduced.model_cache_bytes / GIB:.2f}, and {POOLS} × FACTRFM_TABLE_READERS {reduced.table_readers} × "
            f"FACTRFM_TABLE_READER_BYTES {reduced.table_reader_bytes / GIB:.2f}; lower one of them or raise the limit"
        )
    return reduced
