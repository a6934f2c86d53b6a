"""Folds of a fit are parts of the job where they take long, and the model is the same."""

import numpy as np
import pandas as pd
import pytest
from support.inline import run_job, run_once

from worker.contracts.artifacts import Checkpoint, FoldsCheckpoint
from worker.contracts.messages import IterationReport, Reported
from worker.runs.__main__ import carry_out
from worker.shell.orders import build_order
from worker.store import jobs
from worker.store.files.safetensors_io import unpack
from worker.store.jobs import parts
from worker.training.machine import Machine

FOLDS = 3
AT_ONCE = 1e-12
"""Seconds that every fold takes longer than."""


@pytest.fixture
def dataset(client):
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (90, 3))
    y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2 + 0.1 * rng.normal(size=90)
    frame = pd.DataFrame(X, columns=list("abc")).assign(y=y, kind=np.where(y > 0.2, "high", "low"))
    answer = client.post("/v1/datasets", content=frame.to_csv(index=False), headers={"Content-Type": "text/csv"})
    return answer.json()["id"]


def _submit(client, dataset, target="y", **spec):
    body = {"kind": "fit", "dataset": dataset, "target": target, "features": ["a", "b", "c"]}
    body |= {"validation": {"folds": FOLDS}, "spec": {"iterations": 3, **spec}}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def _timeless(value):
    if isinstance(value, dict):
        return {name: _timeless(one) for name, one in value.items() if not name.endswith("seconds")}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


def _made(client, context, job):
    """Return what a job's model is, but for names and times."""
    ended = client.get(f"/v1/jobs/{job}").json()
    assert ended["state"] == "succeeded", ended["error"]
    model = client.get(f"/v1/models/{ended['model']}").json()
    tensors, metadata = unpack(client.get(f"/v1/models/{ended['model']}/export").content)
    arrays = {name: array.tobytes() for name, array in tensors.items()}
    # why a solver is the one names the memory that is free
    names = ("id", "name", "job", "created_at", "solver")
    return arrays, metadata, _timeless({name: value for name, value in model.items() if name not in names})


@pytest.mark.parametrize(
    ("target", "spec"),
    [
        ("y", {}),
        ("kind", {}),
        ("y", {"ridge": 0.1, "encoding": "plain", "feature_matrix": "full", "exponent": 1.0, "patience": 1}),
    ],
)
def test_folds_that_are_parts_make_the_model_of_folds_one_after_another(client, context, dataset, target, spec):
    job, seen = _submit(client, dataset, target, **spec), []
    run_once(context, job, seen.append)
    alone = _made(client, context, job)
    expected = [report.data for report in seen if isinstance(report, IterationReport) and report.data.fold]
    job = _submit(client, dataset, target, **spec)
    run_job(context, job, AT_ONCE)
    assert [part.kind for part in parts.list_parts(context.database, job).items] == ["fold"] * FOLDS
    assert _made(client, context, job) == alone
    told = [event["data"] for event in client.get(f"/v1/jobs/{job}/events").json() if event["type"] == "iteration"]
    assert _timeless(told) == [_timeless(data.model_dump()) for data in expected], "followers see the same"


def test_the_order_in_which_folds_end_changes_nothing_of_the_model(client, context, dataset):
    made = []
    for backwards in (False, True):
        job = _submit(client, dataset)
        wanted = [job]
        while wanted:
            following = run_once(context, wanted.pop(0), part_seconds=AT_ONCE)
            wanted += following[::-1] if backwards else following
        made.append(_made(client, context, job))
    assert made[1] == made[0]


@pytest.mark.parametrize("spec", [{}, {"encoding": "plain", "exponent": 1.0, "feature_matrix": "full", "ridge": 0.1}])
def test_progress_does_not_go_back_when_folds_begin_and_when_they_have_ended(client, context, dataset, spec):
    job, seen = _submit(client, dataset, **spec), []
    planned = run_once(context, job, seen.append, part_seconds=AT_ONCE)
    # between two reports as much may be shown as the next one was to have
    shown = max(report.next_fraction for report in seen if isinstance(report, Reported))
    for part in planned:
        now = client.get(f"/v1/jobs/{job}").json()["progress"]["fraction"]
        assert now >= shown
        shown = now
        run_once(context, part)
    seen.clear()
    after = client.get(f"/v1/jobs/{job}").json()["progress"]["fraction"]
    assert after > shown
    run_once(context, job, seen.append, part_seconds=AT_ONCE)
    assert min(report.progress.fraction for report in seen if isinstance(report, Reported)) >= after


def test_folds_of_a_small_table_are_no_parts(client, context, dataset):
    job = _submit(client, dataset)
    run_job(context, job, 5.0)
    assert parts.list_parts(context.database, job).items == []
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded"


def test_a_job_that_is_tried_again_fits_only_the_folds_that_are_left(client, context, dataset):
    undisturbed = _submit(client, dataset)
    run_job(context, undisturbed, AT_ONCE)
    job = _submit(client, dataset)
    first, second, third = run_once(context, job, part_seconds=AT_ONCE)
    run_once(context, second)
    shown = client.get(f"/v1/jobs/{job}").json()
    assert (shown["state"], shown["progress"]["parts"]["done"]) == ("running", 1)
    assert shown["metrics"], "as far as folds tell"
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 202
    assert client.post(f"/v1/jobs/{job}/retry").status_code == 202
    assert run_once(context, job, part_seconds=AT_ONCE) == [first, third]
    for part in (third, first):
        run_once(context, part)
    # another worker, whose setting would not make parts of folds
    run_job(context, job, 1e9)
    assert _made(client, context, job) == _made(client, context, undisturbed)


def test_a_fit_lost_after_its_folds_goes_on_with_what_they_found(client, context, dataset):
    job = _submit(client, dataset)
    for part in run_once(context, job, part_seconds=AT_ONCE):
        run_once(context, part)
    claim = jobs.claim(context.database, job, "test", 60, context.now())
    order = build_order(claim, AT_ONCE)
    assert isinstance(order.checkpoint, FoldsCheckpoint)
    machine, seen = Machine.find("cpu", None), []
    whole = carry_out(order, context.artifacts, machine, seen.append)
    checkpoints = [report.checkpoint for report in seen if isinstance(report, IterationReport)]
    assert {checkpoint.fold for checkpoint in checkpoints} == {None}
    for checkpoint in checkpoints:
        again = order.model_copy(update={"checkpoint": checkpoint, "outcomes": [], "prefix": f"{job}/again"})
        resumed = carry_out(again, context.artifacts, machine, lambda _: None)
        assert resumed.model.sha256 == whole.model.sha256


def test_a_checkpoint_within_a_fold_of_folds_one_after_another_is_gone_on_from(client, context, dataset):
    job = _submit(client, dataset)
    claim = jobs.claim(context.database, job, "test", 60, context.now())
    machine, seen = Machine.find("cpu", None), []
    whole = carry_out(build_order(claim), context.artifacts, machine, seen.append)
    checkpoints = [report.checkpoint for report in seen if isinstance(report, IterationReport)]
    assert {checkpoint.fold for checkpoint in checkpoints} == {1, 2, 3, None}
    for checkpoint in checkpoints:
        assert isinstance(checkpoint, Checkpoint)
        order = build_order(claim, AT_ONCE).model_copy(update={"checkpoint": checkpoint, "prefix": f"{job}/again"})
        assert carry_out(order, context.artifacts, machine, lambda _: None).model.sha256 == whole.model.sha256


def test_a_checkpoint_that_is_gone_after_the_folds_is_a_fresh_start_in_a_new_round(client, context, dataset):
    job = _submit(client, dataset)
    for part in run_once(context, job, part_seconds=AT_ONCE):
        run_once(context, part)
    seen = []
    claim = jobs.claim(context.database, job, "test", 60, context.now())
    carry_out(build_order(claim), context.artifacts, Machine.find("cpu", None), seen.append)
    newest = next(report.checkpoint for report in seen if isinstance(report, IterationReport))
    jobs.record(context.database, job, claim.token, context.now(), checkpoint=newest)
    jobs.release(context.database, job, claim.token, context.now(), "stopped")
    context.artifacts.delete(newest.newest.key)
    planned = run_once(context, job, part_seconds=AT_ONCE)
    assert [part.split(".")[1] for part in planned] == ["0002"] * FOLDS
    for part in planned:
        run_once(context, part)
    run_job(context, job, AT_ONCE)
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded"


def test_the_matrix_of_a_job_whose_folds_are_under_way_is_not_there_yet(client, context, dataset):
    job = _submit(client, dataset)
    run_once(context, job, part_seconds=AT_ONCE)
    assert client.get(f"/v1/jobs/{job}/features").status_code == 409
    page = client.get(f"/jobs/{job}").text
    assert page.count('class="piece queued"') == FOLDS
    assert "Round 1, folds" in page
