"""Many rows to predict are parts of the job, and the result has the bytes that one run gives."""

import io

import pyarrow.csv as pa_csv
import pytest
from support.inline import run_job, run_once

from worker.contracts.messages import LogReport
from worker.runs import predict
from worker.shell.orders import build_order
from worker.store import jobs
from worker.store.jobs import parts
from worker.tables.rows.matching import WrongRow

BLOCK = 10
AT_ONCE = 1e-12
ROWS = 47
MANY = "size,city,price\n" + "".join(
    f"{number % 71 / 5},{['Bern', 'Basel', 'Chur'][number % 3]},{number % 71 + number % 3}\n" for number in range(260)
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(predict, "BLOCK_ROWS", BLOCK)


def _upload(client, cells):
    body = "size,city,other\n" + "\n".join(cells)
    answer = client.post("/v1/datasets", content=body, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.fixture
def rows(client):
    cities = ["Bern", "Basel", "Chur", "Thun", "Genf"]
    return _upload(client, [f"{number * 0.3:.2f},{cities[number * number % 5]},x" for number in range(ROWS)])


@pytest.fixture(params=["regression", "classification", "blocks"])
def named(request, client, dataset, run_job):
    target, excluded, spec = "price", [], {"iterations": 1, "encoding": "plain", "precision": "float32"}
    if request.param == "classification":
        target, excluded = "city", ["price"]
    if request.param == "blocks":
        dataset = client.post("/v1/datasets", content=MANY, headers={"Content-Type": "text/csv"}).json()["id"]
        spec |= {"solver": "blocks", "blocks": {"rows": 100, "learn": 2, "leaf": 150}}
    body = {"kind": "fit", "dataset": dataset, "target": target, "exclude": excluded, "spec": spec}
    body |= {"model": "any", "validation": None}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    run_job(answer.json()["id"])
    assert client.get(f"/v1/jobs/{answer.json()['id']}").json()["state"] == "succeeded"
    return "any"


def _submit(client, dataset, model="prices", **body):
    answer = client.post("/v1/jobs", json={"kind": "predict", "model": model, "dataset": dataset, **body})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def _through(context, job, backwards=False):
    """Run a job with its parts; return what was reported."""
    seen, wanted = [], [job]
    while wanted:
        following = run_once(context, wanted.pop(0), seen.append, part_seconds=AT_ONCE)
        wanted += following[::-1] if backwards else following
    return seen


def _result(client, job):
    answer = client.get(f"/v1/jobs/{job}/result")
    assert answer.status_code == 200, answer.text
    return answer.content


def _told(seen):
    return [report.data.message for report in seen if isinstance(report, LogReport)]


@pytest.mark.parametrize(
    "form",
    [
        {"format": "csv"},
        {"format": "csv", "spreadsheet": True, "keep": ["other"]},
        {"format": "parquet", "keep": ["size", "other"]},
        {"format": "arrow"},
    ],
)
def test_parts_give_the_bytes_of_one_run(client, context, named, rows, form):
    alone, shared, backwards = (_submit(client, rows, named, **form) for _ in range(3))
    run_job(context, alone)
    _through(context, shared)
    _through(context, backwards, backwards=True)
    kinds = [part.kind for part in parts.list_parts(context.database, shared).items]
    assert kinds == ["rows"] * 5
    assert _result(client, shared) == _result(client, alone)
    assert _result(client, backwards) == _result(client, alone)
    if form == {"format": "csv"}:
        assert pa_csv.read_csv(io.BytesIO(_result(client, shared))).num_rows == ROWS


def test_unknown_categories_are_told_once_with_their_sums(client, context, model, rows):
    seen = []
    run_once(context, _submit(client, rows), seen.append)
    [alone] = _told(seen)
    assert alone.startswith("rows hold categories that no training row had: city (")
    assert _told(_through(context, _submit(client, rows))) == [alone]


def test_a_wrong_row_is_named_by_its_number_in_the_dataset_and_fails_the_job(client, context, model):
    cells = ["3,Bern,x"] * ROWS
    cells[25] = "1e300,Bern,x"
    job = _submit(client, _upload(client, cells))
    planned = run_once(context, job, part_seconds=AT_ONCE)
    with pytest.raises(WrongRow, match="row 26 holds numbers so far"):
        run_once(context, planned[2])


def test_one_part_of_rows_is_no_round(client, context, model, rows):
    job = _submit(client, rows)
    run_job(context, job, 5.0)
    assert parts.list_parts(context.database, job).items == []
    assert _result(client, job)


@pytest.mark.parametrize(
    ("seconds", "sizes"), [(10.0, [30, 17]), (6.0, [20, 20, 7]), (50.0, []), (0.001, [10] * 4 + [7])]
)
def test_parts_take_about_the_seconds_that_are_asked_for(client, context, model, rows, seconds, sizes):
    claim = jobs.claim(context.database, _submit(client, rows), "test", 60, context.now())
    # 20 seconds of work
    order = build_order(claim, seconds).model_copy(update={"expected_seconds": 20.5})
    works = predict._works(order)
    assert [work.rows for work in works if len(works) > 1] == sizes
    assert [work.first for work in works] == [sum(work.rows for work in works[:n]) for n in range(len(works))]


def test_a_job_that_is_tried_again_predicts_only_what_is_left(client, context, model, rows):
    alone, job = _submit(client, rows), _submit(client, rows)
    run_job(context, alone)
    planned = run_once(context, job, part_seconds=AT_ONCE)
    run_once(context, planned[1])
    assert client.delete("/v1/models/prices@1").status_code == 409, "its parts need the model"
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 202
    assert client.post(f"/v1/jobs/{job}/retry").status_code == 202
    left = run_once(context, job, part_seconds=AT_ONCE)
    assert left == [planned[0], *planned[2:]]
    for part in left:
        run_once(context, part)
    assert run_once(context, job, part_seconds=AT_ONCE) == []
    assert _result(client, job) == _result(client, alone)
    assert client.get(f"/v1/jobs/{job}").json()["progress"]["fraction"] == 1.0


def test_rows_that_a_worker_would_divide_otherwise_are_predicted_in_a_round_of_its_own(client, context, model, rows):
    alone, job = _submit(client, rows), _submit(client, rows)
    run_job(context, alone)
    planned = run_once(context, job, part_seconds=AT_ONCE)
    for part in planned:
        run_once(context, part)
    claim = jobs.claim(context.database, job, "test", 60, context.now())
    other = build_order(claim, 10.0).model_copy(update={"expected_seconds": 20.5})
    again = predict.predict(other, context.artifacts, None, lambda _: None)
    assert (again.round, [work.rows for work in again.parts]) == (2, [30, 17])
    outcomes = [outcome for outcome in other.outcomes if outcome.number != 3]
    same = predict.predict(build_order(claim, AT_ONCE).model_copy(update={"outcomes": outcomes}), None, None, None)
    assert (same.round, [work.rows for work in same.parts]) == (1, [10, 10, 10, 10, 7])


def test_what_a_part_made_and_storage_lost_is_made_again(client, context, model, rows):
    alone, job = _submit(client, rows), _submit(client, rows)
    run_job(context, alone)
    for part in run_once(context, job, part_seconds=AT_ONCE):
        run_once(context, part)
    claim = jobs.claim(context.database, job, "test", 60, context.now())
    jobs.release(context.database, job, claim.token, context.now(), "stopped")
    context.artifacts.delete(build_order(claim).outcomes[2].result.file.key)
    seen = []
    again = run_once(context, job, seen.append, part_seconds=AT_ONCE)
    assert any("starting afresh" in told for told in _told(seen))
    assert [part.split(".")[1] for part in again] == ["0002"] * 5
    for part in again:
        run_once(context, part)
    run_once(context, job, part_seconds=AT_ONCE)
    assert _result(client, job) == _result(client, alone)


def test_progress_of_the_job_never_goes_back(client, context, model, rows):
    job, fractions = _submit(client, rows), []
    wanted = [job]

    def look(_):
        fractions.append(client.get(f"/v1/jobs/{job}").json()["progress"]["fraction"])

    while wanted:
        wanted += run_once(context, wanted.pop(0), look, part_seconds=AT_ONCE)
        look(None)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
