"""An LRU cache of loaded models. Concurrent requests load a model once."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, cast

from cachetools import LRUCache
from prometheus_client import Counter, Histogram

from service.runtime.gc_freeze import freeze_loaded_objects
from worker.contracts.artifacts import ArtifactRef
from worker.store.files.artifacts import Artifacts

if TYPE_CHECKING:
    from worker.engine.blocks.answers import Answers
    from worker.serving.model import ServedModel

CACHE = Counter("factrfm_model_cache_requests", "Predictions by whether their model was in memory", ["result"])
LOADING = Histogram("factrfm_model_load_seconds", "Time to load a model from storage")


class ModelCache:
    """Models by id, and machines of trees by model and number, bounded by the sum of their bytes. Thread-safe."""

    def __init__(self, artifacts: Artifacts, max_bytes: int) -> None:
        self._artifacts = artifacts
        self._lock = threading.Lock()
        self._models: LRUCache[str | tuple[str, int], ServedModel | Answers] = LRUCache(
            max_bytes, lambda model: model.nbytes
        )
        self._loading: dict[str, Future[ServedModel]] = {}

    def get(self, model_id: str, ref: ArtifactRef) -> "ServedModel":
        """Return a model, from memory or from storage. A model larger than the cache is not stored.

        Raises:
            ArtifactMissing, ArtifactCorrupt: storage lost or changed its file.
        """
        with self._lock:
            cached = cast("ServedModel | None", self._models.get(model_id))
            CACHE.labels("miss" if cached is None else "hit").inc()
            if cached is not None:
                return cached
            loading = self._loading.get(model_id)
            future: Future[ServedModel] = Future()
            if loading is None:
                self._loading[model_id] = future
        if loading is not None:
            return loading.result()
        try:
            with LOADING.time():
                model = self._load(model_id, ref)
        except BaseException as error:
            with self._lock:
                del self._loading[model_id]
            future.set_exception(error)
            raise
        with self._lock:
            del self._loading[model_id]
            with suppress(ValueError):
                self._models[model_id] = model
        future.set_result(model)
        return model

    def forget(self, model_id: str) -> None:
        """Remove a deleted model."""
        with self._lock:
            for key in [key for key in self._models if model_id in (key, key[0])]:
                del self._models[key]

    def held(self) -> tuple[int, int]:
        """Return the number of cached models, and their bytes."""
        with self._lock:
            return sum(isinstance(key, str) for key in self._models), int(self._models.currsize)

    def _load(self, model_id: str, ref: ArtifactRef) -> "ServedModel":
        from worker.serving.stored import load_model

        freeze_loaded_objects("torch")
        return load_model(self._artifacts, ref, partial(self._machine, model_id))

    def _machine(self, model_id: str, number: int, read: Callable[[], "Answers"]) -> "Answers":
        with self._lock:
            cached = cast("Answers | None", self._models.get((model_id, number)))
        if cached is not None:
            return cached
        machine = read()
        with self._lock, suppress(ValueError):
            self._models[model_id, number] = machine
        return machine
