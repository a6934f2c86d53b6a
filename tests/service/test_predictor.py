import threading
import time

import anyio
import numpy as np
import pyarrow as pa
import pytest
import torch

from service.predictor import Predictor
from worker.contracts.errors import PredictionsBusy
from worker.contracts.resources import ModelColumn
from worker.engine.kernels import Kernel
from worker.engine.model import FittedModel
from worker.engine.targets import RegressionTargets
from worker.prediction import ServedModel
from worker.store.artifacts import Artifacts
from worker.store.tensors import pack
from worker.tables.encoder import ColumnCode, Encoder

ROWS = 200
TABLE = pa.table({"x": np.linspace(-1, 1, 50)})


def _model(slope):
    """A machine of one column whose answers tell models apart."""
    X = torch.linspace(-1, 1, ROWS).unsqueeze(1)
    targets = RegressionTargets(torch.tensor([float(slope)]).double(), torch.ones(1).double())
    fitted = FittedModel(X, torch.zeros(ROWS, 1), torch.ones(1, 1).double(), Kernel("laplace"), 1.0, targets)
    columns = [ModelColumn(name="x", type="numeric")]
    encoder = Encoder((ColumnCode("x", "numeric", False),), (), False)
    return ServedModel(encoder, fitted, "regression", None, columns, columns)


class _Counting(Artifacts):
    """Storage that counts what is read from it, slowly."""

    def __init__(self, url):
        super().__init__(url)
        self.reads = 0
        self._counting = threading.Lock()

    def read_bytes(self, ref):
        with self._counting:
            self.reads += 1
        time.sleep(0.02)
        return super().read_bytes(ref)


@pytest.fixture
def stored(tmp_path):
    artifacts = _Counting(str(tmp_path))
    refs = {f"mdl_{k}": artifacts.put_bytes(f"m{k}", pack(*_model(k).to_tensors())) for k in range(4)}
    return artifacts, refs


def test_many_requests_at_once_load_a_model_once(stored):
    artifacts, refs = stored
    predictor = Predictor(artifacts, 10**9, 8, 100)

    async def ask():
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(predictor.run, lambda: predictor.predict("mdl_1", refs["mdl_1"], TABLE))

    anyio.run(ask)
    assert artifacts.reads == 1


def test_a_small_cache_lets_the_least_recently_used_go_and_answers_stay_right(stored):
    artifacts, refs = stored
    size = _model(0).nbytes
    predictor = Predictor(artifacts, 2 * size, 4, 100)

    async def ask():
        for k in (0, 1, 0, 2, 0, 3, 1):
            answer = predictor.predict(f"mdl_{k}", refs[f"mdl_{k}"], TABLE)
            assert (answer.predictions == k).all()
            assert predictor.cached()[1] <= 2 * size

    anyio.run(ask)
    assert artifacts.reads == 5, "model 0 stayed, being used in between"


def test_a_model_larger_than_the_cache_still_answers(stored):
    artifacts, refs = stored
    predictor = Predictor(artifacts, 1, 4, 100)
    answer = predictor.predict("mdl_2", refs["mdl_2"], TABLE)
    assert (answer.predictions == 2).all()
    assert predictor.cached()[1] == 0


def test_the_event_loop_is_free_while_a_prediction_runs(stored):
    artifacts, refs = stored
    predictor = Predictor(artifacts, 10**9, 1, 100)
    big = pa.table({"x": np.zeros(200_000)})
    ticks = 0

    async def tick(scope):
        nonlocal ticks
        while not scope.cancel_called:
            ticks += 1
            await anyio.sleep(0.002)

    async def ask():
        async with anyio.create_task_group() as group:
            group.start_soon(tick, group.cancel_scope)
            await predictor.run(lambda: predictor.predict("mdl_1", refs["mdl_1"], big))
            group.cancel_scope.cancel()

    anyio.run(ask)
    assert ticks >= 5


def test_the_line_of_predictions_has_an_end_and_places_come_back(stored):
    predictor = Predictor(stored[0], 10**9, 1, 2)
    with predictor.place(), predictor.place():
        with predictor.place(), pytest.raises(PredictionsBusy, match="3 predictions"), predictor.place():
            pass
        with predictor.place():
            pass


def test_predictions_take_no_thread_from_other_work(stored):
    predictor = Predictor(stored[0], 10**9, 1, 100)
    go_on = threading.Event()

    async def ask():
        async with anyio.create_task_group() as group:
            for _ in range(60):
                group.start_soon(predictor.run, lambda: go_on.wait(60))
            # more predictions wait than there are other threads; other work still gets one
            await anyio.to_thread.run_sync(go_on.set)

    anyio.run(ask)
    assert go_on.is_set()
