"""What lives as long as the process is not looked through for garbage."""

import functools
import gc


@functools.cache
def freeze_loaded_objects(loaded: str) -> None:
    """Keep the collector from all that is there now. Once for each of what was ``loaded``, as it names it.

    Several hundred thousand objects of libraries never die. To look through them again and again took a fourth of the
    time of busy requests, and made some wait for a tenth of a second.
    """
    gc.collect()
    gc.freeze()
