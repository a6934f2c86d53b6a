"""Predictions in a pool of threads, with dynamic batching.

Requests for a model that arrive while others are computed are computed together. Each is decoded and encoded alone, so
one that cannot be read or computed fails alone. The prediction of a row depends on the other rows only by rounding:
matrix products of another size may add in another order.

Importing torch takes about 190 MiB and more than a second. The service imports it on first use, so an API process
without predictions stays small and starts quickly.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar, cast

import pyarrow as pa
from cachetools import LRUCache
from prometheus_client import Counter, Histogram

from service.runtime.microbatch import Batches, Compute
from service.runtime.model_cache import ModelCache
from worker.contracts.artifacts import ArtifactRef
from worker.contracts.errors import ArtifactMissing, PredictionsBusy
from worker.environment.cgroup import usable_cpus
from worker.store import models
from worker.store.database import Database
from worker.store.files.artifacts import Artifacts
from worker.store.models import ModelRecord
from worker.tables.rows.plain import Rows
from worker.tables.rows.table_rows import RowReader, joined

if TYPE_CHECKING:
    from worker.serving.model import Answer, ServedModel

R = TypeVar("R")

MAX_ENTRIES = 1000
BATCH_BYTES = 2**20
"""Largest sum of the bodies in a batch; a longer body is computed alone."""
SMALL_BYTES = 2**13
"""Largest body that counts as small."""
SMALL_ROWS = 1024
"""Up to this number of rows torch uses one thread: starting others takes longer."""


@dataclass(frozen=True)
class ModelEntry:
    """The immutable parts of a model: its row, and the reader of rows."""

    record: ModelRecord
    reader: RowReader


@dataclass(frozen=True)
class PendingPrediction(Generic[R]):
    """A request to predict. ``read`` decodes its body of ``size`` bytes; ``write`` encodes the answer."""

    size: int
    read: Callable[[ModelEntry], Rows]
    write: Callable[[ModelRecord, "Answer"], R]


PREDICTING = Histogram("factrfm_prediction_seconds", "Time to compute a prediction, without its wait for a thread")
ROWS = Counter("factrfm_prediction_rows", "Rows predicted")


class AdmissionLimit:
    """A context manager that admits at most ``most`` requests."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.taken = 0

    def __enter__(self) -> None:
        if self.taken >= self._most:
            raise PredictionsBusy(f"{self.taken} predictions are under way here, as many as may; try again later")
        self.taken += 1

    def __exit__(self, *_: object) -> None:
        self.taken -= 1


class Predictor:
    """A cache of loaded models, and a bounded queue of predictions.

    ``waiting``: predictions that may wait for a thread. ``batch_rows``: most rows computed together; 1 computes every
    request alone. ``wait_s``: how long a request waits for others.
    """

    def __init__(
        self,
        artifacts: Artifacts,
        cache_bytes: int,
        threads: int,
        waiting: int,
        batch_rows: int = 256,
        wait_s: float = 0.0,
    ) -> None:
        self._models = ModelCache(artifacts, cache_bytes)
        self._batch_rows = batch_rows
        self._batches: Batches[PendingPrediction[object], object] = Batches(
            threads, batch_rows, BATCH_BYTES, SMALL_BYTES, wait_s
        )
        self._admission = AdmissionLimit(threads + waiting)
        self._lock = threading.Lock()
        self._entries: LRUCache[str, ModelEntry] = LRUCache(MAX_ENTRIES)

    def admission(self) -> "AdmissionLimit":
        """Return a context manager that holds a place in the queue. It is entered before a body is read.

        Entering it raises:
            PredictionsBusy: the queue is full.
        """
        return self._admission

    async def answer(
        self, database: Database, ref: str, pending: PendingPrediction[R], version: str | None = None
    ) -> R:
        """Return the answer that ``pending`` writes, by the model that ``ref`` and ``version`` name.

        Runs in one of the threads of predictions. The name is resolved after the request came, once a batch, and not
        cached.

        Raises:
            NotFound: the model does not exist.
        """
        compute: Compute[PendingPrediction[object], object] = partial(self._predict_all, database, ref, version)
        answer = self._batches.submit(
            database.project, (ref, version), compute, cast("PendingPrediction[object]", pending), pending.size
        )
        return cast("R", await answer)

    async def use(self, database: Database, ref: str, use: Callable[[ModelEntry, "ServedModel"], R]) -> R:
        """Return ``use`` of the model that ``ref`` names, called in one of the threads of predictions.

        Raises:
            NotFound: the model does not exist.
        """

        def compute(_: Sequence[PendingPrediction[object]]) -> list[object]:
            def used(model_id: str) -> list[object]:
                entry = self._find(database, model_id)
                return [use(entry, self.model(entry.record))]

            return models.use_resolved(database, lambda: models.get_id(database, ref), used)

        nothing: PendingPrediction[object] = PendingPrediction(
            0, lambda entry: pa.table({}), lambda record, answer: None
        )
        # a unique topic, so that it is computed alone
        return cast("R", await self._batches.submit(database.project, object(), compute, nothing, 0))

    def model(self, record: ModelRecord) -> "ServedModel":
        """Return a model, from memory or from storage."""
        return self._models.get(record.resource.id, record.model)

    def predict(self, model_id: str, ref: ArtifactRef, rows: Rows) -> "Answer":
        """Predict rows in this thread."""
        model = self._models.get(model_id, ref)
        import torch

        many = rows.num_rows > SMALL_ROWS and model.gains_from_threads
        torch.set_num_threads(usable_cpus() if many else 1)
        with PREDICTING.time():
            answer = model.predict(rows)
        ROWS.inc(rows.num_rows)
        return answer

    def forget(self, model_id: str) -> None:
        """Remove a deleted model."""
        self._models.forget(model_id)
        with self._lock:
            self._entries.pop(model_id, None)

    def _predict_all(
        self, database: Database, ref: str, version: str | None, batch: Sequence[PendingPrediction[R]]
    ) -> list[R | Exception]:
        return models.use_resolved(
            database,
            lambda: models.get_id(database, ref, version),
            lambda model_id: self._answers(self._find(database, model_id), batch),
        )

    def _answers(self, entry: ModelEntry, pending: Sequence[PendingPrediction[R]]) -> list[R | Exception]:
        answers: list[R | Exception | None] = [None] * len(pending)
        by_type: dict[type, list[tuple[int, Rows]]] = {}
        for index, prediction in enumerate(pending):
            try:
                rows = prediction.read(entry)
            except Exception as error:
                answers[index] = error
            else:
                by_type.setdefault(type(rows), []).append((index, rows))
        for together in by_type.values():
            for batch in self._blocks(together):
                computed = self._predict_batch(entry.record, [rows for _, rows in batch])
                for (index, _), answer in zip(batch, computed, strict=True):
                    answers[index] = _written(pending[index], entry.record, answer)
        return cast("list[R | Exception]", answers)

    def _blocks(self, numbered: Sequence[tuple[int, Rows]]) -> Iterator[list[tuple[int, Rows]]]:
        """Yield blocks of at most ``batch_rows`` rows; a longer request is a block of its own."""
        block: list[tuple[int, Rows]] = []
        count = 0
        for index, rows in numbered:
            if block and count + rows.num_rows > self._batch_rows:
                yield block
                block, count = [], 0
            block.append((index, rows))
            count += rows.num_rows
        yield block

    def _predict_batch(self, record: ModelRecord, parts: Sequence[Rows]) -> list["Answer | Exception"]:
        """Predict several requests together, or each alone if that fails, to find the faulty one."""
        try:
            answer = self.predict(record.resource.id, record.model, joined(parts))
        except ArtifactMissing:
            # the model may have been deleted, and its name may stand for another version
            raise
        except Exception as error:
            if len(parts) == 1:
                return [error]
            return [self._predict_batch(record, [part])[0] for part in parts]
        answers: list[Answer | Exception] = []
        start = 0
        for part in parts:
            answers.append(answer.part(start, start + part.num_rows))
            start += part.num_rows
        return answers

    def _find(self, database: Database, model_id: str) -> ModelEntry:
        """Return the entry of a model. It is cached: predictions use only immutable fields of the row."""
        with self._lock:
            entry = self._entries.get(model_id)
        if entry is None:
            record = models.get(database, model_id)
            entry = ModelEntry(record, RowReader(record.resource.features))
            with self._lock:
                self._entries[model_id] = entry
        return entry

    @property
    def under_way(self) -> int:
        """Number of predictions that wait or are computed."""
        return self._admission.taken

    def cached(self) -> tuple[int, int]:
        """Return the number of cached models, and their bytes."""
        return self._models.held()


def _written(pending: PendingPrediction[R], record: ModelRecord, answer: "Answer | Exception") -> R | Exception:
    if isinstance(answer, Exception):
        return answer
    try:
        return pending.write(record, answer)
    except Exception as error:
        return error
