"""The training process answers every order: with what it made, or with a reason that another try would not change."""

import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from support.rounds import through_rounds

from worker.contracts.artifacts import TableRef
from worker.contracts.messages import (
    AnyOrder,
    Failed,
    FitDone,
    FitOrder,
    Interrupted,
    NetworkDone,
    NetworkOrder,
    Origin,
    PartDone,
    PredictDone,
    PredictOrder,
    RoundPlanned,
    TuneDone,
    TuneOrder,
)
from worker.contracts.requests import FitRequest, NetworkRequest, PredictRequest, TuneRequest, Validation
from worker.settings import WorkerSettings
from worker.shell.child import Answer, Child, Died
from worker.store.files.artifacts import Artifacts
from worker.store.files.safetensors_io import pack
from worker.tables.files.ingest import ingest
from worker.tables.media import PARQUET

LAST = (Failed, Interrupted, Died, FitDone, TuneDone, NetworkDone, PredictDone, RoundPlanned, PartDone)
SECONDS = 60
ROWS = 40
DATASET = "ds_" + "0" * 26
Z = np.random.default_rng(0).normal(size=ROWS)
LARGEST = float(np.finfo(np.float64).max)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> WorkerSettings:
    return WorkerSettings(home=tmp_path_factory.mktemp("home"), device="cpu", threads=1, log_level="error")


@pytest.fixture(scope="module")
def child(settings: WorkerSettings) -> Iterator[Child]:
    process = Child(settings)
    yield process
    process.end(5)


@pytest.fixture
def stored(settings: WorkerSettings, tmp_path: Path) -> Callable[[np.ndarray, np.ndarray], TableRef]:
    """Stores a table of the columns x and y as an upload does."""

    def store(x: np.ndarray, y: np.ndarray) -> TableRef:
        source, table = tmp_path / "source", tmp_path / "table"
        pa.parquet.write_table(pa.table({"x": x, "y": y}), source)
        told = ingest(source, PARQUET, table, max_cells=10**6, max_bytes=10**8)
        ref = Artifacts(settings.storage_address).put_file(f"datasets/{tmp_path.name}/table", table)
        return TableRef(dataset=DATASET, table=ref, rows=told.rows, columns=told.columns)

    return store


def answer(child: Child, order: AnyOrder) -> Answer:
    """Return the last answer to an order."""
    child.order(order)
    while True:
        found = child.receive(SECONDS)
        assert found is not None, f"no answer within {SECONDS} s"
        if isinstance(found, LAST):
            return found


def _order(kind: type[Any], **fields: Any) -> Any:
    return kind(job="job_1", attempt=1, origin=Origin(), prefix="job_1/token", **fields)


TABLE = {"dataset": DATASET, "target": "y", "features": ["x"], "task": "regression"}
QUICK = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "exponent": 1.0}
TRAININGS: dict[str, Callable[..., AnyOrder]] = {
    "fit": lambda **table: _order(FitOrder, request=FitRequest(**TABLE, spec=QUICK), **table),
    "fit without rows to validate on": lambda **table: _order(
        FitOrder, request=FitRequest(**TABLE, validation=None, spec=QUICK), **table
    ),
    "fit with folds": lambda **table: _order(
        FitOrder, request=FitRequest(**TABLE, validation=Validation(folds=2), spec=QUICK), **table
    ),
    "fit with folds that are parts": lambda **table: _order(
        FitOrder,
        request=FitRequest(**TABLE, validation=Validation(folds=2), spec=QUICK),
        part_seconds=1e-12,
        **table,
    ),
    "fit of numbers as they are": lambda **table: _order(
        FitOrder, request=FitRequest(**TABLE, spec={**QUICK, "standardize": False, "precision": "float32"}), **table
    ),
    "fit with an exponential kernel": lambda **table: _order(
        FitOrder,
        request=FitRequest(**TABLE, spec={"iterations": 1, "standardize": False, "kernel": "exponential"}),
        **table,
    ),
    "fit without a scale": lambda **table: _order(
        FitOrder, request=FitRequest(**TABLE, spec={**QUICK, "scale": "none", "update": "nfa"}), **table
    ),
    "tune": lambda **table: _order(
        TuneOrder,
        request=TuneRequest(
            **TABLE, spec=QUICK, search={"trials": 2, "space": {"ridge": {"low": 0.1, "high": 1.0, "log": True}}}
        ),
        **table,
    ),
    "network": lambda **table: _order(
        NetworkOrder, request=NetworkRequest(**TABLE, spec={"hidden": [4], "steps": 3, "report_every": 1}), **table
    ),
    "network of numbers as they are": lambda **table: _order(
        NetworkOrder,
        request=NetworkRequest(**TABLE, spec={"hidden": [4], "steps": 3, "report_every": 1, "standardize": False}),
        **table,
    ),
}


def _with(value: float, row: int = 3) -> np.ndarray:
    values = Z.copy()
    values[row] = value
    return values


COLUMNS: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "targets of 1e154": (Z, Z * 1e154),
    "targets of 1e160": (Z, Z * 1e160),
    "targets at the end of all numbers": (Z, np.where(Z > 0, LARGEST, -LARGEST)),
    "targets far from 0": (Z, 1e300 + Z * 1e290),
    "one huge target": (Z, _with(1e200)),
    "one target that squares": (Z, _with(1e150)),
    "tiny targets": (Z, Z * 1e-200),
    "targets with few digits": (Z, Z * 1e-310),
    "targets of the smallest number": (Z, np.where(Z > 0, 5e-324, 0.0)),
    "features of 1e154": (Z * 1e154, Z),
    "features beyond float32": (Z * 1e39, Z),
    "features at the end of all numbers": (np.where(Z > 0, LARGEST, -LARGEST) * np.cos(Z), Z),
    "one huge feature": (_with(1e300), Z),
    "features with few digits": (Z * 1e-310, Z),
    "a constant and huge feature with gaps": (np.where(Z > 1, np.nan, LARGEST), Z),
}


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("training", TRAININGS)
def test_numbers_at_the_ends_of_the_range_are_learned_from_or_refused_for_a_reason(
    child: Child, stored: Callable[[np.ndarray, np.ndarray], TableRef], training: str, columns: str
) -> None:
    process = child.pid
    order = TRAININGS[training](task="regression", table=stored(*COLUMNS[columns]))
    last = through_rounds(partial(answer, child), order)
    if isinstance(last, Failed):
        assert last.error.type in ("numerical_failure", "no_trial_succeeded", "invalid_request"), last
        assert any(word in last.error.detail for word in ("beyond all numbers", "huge", "differ by less")), last
    else:
        assert not isinstance(last, Died | Interrupted), last
    assert child.alive()
    assert child.pid == process, "nothing was lost"


@pytest.mark.parametrize("training", TRAININGS)
def test_targets_whose_squares_are_beyond_all_numbers_are_refused_in_every_kind(
    child: Child, stored: Callable[[np.ndarray, np.ndarray], TableRef], training: str
) -> None:
    order = TRAININGS[training](task="regression", table=stored(Z, Z * 1e160))
    last = through_rounds(partial(answer, child), order)
    assert isinstance(last, Failed)
    assert last.error.type == "numerical_failure"
    assert "the sum of their squares is beyond all numbers (the largest is" in last.error.detail


def test_a_prediction_of_huge_numbers_names_the_row(
    child: Child, stored: Callable[[np.ndarray, np.ndarray], TableRef]
) -> None:
    made = answer(child, TRAININGS["fit of numbers as they are"](task="regression", table=stored(Z, Z)))
    assert isinstance(made, FitDone)
    request = PredictRequest(model="mdl_1", dataset=DATASET)
    order = _order(PredictOrder, request=request, model=made.model, table=stored(_with(1e300, row=6), Z))
    last = answer(child, order)
    assert isinstance(last, Failed)
    assert (last.error.type, "row 7 holds numbers so far" in last.error.detail) == ("invalid_request", True)


def test_a_mistake_of_the_program_ends_the_job_and_says_no_more_than_its_name(
    child: Child, stored: Callable[[np.ndarray, np.ndarray], TableRef], settings: WorkerSettings
) -> None:
    # a file with the right checksum that no version of this program wrote
    no_model = Artifacts(settings.storage_address).put_bytes("models/none", pack({"secret": Z}, {"secret": 1}))
    request = PredictRequest(model="mdl_1", dataset=DATASET)
    last = answer(child, _order(PredictOrder, request=request, model=no_model, table=stored(Z, Z)))
    assert isinstance(last, Failed)
    assert (last.error.type, "KeyError" in last.error.detail) == ("internal", True)
    assert "secret" not in last.error.detail


def test_storage_that_cannot_be_used_is_worth_another_try(
    tmp_path: Path, stored: Callable[[np.ndarray, np.ndarray], TableRef]
) -> None:
    table = stored(Z, Z)
    (tmp_path / "no-folder").write_text("")
    process = Child(WorkerSettings(storage_url=str(tmp_path / "no-folder"), device="cpu", threads=1))
    try:
        last = answer(process, TRAININGS["fit"](task="regression", table=table))
    finally:
        process.end(5)
    assert isinstance(last, Interrupted)
    assert last.error.type == "storage_unavailable"
    assert str(tmp_path) not in last.error.detail


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
@pytest.mark.parametrize(
    ("program", "last"),
    [
        ("""echo '{"kind": "progress", "progress": {"fraction": null}}'; exec sleep 60""", Failed),
        ("""printf '{"kind": "progr'; kill -KILL $$""", Died),
        ("kill -KILL $$", Died),
    ],
)
def test_a_whole_line_that_is_no_report_is_final_and_half_a_line_is_a_lost_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, last: type[Answer]
) -> None:
    script = tmp_path / "program"
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(script))
    process = Child(WorkerSettings(home=tmp_path, device="cpu"))
    monkeypatch.undo()
    try:
        found = process.receive(SECONDS)
    finally:
        process.end(5)
    assert isinstance(found, last)
    if isinstance(found, Died):
        assert signal.Signals.SIGKILL.name in found.reason
    else:
        assert isinstance(found, Failed)
        assert (found.error.type, "progress.progress.fraction" in found.error.detail) == ("internal", True)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL, None])
def test_temporary_files_go_with_the_process_however_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals | None
) -> None:
    script = tmp_path / "program"
    ending = "sleep 60" if how is None else f"kill -{how.name.removeprefix('SIG')} $$"
    script.write_text(f'#!/bin/sh\necho rows > "$TMPDIR/rows"\necho "$TMPDIR" > {tmp_path}/folder\n{ending}\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(script))
    process = Child(WorkerSettings(home=tmp_path, device="cpu"))
    monkeypatch.undo()
    if how is None:
        while not (tmp_path / "folder").exists():
            time.sleep(0.01)
    else:
        assert isinstance(process.receive(SECONDS), Died)
    process.end(5)
    assert not Path((tmp_path / "folder").read_text().strip()).exists()
