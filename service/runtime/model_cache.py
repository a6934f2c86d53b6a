"""Models in memory, as many as fit, each loaded once however many ask for it at the same time."""

import threading
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from cachetools import LRUCache
from prometheus_client import Counter, Histogram

from service.runtime.gc_freeze import freeze_loaded_objects
from worker.contracts.artifacts import ArtifactRef
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import unpack

if TYPE_CHECKING:
    from worker.serving.model import ServedModel

CACHE = Counter("factrfm_model_cache_requests", "Predictions by whether their model was in memory", ["result"])
LOADING = Histogram("factrfm_model_load_seconds", "Time to load a model from storage")


class ModelCache:
    """Models by id, bounded by their bytes together, the least recently used going first. Threads may share it."""

    def __init__(self, artifacts: Artifacts, max_bytes: int) -> None:
        self._artifacts = artifacts
        self._lock = threading.Lock()
        self._models: LRUCache[str, ServedModel] = LRUCache(max_bytes, lambda model: model.nbytes)
        self._loading: dict[str, Future[ServedModel]] = {}

    def get(self, model_id: str, ref: ArtifactRef) -> "ServedModel":
        """Return a model, from memory or from storage; one of more bytes than may be is not kept.

        Raises:
            ArtifactMissing, ArtifactCorrupt: storage lost or changed its file.
        """
        with self._lock:
            cached = self._models.get(model_id)
            CACHE.labels("miss" if cached is None else "hit").inc()
            if cached is not None:
                return cached
            under_way = self._loading.get(model_id)
            mine: Future[ServedModel] = Future()
            if under_way is None:
                self._loading[model_id] = mine
        if under_way is not None:
            return under_way.result()
        try:
            with LOADING.time():
                model = self._load(ref)
        except BaseException as error:
            with self._lock:
                del self._loading[model_id]
            mine.set_exception(error)
            raise
        with self._lock:
            del self._loading[model_id]
            with suppress(ValueError):
                self._models[model_id] = model
        mine.set_result(model)
        return model

    def forget(self, model_id: str) -> None:
        """Drop a model that was deleted."""
        with self._lock:
            self._models.pop(model_id, None)

    def held(self) -> tuple[int, int]:
        """Return how many models there are, and their bytes."""
        with self._lock:
            return len(self._models), int(self._models.currsize)

    def _load(self, ref: ArtifactRef) -> "ServedModel":
        from worker.serving.model import ServedModel

        freeze_loaded_objects("torch")
        return ServedModel.from_tensors(*unpack(self._artifacts.read_bytes(ref)))
