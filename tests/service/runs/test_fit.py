"""A fit as a worker's computing process does it, on a dataset that the service stored."""

import numpy as np
import pyarrow as pa
import pytest
from support.rounds import through_rounds
from support.stored import make_checkpoint
from support.tables import as_file

from worker.contracts.messages import IterationReport, LogReport
from worker.engine.errors import EngineError, NonFiniteValues, NotPositiveDefinite
from worker.runs.__main__ import carry_out
from worker.runs.fit import fit
from worker.settings import WorkerSettings
from worker.shell.attempt import Attempt
from worker.shell.lease import Lease
from worker.shell.orders import build_order
from worker.shell.supervisor import Supervisor
from worker.store import jobs
from worker.store.files.safetensors_io import unpack
from worker.tables.media import ARROW_FILE, CSV
from worker.training.machine import Machine


@pytest.fixture
def run_fit(client, dataset, context):
    """Runs a fit with the given changes to its body, from a checkpoint if one is given."""

    def run(checkpoint=None, **changes):
        body = {"kind": "fit", "dataset": dataset, "target": "price", "spec": {"iterations": 2}, **changes}
        answer = client.post("/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        claim = jobs.claim(context.database, answer.json()["id"], "test", 60, context.now())
        order = build_order(claim).model_copy(update={"checkpoint": checkpoint})
        reports = []
        done = fit(order, context.artifacts, Machine.find("cpu", None), reports.append)
        return done, reports

    return run


def _model(context, done):
    tensors, metadata = unpack(context.artifacts.read_bytes(done.model))
    return {name: values.tolist() for name, values in tensors.items()}, metadata


def _told(reports):
    return [report.data.message for report in reports if isinstance(report, LogReport)]


@pytest.mark.parametrize("validation", [{"fraction": 0.2}, {"folds": 3}])
def test_a_fit_that_goes_on_keeps_its_choice_and_ends_in_the_same_model(run_fit, context, validation):
    whole, reports = run_fit(validation=validation)
    checkpoints = [report.checkpoint for report in reports if isinstance(report, IterationReport)]
    assert any("did best in" in told for told in _told(reports))
    for checkpoint in checkpoints:
        resumed, again = run_fit(checkpoint, validation=validation)
        assert not any("did best in" in told for told in _told(again)), "nothing is chosen twice"
        assert _model(context, resumed) == _model(context, whole)
        assert resumed.summary.choices == whole.summary.choices
        assert resumed.summary.solver == whole.summary.solver


def test_training_rows_are_encoded_out_of_fold_again_when_a_fit_goes_on(client, run_fit, context):
    shops = np.random.default_rng(0).integers(0, 30, 90).tolist()
    content = "shop,price\n" + "".join(f"s{shop},{shop % 7 + number % 2}\n" for number, shop in enumerate(shops))
    dataset = client.post("/v1/datasets", content=content, headers={"Content-Type": "text/csv"}).json()["id"]
    body = {"dataset": dataset, "spec": {"iterations": 1, "encoding": "statistics", "ridge": 0.1}}
    for validation in ({"fraction": 0.2}, {"folds": 2}):
        whole, reports = run_fit(**body, validation=validation)
        assert "shop: target mean of 0" in whole.summary.encoded_names
        for report in reports:
            if isinstance(report, IterationReport):
                resumed, _ = run_fit(report.checkpoint, **body, validation=validation)
                assert _model(context, resumed) == _model(context, whole)


def test_a_fit_whose_checkpoint_is_gone_starts_afresh_and_ends_in_the_same_model(client, dataset, context):
    body = {"kind": "fit", "dataset": dataset, "target": "price", "spec": {"iterations": 2}}
    job = client.post("/v1/jobs", json=body).json()["id"]
    order = build_order(jobs.claim(context.database, job, "test", 60, context.now()))
    machine, told = Machine.find("cpu", None), []
    whole = carry_out(order, context.artifacts, machine, lambda _: None)
    resumed = order.model_copy(update={"checkpoint": make_checkpoint(1)})
    again = carry_out(resumed, context.artifacts, machine, told.append)
    assert any("starting afresh" in line for line in _told(told))
    assert _model(context, again) == _model(context, whole)


@pytest.mark.parametrize("kind", ["fit", "tune"])
def test_a_checkpoint_of_a_classification_whose_scores_were_others_is_not_gone_on_from(client, context, kind):
    content = "x,y\n" + "".join(f"{number % 11},{'ab'[number % 11 > 4]}\n" for number in range(60))
    dataset = client.post("/v1/datasets", content=content, headers={"Content-Type": "text/csv"}).json()["id"]
    body = {"kind": kind, "dataset": dataset, "target": "y", "spec": {"iterations": 1}}
    body |= {"search": {"trials": 2}} if kind == "tune" else {}
    job = client.post("/v1/jobs", json=body).json()["id"]
    order = build_order(jobs.claim(context.database, job, "test", 60, context.now()))
    machine, reports, told = Machine.find("cpu", None), [], []
    whole = through_rounds(lambda order: carry_out(order, context.artifacts, machine, reports.append), order)
    newest = [one.checkpoint for one in reports if isinstance(one, IterationReport)][-1]
    assert newest.centred
    of_before = newest.model_copy(update={"centred": False})
    of_before = order.model_copy(update={"checkpoint": of_before})
    again = through_rounds(lambda order: carry_out(order, context.artifacts, machine, told.append), of_before)
    assert any("scored classes differently: the job begins anew" in line for line in _told(told))
    first, second = ((one.fit if kind == "tune" else one) for one in (whole, again))
    assert _model(context, second) == _model(context, first)


def test_rows_to_validate_on_are_read_with_the_texts_that_training_declares(client, context):
    rng = np.random.default_rng(0)
    texts, labels = ["1.5", "1.50", "NA"], ["1", "1.0", "None"]
    codes = rng.integers(3, size=60)
    columns = [pa.array(names).take(pa.array(codes)) for names in (texts, labels)]
    declared = pa.table({"c": columns[0].dictionary_encode(), "y": columns[1].dictionary_encode()})
    rows = zip(*(column.to_pylist() for column in columns), strict=True)
    csv = "c,y\n" + "".join(f"{text},{label}\n" for text, label in rows)
    found = []
    for content, kind in ((as_file(declared), ARROW_FILE), (csv.encode(), CSV)):
        answer = client.post("/v1/datasets", content=content, headers={"Content-Type": kind})
        found.append(answer.json()["id"])
    metrics = []
    for other in found:
        body = {"kind": "fit", "dataset": found[0], "target": "y", "validation": {"dataset": other}}
        answer = client.post("/v1/jobs", json={**body, "spec": {"iterations": 1}})
        assert answer.status_code == 202, answer.text
        order = build_order(jobs.claim(context.database, answer.json()["id"], "test", 60, context.now()))
        metrics.append(carry_out(order, context.artifacts, Machine.find("cpu", None), lambda _: None).summary.metrics)
    assert metrics[0]["validation_accuracy"] == 1.0
    assert metrics[1] == metrics[0]


def test_a_model_tells_what_was_tried_and_that_all_rows_trained(run_fit):
    done, _ = run_fit()
    told = done.summary
    assert {(one.encoding, one.feature_matrix, one.exponent) for one in told.choices if one.lap == 1} == {
        (encoding, matrix, exponent)
        for encoding in ("plain", "expanded")
        for matrix in ("full", "diagonal")
        for exponent in (1.3, 1.0)
    }
    assert {told.spec[name] for name in ("encoding", "feature_matrix", "exponent")} & {"auto"} == set()
    assert told.solver.startswith("cholesky: 40 rows are at most")
    assert (told.refitted, told.training_rows) == (True, 40)


def test_folds_choose_the_ridge_and_no_row_is_left_to_refit(run_fit):
    done, _ = run_fit(validation={"folds": 3})
    assert (done.summary.refitted, done.summary.training_rows) == (False, 40)
    assert done.summary.ridge in (1e-3, 1e-2, 0.1, 1.0, 10.0)


def test_without_refit_the_rows_held_out_stay_out(run_fit):
    done, _ = run_fit(spec={"iterations": 2, "refit": False, "encoding": "plain", "exponent": 1})
    assert (done.summary.refitted, done.summary.training_rows) == (False, 32)
    assert len({one.feature_matrix for one in done.summary.choices}) == 2


def test_rows_that_cannot_join_the_last_solve_are_told_and_lose_no_model(run_fit, context, monkeypatch):
    spec = {"iterations": 2, "encoding": "plain", "exponent": 1, "feature_matrix": "full"}
    alone, _ = run_fit(spec={**spec, "refit": False})

    def refuse(*arguments):
        raise NotPositiveDefinite("not today")

    monkeypatch.setattr("worker.training.pipeline.refit", refuse)
    done, reports = run_fit(spec=spec)
    assert (done.summary.refitted, done.summary.training_rows) == (False, 32)
    assert "the rows held out did not join the last solve: not today" in _told(reports)
    assert _model(context, done) == _model(context, alone)


def test_a_loss_that_is_no_number_is_an_error_of_the_mathematics(client, run_fit):
    far = "size,city,price\n" + "".join(f"{size},Bern,1\n" for size in (1, 2, 1e7))
    other = client.post("/v1/datasets", content=far, headers={"Content-Type": "text/csv"}).json()["id"]
    spec = {"iterations": 1, "kernel": "exponential", "encoding": "plain"}
    with pytest.raises(EngineError, match="validate on"):
        run_fit(validation={"dataset": other}, spec=spec)
    with pytest.raises(NonFiniteValues, match="validate on"):
        run_fit(validation={"dataset": other}, spec={**spec, "feature_matrix": "full", "ridge": 0.1})


def test_what_is_asked_for_is_not_put_to_choice(run_fit):
    spec = {"iterations": 1, "encoding": "plain", "exponent": 1.3, "feature_matrix": "diagonal", "solver": "cg"}
    done, reports = run_fit(spec={**spec, "ridge": 0.5})
    assert done.summary.choices == []
    assert done.summary.solver == "cg: as asked for"
    assert done.summary.ridge == 0.5
    assert not any("did best in" in told for told in _told(reports))


def test_a_cancel_that_comes_before_the_end_keeps_what_a_retry_goes_on_from(client, dataset, context, settings):
    body = {"kind": "fit", "dataset": dataset, "target": "price", "spec": {"iterations": 1, "encoding": "plain"}}
    job = client.post("/v1/jobs", json=body).json()["id"]
    claim = jobs.claim(context.database, job, "test", 60, context.now())
    reports = []
    done = fit(build_order(claim), context.artifacts, Machine.find("cpu", None), reports.append)
    checkpoint = [report.checkpoint for report in reports if isinstance(report, IterationReport)][-1]
    jobs.record(context.database, job, claim.token, context.now(), checkpoint=checkpoint)
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 202
    supervisor = Supervisor(WorkerSettings(home=settings.home), context.database, context.artifacts, worker="test")
    attempt = Attempt(supervisor, claim, Lease(context.database, job, claim.token, 60, context.now))
    assert attempt._succeed(done) == "cancelled"
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "cancelled"
    for ref in (checkpoint.newest, checkpoint.best, *checkpoint.matrices):
        assert context.artifacts.read_bytes(ref)


@pytest.mark.parametrize(
    ("body", "chosen_by"),
    [
        ({}, "validation"),
        ({"validation": {"folds": 2}}, "folds"),
        ({"validation": None}, "leave_one_out"),
        ({"validation": None, "spec": {"iterations": 2, "solver": "cg", "ridge": 1.0}}, "last"),
        ({"validation": None, "spec": {"iterations": 0}}, "last"),
    ],
)
def test_a_model_says_what_chose_its_iteration(run_fit, context, body, chosen_by):
    done, reports = run_fit(**body)
    told = done.summary
    assert told.chosen_by == chosen_by
    losses = [one.metrics.get("leave_one_out_rmse", one.metrics.get("leave_one_out_brier")) for one in told.history]
    if chosen_by == "leave_one_out":
        assert losses[told.iteration] == min(losses)
        checkpoints = [report.checkpoint for report in reports if isinstance(report, IterationReport)]
        for checkpoint in checkpoints:
            resumed, _ = run_fit(checkpoint, **body)
            assert _model(context, resumed) == _model(context, done)
            assert resumed.summary.chosen_by == chosen_by
    elif chosen_by == "last":
        assert told.iteration == told.iterations
        assert any("no row tells whether an earlier one is better" in line for line in _told(reports))
