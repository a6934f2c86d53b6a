"""The memory of one API process in a container.

The limits of table readers and of loaded models, and the process itself, must fit the container's limit together:
otherwise two large uploads at once would kill the API.
"""

from service.errors import WrongSetting
from service.settings import MIN_READER_BYTES, ServiceSettings
from worker.settings import GIB

BASE_BYTES = GIB // 2
"""The process without models and readers: libraries, requests and predictions."""
POOLS = 2
"""One pool of readers for uploads, one for rows to predict."""
CACHE_SHARE = 8
"""A lowered model cache gets one eighth of the memory."""


def needed_bytes(settings: ServiceSettings) -> int:
    """Return the memory of the API when all readers are busy and the model cache is full."""
    return BASE_BYTES + settings.model_cache_bytes + POOLS * settings.table_readers * settings.table_reader_bytes


def fit_to_limit(settings: ServiceSettings, limit: int | None) -> ServiceSettings:
    """Return the settings, with defaults lowered to fit a limit of memory.

    Raises:
        WrongSetting: the values that were set do not fit.
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
