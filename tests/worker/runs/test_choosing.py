import math

import pyarrow as pa
import pytest
import torch

from worker.contracts.artifacts import ArtifactRef, ChoosingCheckpoint, TableRef
from worker.contracts.messages import BlocksOrder, CandidateOrder
from worker.contracts.parts import CandidateDone, PartOutcome
from worker.contracts.requests import FitRequest
from worker.contracts.resources import ModelColumn, Progress
from worker.contracts.specs import FitSpec
from worker.engine.errors import EngineError
from worker.runs.choosing import READING_SHARE, Choosing
from worker.runs.parts.candidate import CandidateRows, candidate
from worker.store.files.artifacts import Artifacts
from worker.tables.encoding.encoder import Encoder
from worker.training.machine import Machine
from worker.training.model_selection import Candidates, choose
from worker.training.rows import TrainingRows, fitted_targets

CPU = Machine(torch.device("cpu"), None)
ABOUT = {"job": "job_1", "attempt": 1, "origin": {}, "prefix": "job_1/1"}
TABLE = TableRef(
    dataset="ds_01jd0000000000000000000000",
    table=ArtifactRef(key="table", sha256="0", bytes=0),
    rows=900,
    columns=[],
)


@pytest.fixture
def artifacts(tmp_path):
    return Artifacts(str(tmp_path))


def _load(classes, validating, n=1200):
    """Return what reads rows with one numeric column of many values, and one of noise."""
    generator = torch.Generator().manual_seed(0)
    names = ("a", "b")
    X = torch.randn(n + 100, 2, generator=generator, dtype=torch.float64)
    signal = (2 * X[:, 0]).sin()
    Y = (signal > 0).long() if classes else signal[:, None]
    targets = fitted_targets(Y[:n], ["no", "yes"] if classes else None, centred=True)
    validation = (X[n:], Y[n:]) if validating else None

    def load(spec):
        columns = [ModelColumn(name=name, type="numeric") for name in names]
        table = pa.table({name: X[:n, place].numpy() for place, name in enumerate(names)})
        encoder = Encoder.fit(
            table, columns, standardize=True, normalize_rows=False, expanded=spec.encoding == "expanded"
        )
        encoded = torch.from_numpy(encoder.encode(table))
        held_out = None
        if validation is not None:
            rest = pa.table({name: X[n:, place].numpy() for place, name in enumerate(names)})
            held_out = torch.from_numpy(encoder.encode(rest)), validation[1]
        return TrainingRows(encoded, Y[:n], targets, None, encoder, held_out)

    return load


def _order(spec, **changes):
    request = FitRequest(kind="fit", dataset=TABLE.dataset, target="y", spec=spec)
    return BlocksOrder(**ABOUT, request=request, task="regression", table=TABLE, **changes)


def _through(spec, load, artifacts, forget=lambda outcomes: outcomes):
    """Return the choice that rounds of short runs come to, and how many rounds were planned."""
    order, rounds = _order(spec), 0
    kept: dict[tuple[int, int], CandidateDone] = {}
    while True:
        choosing = Choosing(order, artifacts)
        if not choosing.begun:
            choosing.begin(Candidates.of(spec, load), CPU)
        planned = choosing.planned(0.1, Progress())
        if planned is None:
            return choosing, rounds
        rounds += 1
        for number, work in enumerate(planned.parts):
            if (planned.round, number) not in kept:
                kept[planned.round, number] = candidate(CandidateOrder(**ABOUT, work=work), artifacts, CPU).result
        outcomes = [PartOutcome(number=n, result=done) for (of, n), done in kept.items() if of == planned.round]
        lost = forget(outcomes)
        for outcome in outcomes:
            if outcome not in lost:
                del kept[planned.round, outcome.number]
        order = _order(spec, round=planned.round, outcomes=lost, checkpoint=planned.checkpoint)


@pytest.mark.parametrize("classes", [False, True])
@pytest.mark.parametrize("validating", [False, True])
def test_rounds_of_short_runs_choose_what_one_process_does(classes, validating, artifacts):
    spec, load = FitSpec(exponent="auto", feature_matrix="auto", encoding="auto", seed=3), _load(classes, validating)
    alone = choose(spec, load)
    choosing, rounds = _through(spec, load, artifacts)
    assert choosing.spec == alone.spec
    found = [(run.candidate, run.rung, run.rows, run.loss, run.iteration, run.ridge) for run in choosing._runs]
    assert found == [(run.candidate, run.rung, run.rows, run.loss, run.iteration, run.ridge) for run in alone.runs]
    assert rounds == 2
    assert choosing.encoder().names == alone.rows.encoder.names


def test_a_round_that_lost_parts_is_planned_again_under_its_number(artifacts):
    spec, load = FitSpec(feature_matrix="auto", encoding="auto"), _load(False, True)
    losses = iter((True, False, True, False))
    choosing, rounds = _through(spec, load, artifacts, lambda all_of: all_of[1:] if next(losses) else all_of)
    assert rounds == 4
    assert choosing.round == 3
    assert choosing.spec == choose(spec, load).spec


def test_nothing_is_run_where_nothing_is_open(artifacts):
    spec = FitSpec(feature_matrix="full", encoding="plain", exponent=1.0)
    choosing, rounds = _through(spec, _load(False, True), artifacts)
    assert (rounds, choosing.spec, choosing.summaries) == (0, choose(spec, _load(False, True)).spec, [])
    assert choosing.encoder() is None


def test_when_every_candidate_breaks_down_the_first_says_why(artifacts):
    spec, load = FitSpec(feature_matrix="auto", encoding="plain"), _load(False, False)
    choosing = Choosing(_order(spec), artifacts)
    choosing.begin(Candidates.of(spec, load), CPU)
    planned = choosing.planned(0.1, Progress())
    broken = [
        PartOutcome(
            number=number,
            result=CandidateDone(candidate=work.candidate, rung=0, rows=9, seconds=0, failed=f"no {number}"),
        )
        for number, work in enumerate(planned.parts)
    ]
    again = Choosing(_order(spec, round=1, outcomes=broken, checkpoint=planned.checkpoint), artifacts)
    with pytest.raises(EngineError, match="no 0"):
        again.planned(0.1, Progress())
    assert isinstance(planned.checkpoint, ChoosingCheckpoint)


def test_a_candidate_that_breaks_down_loses(artifacts):
    spec, load = FitSpec(feature_matrix="auto", encoding="plain", exponent=1.0), _load(False, False)
    choosing = Choosing(_order(spec), artifacts)
    choosing.begin(Candidates.of(spec, load), CPU)
    planned = choosing.planned(0.1, Progress())
    done = [
        CandidateDone(candidate=0, rung=0, rows=9, seconds=0, failed="no"),
        CandidateDone(candidate=1, rung=0, rows=9, seconds=0, loss=(0.5,), ridge=0.1),
    ]
    outcomes = [PartOutcome(number=number, result=result) for number, result in enumerate(done)]
    again = Choosing(_order(spec, round=1, outcomes=outcomes, checkpoint=planned.checkpoint), artifacts)
    [following] = again.planned(0.1, Progress()).parts
    assert (following.candidate, following.rung) == (1, 1)
    assert 0.1 in following.ridges
    begun, following = planned.progress.fraction, again.planned(0.1, Progress()).progress.fraction
    assert math.isclose(begun, 0.1 * READING_SHARE)
    assert math.isclose(following, 0.1 * (READING_SHARE + (1 - READING_SHARE) * 2 / 3))


def test_few_rows_are_chosen_with_by_the_job_itself(artifacts):
    spec, load = FitSpec(exponent="auto", feature_matrix="auto", seed=3), _load(False, True, n=300)
    alone = choose(spec, load)
    choosing, rounds = _through(spec, load, artifacts)
    assert (rounds, choosing.spec) == (0, alone.spec)
    assert [run.loss for run in choosing._runs] == [run.loss for run in alone.runs]


def test_the_rows_of_a_candidate_keep_the_weights_of_texts(artifacts):
    table = pa.table({"notes": [f"bright hall {k}" if k % 3 else f"dark bath {k % 7}" for k in range(60)]})
    columns = [ModelColumn(name="notes", type="text")]
    encoder = Encoder.fit(table, columns, standardize=True, normalize_rows=False)
    X, Y = torch.from_numpy(encoder.encode(table)), torch.arange(60.0, dtype=torch.float64)[:, None]
    rows = CandidateRows(X, Y, 60, fitted_targets(Y, None, centred=True), encoder, None)
    again = CandidateRows.of(artifacts.put_bytes("rows", rows.packed()), artifacts)
    assert again.encoder.names == encoder.names
    assert torch.equal(torch.from_numpy(again.encoder.encode(table)), X)
