import json
import threading
import time
from dataclasses import replace
from functools import partial

import anyio
import numpy as np
import pyarrow as pa
import pytest
import torch

from service.runtime.predictor import PendingPrediction, Predictor
from tests.support.stored import at_once
from worker.contracts.errors import InvalidRequest, PredictionsBusy
from worker.contracts.resources import ModelColumn
from worker.engine.kernels import kernel_of
from worker.engine.model import FittedModel
from worker.engine.targets import RegressionTargets
from worker.serving.model import ServedModel
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import pack
from worker.tables.encoding.column_code import ColumnCode
from worker.tables.encoding.encoder import Encoder
from worker.tables.media import JSON

ROWS = 200
TABLE = pa.table({"x": np.linspace(-1, 1, 50)})


def _model(slope):
    """A machine of one column whose answers tell models apart."""
    X = torch.linspace(-1, 1, ROWS).unsqueeze(1)
    targets = RegressionTargets(torch.tensor([float(slope)]).double(), torch.ones(1).double())
    fitted = FittedModel(X, torch.zeros(ROWS, 1), torch.ones(1, 1).double(), kernel_of("laplace"), 1.0, targets)
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
    at_once([partial(predictor.predict, "mdl_1", refs["mdl_1"], TABLE)] * 20)
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


def test_the_line_of_predictions_has_an_end_and_places_come_back(stored):
    predictor = Predictor(stored[0], 10**9, 1, 2)
    with predictor.admission(), predictor.admission():
        with predictor.admission(), pytest.raises(PredictionsBusy, match="3 predictions"), predictor.admission():
            pass
        with predictor.admission():
            pass


@pytest.fixture
def asked(context, model):
    """Ask a predictor of its own about the model ``prices``, in one event loop: the tables of ``questions`` at once."""

    def ask(questions, **settings):
        predictor = Predictor(context.artifacts, 10**9, 1, 100, **settings)
        answers = [None] * len(questions)

        async def one(index, question):
            try:
                answers[index] = await predictor.answer(context.database, "prices", question)
            except InvalidRequest as error:
                answers[index] = error

        async def every():
            async with anyio.create_task_group() as group:
                for index, question in enumerate(questions):
                    group.start_soon(one, index, question)

        anyio.run(every)
        return answers

    return ask


def _question(table, write=lambda record, answer: answer.predictions[:, 0].tolist()):
    def read(known):
        return known.reader.fit(table, max_rows=1000)

    return PendingPrediction(100, read, write)


def _rows(*sizes):
    return pa.table({"size": pa.array(sizes, pa.float64()), "city": ["Rome"] * len(sizes)})


def test_rows_are_answered_together_as_they_are_alone(asked):
    tables = [_rows(*range(k, k + n)) for k, n in enumerate([1, 3, 1, 2, 5, 1, 1, 4] * 4)]
    together = asked([_question(table) for table in tables])
    alone = asked([_question(table) for table in tables], batch_rows=1)
    assert [len(answer) for answer in together] == [len(table) for table in tables]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_rows_that_do_not_fit_fail_their_own_request_alone(asked):
    bad = pa.table({"size": ["huge"], "city": ["Rome"]})
    infinite = _rows(1.0, float("inf"))
    answers = asked([_question(one) for one in (_rows(1.0), bad, _rows(2.0), infinite, _rows(3.0))])
    assert "'huge' is not numeric" in str(answers[1])
    assert "row 2, column 'size': inf" in str(answers[3])
    assert [len(answers[index]) for index in (0, 2, 4)] == [1, 1, 1]


def test_a_wrong_cell_is_told_by_its_place_in_the_request_that_has_it(asked):
    def question(*sizes):
        body = json.dumps({"rows": [{"size": size, "city": "Rome"} for size in sizes]}).encode()

        return replace(_question(None), read=lambda known: known.reader.read(body, JSON, max_rows=10))

    answers = asked([question("1", "2"), question("3"), question("4", "huge"), question("5")])
    assert [one.pointer for one in answers[2].errors] == ["/rows/1/size"]
    assert [len(answers[index]) for index in (0, 1, 3)] == [2, 1, 1]


def test_an_answer_that_cannot_be_written_fails_alone(asked):
    def failing(record, answer):
        raise InvalidRequest("not so")

    answers = asked([_question(_rows(1.0)), _question(_rows(2.0), failing), _question(_rows(3.0))])
    assert str(answers[1]) == "not so"
    assert [len(answers[index]) for index in (0, 2)] == [1, 1]


def test_missing_values_and_numbers_of_other_types_go_together_with_others(asked):
    tables = [
        _rows(1.0),
        pa.table({"size": pa.nulls(1), "city": ["Rome"]}),
        pa.table({"size": pa.array([1], pa.int64()), "city": ["Rome"], "more": [1]}),
        pa.table({"city": pa.array(["Rome"], pa.large_string()), "size": pa.array([1.0], pa.float32())}),
    ]
    answers = asked([_question(table) for table in tables])
    np.testing.assert_allclose(answers[2], answers[0], rtol=1e-6)
    np.testing.assert_allclose(answers[3], answers[0], rtol=1e-6)
    assert np.isfinite(answers[1][0])
