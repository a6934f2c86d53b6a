"""The rounds of trials that a search plans."""

import numpy as np
import pyarrow as pa
import pytest
import torch

from worker.contracts.artifacts import TableRef
from worker.contracts.messages import RoundPlanned, TuneOrder
from worker.contracts.parts import TrialWork
from worker.contracts.requests import TuneRequest
from worker.runs.tune import tune
from worker.store.files.artifacts import Artifacts
from worker.tables.files.ingest import ingest
from worker.tables.media import PARQUET
from worker.training.machine import Machine

DATASET = "ds_" + "0" * 26
SPACE = {
    "encoding": {"choices": ["plain", "expanded"]},
    "iterations": {"low": 1, "high": 30, "integer": True},
    "update": {"choices": ["fact", "nfa"]},
}


@pytest.fixture
def first_round(tmp_path):
    """Return the trials of a search's first round in the order of their parts."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=300) for name in "abcdy"}
    pa.parquet.write_table(pa.table(columns), tmp_path / "source")
    told = ingest(tmp_path / "source", PARQUET, tmp_path / "table", max_cells=10**6, max_bytes=10**8)
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    request = TuneRequest(
        kind="tune",
        dataset=DATASET,
        target="y",
        features=list("abcd"),
        spec={"encoding": "plain"},
        search={"trials": 10, "space": SPACE, "seed": 3},
    )
    order = TuneOrder(
        job="job_1",
        attempt=1,
        origin={},
        prefix="job_1/1",
        request=request,
        task="regression",
        table=TableRef(
            dataset=DATASET,
            table=artifacts.put_file("table", tmp_path / "table"),
            rows=told.rows,
            columns=told.columns,
        ),
    )
    planned = tune(order, artifacts, Machine(torch.device("cpu"), None), lambda report: None)
    assert isinstance(planned, RoundPlanned)
    return [work for work in planned.parts if isinstance(work, TrialWork)], planned.progress


def test_trials_that_take_long_begin_first(first_round):
    works, _ = first_round
    ways = {(work.params["update"], work.params["encoding"]) for work in works}
    assert len(ways) > 2, "the round says nothing of some options"
    for update, encoding in ways:
        steps = [
            int(work.params["iterations"])
            for work in works
            if (work.params["update"], work.params["encoding"]) == (update, encoding)
        ]
        assert steps == sorted(steps, reverse=True)
    # of the four columns an expanded encoding makes many
    assert works[0].params["encoding"] == "expanded"


def test_the_trials_of_a_round_are_told_by_their_numbers(first_round):
    works, progress = first_round
    assert sorted(work.trial for work in works) == list(range(1, 11))
    assert progress.stage == "trials 1 to 10 of 10"
