"""A stored file that is not what it was is never served as what it was: not by any reader, not in part."""

from pathlib import Path

import numpy as np
import pytest
from support.rounds import through_rounds

from worker.contracts.messages import LogReport
from worker.runs.__main__ import carry_out
from worker.shell.orders import build_order
from worker.store import datasets, jobs
from worker.training.machine import Machine

READERS = (
    "/v1/models/prices/export",
    "/v1/models/prices/export?format=onnx",
    "/v1/models/prices/card",
    "/v1/models/prices/features",
    "/v1/models/prices/features/matrix",
    "/v1/models/prices/features/history",
    "/v1/datasets/{dataset}/content",
    "/v1/datasets/{dataset}/rows",
    "/v1/datasets/{dataset}/columns/size/histogram",
    "/v1/datasets/{dataset}/columns/price/histogram",
    "/v1/jobs/{predict}/result",
)
ROWS = {"rows": [{"size": 3, "city": "Bern"}]}


def _flip(file: Path, place: int) -> bytes:
    """Turn one bit of a file over. Returns what it was."""
    before = file.read_bytes()
    after = bytearray(before)
    after[place] ^= 1
    file.write_bytes(after)
    return before


def test_every_reader_of_a_damaged_file_says_so_or_answers_as_before(client, model, dataset, context, run_job):
    predict = client.post("/v1/jobs", json={"kind": "predict", "model": "prices", "dataset": dataset}).json()["id"]
    run_job(predict)
    paths = [path.format(dataset=dataset, predict=predict) for path in READERS]

    def answers():
        context.predictor.forget(model["id"])
        found = {path: client.get(path) for path in paths}
        found |= {f"{path} from 10 on": client.get(path, headers={"Range": "bytes=10-"}) for path in paths}
        for call in ("predict", "explain"):
            found[call] = client.post(f"/v1/models/prices/{call}", json=ROWS)
        return found

    whole = answers()
    assert {answer.status_code for answer in whole.values()} == {200, 206}
    artifacts = context.settings.home / "artifacts"
    # checkpoints of a job that has ended are read by nobody
    files = [file for file in artifacts.rglob("*") if file.is_file() and not file.name.startswith("fit-")]
    assert {file.stem for file in files} == {"content", "table", "model", "matrices", "result"}
    seen = dict.fromkeys(files, 0)
    generator = np.random.default_rng(0)
    for file in files:
        for place in (0, file.stat().st_size - 1, int(generator.integers(file.stat().st_size))):
            before = _flip(file, place)
            for path, answer in answers().items():
                if (answer.status_code, answer.content) != (whole[path].status_code, whole[path].content):
                    assert (answer.status_code, answer.json()["code"]) == (500, "artifact_corrupt"), (file, path)
                    seen[file] += 1
            page = client.get("/", headers={"Accept": "text/html"})
            assert page.status_code == 200
            assert ("is damaged" in page.text) == (file.name == "matrices.safetensors")
            file.write_bytes(before)
    assert all(seen.values()), seen
    assert {path: one.content for path, one in answers().items()} == {path: one.content for path, one in whole.items()}


@pytest.mark.parametrize("damaged", ["content", "table"])
@pytest.mark.parametrize("gone", [False, True])
def test_the_same_bytes_again_heal_a_dataset(client, dataset, context, damaged, gone):
    record = datasets.get_record(context.database, dataset)
    file = context.settings.home / "artifacts" / getattr(record, damaged).key
    content = client.get(f"/v1/datasets/{dataset}/content").content
    rows = client.get(f"/v1/datasets/{dataset}/rows").json()
    if gone:
        file.unlink()
    else:
        _flip(file, 5)
    again = client.post("/v1/datasets", content=content, headers={"Content-Type": "text/csv"})
    assert (again.status_code, again.json()["id"]) == (200, dataset)
    assert client.get(f"/v1/datasets/{dataset}/content").content == content
    assert client.get(f"/v1/datasets/{dataset}/rows").json() == rows


def test_a_table_that_is_written_otherwise_by_now_takes_the_place_of_a_damaged_one(
    client, dataset, context, monkeypatch
):
    record = datasets.get_record(context.database, dataset)
    content = client.get(f"/v1/datasets/{dataset}/content").content
    rows = client.get(f"/v1/datasets/{dataset}/rows").json()
    file = context.settings.home / "artifacts" / record.table.key
    _flip(file, 5)
    monkeypatch.setattr("worker.tables.files.ingest.ROW_GROUP", 7)
    assert client.post("/v1/datasets", content=content, headers={"Content-Type": "text/csv"}).status_code == 200
    assert datasets.get_record(context.database, dataset).table.sha256 != record.table.sha256
    assert not file.exists()
    assert client.get(f"/v1/datasets/{dataset}/rows").json() == rows


@pytest.mark.parametrize("kind", ["fit", "tune", "network"])
def test_a_damaged_checkpoint_is_a_fresh_start_with_a_warning(client, dataset, context, kind):
    body = {"kind": kind, "dataset": dataset, "target": "price", "spec": {"iterations": 2}}
    if kind == "tune":
        body |= {"search": {"trials": 2, "space": {"ridge": {"low": 0.1, "high": 1}}}, "validation": {"fraction": 0.2}}
    if kind == "network":
        body["spec"] = {"hidden": [4], "steps": 20, "report_every": 10}
    job = client.post("/v1/jobs", json=body).json()["id"]
    order = build_order(jobs.claim(context.database, job, "test", 60, context.now()))
    machine, first, told = Machine.find("cpu", None), [], []
    through_rounds(lambda order: carry_out(order, context.artifacts, machine, first.append), order)
    checkpoint = [one.checkpoint for one in first if getattr(one, "checkpoint", None) is not None][-1]
    for key in checkpoint.keys:
        before = _flip(context.settings.home / "artifacts" / key, -1)
        told.clear()
        damaged = order.model_copy(update={"checkpoint": checkpoint})
        done = through_rounds(lambda order: carry_out(order, context.artifacts, machine, told.append), damaged)
        assert done.kind == f"{kind}_done"
        [warning] = [one.data for one in told if isinstance(one, LogReport) and one.data.level == "warning"]
        assert "starting afresh" in warning.message
        (context.settings.home / "artifacts" / key).write_bytes(before)
