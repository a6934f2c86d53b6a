"""Models in memory, as many as fit, and predictions in threads of their own.

torch takes about 190 MiB and more than a second to import. What needs it in the service imports it when it is first
asked for, so an API process that takes in tables and follows jobs stays small and starts quickly.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread
import pyarrow as pa
from prometheus_client import Counter, Histogram

from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import PredictionsBusy
from worker.store.artifacts import Artifacts
from worker.store.tensors import unpack

if TYPE_CHECKING:
    from worker.prediction import Answer, ServedModel

T = TypeVar("T")

CACHE = Counter("factrfm_model_cache_requests", "Predictions by whether their model was in memory", ["result"])
LOADING = Histogram("factrfm_model_load_seconds", "Time to load a model from storage")
PREDICTING = Histogram("factrfm_prediction_seconds", "Time to compute a prediction, without its wait for a thread")
ROWS = Counter("factrfm_prediction_rows", "Rows predicted")


class Predictor:
    """A cache of loaded models, bounded by bytes, and a line of predictions, bounded by threads and places."""

    def __init__(self, artifacts: Artifacts, cache_bytes: int, threads: int, waiting: int) -> None:
        self._artifacts = artifacts
        self._cache_bytes = cache_bytes
        self._threads = threads
        self._most = threads + waiting
        self._under_way = 0
        self._limiter: anyio.CapacityLimiter | None = None
        self._lock = threading.Lock()
        self._models: OrderedDict[str, ServedModel] = OrderedDict()
        self._loading: dict[str, Future[ServedModel]] = {}

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place in the line of predictions, from before a body is read.

        Raises:
            PredictionsBusy: as many wait as may.
        """
        if self._under_way >= self._most:
            raise PredictionsBusy(f"{self._under_way} predictions are under way here, as many as may; try again later")
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def run(self, work: Callable[[], T]) -> T:
        """Return what ``work`` does in one of the threads of predictions, so that it takes none from other requests."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self._threads)
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    def predict(self, model_id: str, ref: ArtifactRef, table: pa.Table) -> "Answer":
        """Answer rows, in a thread of ``run``."""
        model = self._model(model_id, ref)
        with PREDICTING.time():
            answer = model.predict(table)
        ROWS.inc(table.num_rows)
        return answer

    def forget(self, model_id: str) -> None:
        """Drop a model that was deleted."""
        with self._lock:
            self._models.pop(model_id, None)

    @property
    def under_way(self) -> int:
        """How many predictions wait or compute."""
        return self._under_way

    def cached(self) -> tuple[int, int]:
        """Return how many models the cache holds, and their bytes."""
        with self._lock:
            return len(self._models), sum(model.nbytes for model in self._models.values())

    def _model(self, model_id: str, ref: ArtifactRef) -> "ServedModel":
        """Return the model, loading it once however many ask at the same time."""
        with self._lock:
            cached = self._models.get(model_id)
            CACHE.labels("miss" if cached is None else "hit").inc()
            if cached is not None:
                self._models.move_to_end(model_id)
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
            self._keep(model_id, model)
        mine.set_result(model)
        return model

    def _load(self, ref: ArtifactRef) -> "ServedModel":
        from worker.prediction import ServedModel

        return ServedModel.from_tensors(*unpack(self._artifacts.read_bytes(ref)))

    def _keep(self, model_id: str, model: "ServedModel") -> None:
        """Keep a model that fits at all, and let the least recently used go until all fit."""
        if model.nbytes > self._cache_bytes:
            return
        self._models[model_id] = model
        while sum(one.nbytes for one in self._models.values()) > self._cache_bytes:
            self._models.popitem(last=False)
