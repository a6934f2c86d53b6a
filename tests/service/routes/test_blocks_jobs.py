import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pytest
import torch
from support.inline import run_job, run_once

from worker.contracts.errors import DoesNotFit
from worker.contracts.messages import Reported
from worker.contracts.specs import FitSpec
from worker.engine.blocks.fit import fit_blocks
from worker.engine.config import FitConfig
from worker.engine.errors import NonFiniteValues
from worker.engine.targets import RegressionTargets
from worker.estimators import FactRFMClassifier, FactRFMRegressor
from worker.runs.blocks import row_files, streamed_rows
from worker.serving.model import ServedModel, load
from worker.store import jobs
from worker.store.files.safetensors_io import unpack
from worker.store.jobs import parts
from worker.tables.encoding.splits import holdout
from worker.training.machine import Machine

ROWS = 900
BLOCKS_ROWS = 800
"""More training rows are fitted by blocks."""
ROW = {"a": 0.1, "b": 0.1, "c": 0, "d": 0, "city": "Bern"}
BLOCKS = {"rows": 150, "learn": 3, "leaf": 250}


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    X = rng.uniform(-1, 1, (ROWS, 4))
    y = np.sin(3 * X[:, 0]) + X[:, 1] ** 2
    frame = pd.DataFrame(X, columns=list("abcd")).assign(y=y, kind=np.where(y > 0.2, "high", "low"))
    frame["city"] = rng.choice(["Bern", "Basel"], ROWS)
    return frame


@pytest.fixture
def dataset(client, table):
    answer = client.post("/v1/datasets", content=table.to_csv(index=False), headers={"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def _body(dataset, **changes):
    spec = {"solver": "blocks", "blocks": BLOCKS, "iterations": 2, "encoding": "plain", "exponent": 1.3}
    body = {"kind": "fit", "dataset": dataset, "target": "y", "exclude": ["kind"], "model": "many"}
    return {**body, "spec": {**spec, "feature_matrix": "full"}, **changes}


def _submit(client, body):
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


@pytest.mark.parametrize(("target", "excluded"), [("y", "kind"), ("kind", "y")])
@pytest.mark.parametrize("validation", [{"fraction": 0.2}, {"dataset": "same"}, None])
def test_a_fit_by_blocks_makes_a_model_that_is_served_as_every_other(
    client, context, dataset, table, target, excluded, validation
):
    if validation == {"dataset": "same"}:
        validation = {"dataset": dataset}
    job = _submit(client, _body(dataset, target=target, exclude=[excluded], validation=validation))
    run_job(context, job)
    ended = client.get(f"/v1/jobs/{job}").json()
    assert ended["state"] == "succeeded", ended["error"]
    model = client.get("/v1/models/many").json()
    assert model["solver"].startswith("blocks: ")
    refitted = validation == {"fraction": 0.2}
    assert model["refitted"] is refitted
    assert model["training_rows"] == ROWS
    rows = table.drop(columns=["y", "kind"]).to_dict("records")[:50]
    answer = client.post("/v1/models/many/predict", json={"rows": rows}).json()
    if target == "y":
        assert np.corrcoef(answer["predictions"], table["y"][:50])[0, 1] > 0.95
    else:
        assert np.mean(np.array(answer["predictions"]) == table["kind"][:50]) > 0.9
    features = client.get("/v1/models/many/features").json()
    assert {entry["feature"] for entry in features["importance"][:2]} == {"a", "b"}
    assert len(client.get("/v1/models/many/features/history").json()["items"]) >= 2
    assert client.get("/v1/models/many/card").status_code == 200
    assert client.get("/models/many").status_code == 200
    kinds = [part.kind for part in parts.list_parts(context.database, job).items]
    assert kinds.count("leaf") > 1
    assert kinds.count("block") % 3 == 0
    assert kinds.count("machine") == 3


def test_the_model_is_that_of_all_steps_in_one_process(client, context, dataset, table):
    run_job(context, _submit(client, _body(dataset, validation=None)))
    served = ServedModel.from_tensors(*unpack(client.get("/v1/models/many/export").content))
    features = pa.Table.from_pandas(table.drop(columns=["y", "kind"]))
    X = torch.from_numpy(served.encoder.encode(features))
    Y = torch.tensor(table["y"].to_numpy())[:, None]
    spec = FitSpec.model_validate(client.get("/v1/models/many").json()["spec"])
    config = FitConfig(**spec.engine_options(), raise_ridge=True)
    sizes = {"block_rows": BLOCKS["rows"], "blocks": BLOCKS["learn"], "leaf_rows": BLOCKS["leaf"]}
    expected = fit_blocks(X, Y, RegressionTargets.fit(Y), config, **sizes)
    assert torch.equal(served.fitted.M, expected.M)
    assert torch.equal(served.fitted.predict(X), expected.predict(X))


def test_a_table_that_is_read_in_many_batches_and_cut_on_disk_gives_the_same_blocks_and_the_leaves_of_a_sample(
    client, context, dataset, table, monkeypatch
):
    models = []
    for small in (False, True):
        if small:
            monkeypatch.setattr(streamed_rows, "ROW_GROUP", 97)
            monkeypatch.setattr(row_files, "REGION_BYTES", 30_000)
            monkeypatch.setattr(row_files, "BATCH_BYTES", 4_000)
        run_job(context, _submit(client, _body(dataset)))
        models.append(ServedModel.from_tensors(*unpack(client.get("/v1/models/many/export").content)))
    whole, batches = models
    assert batches.encoder == whole.encoder
    assert torch.equal(batches.fitted.M, whole.fitted.M)
    torch.testing.assert_close(batches.fitted.variances, whole.fitted.variances)
    trained = [{tuple(row) for leaf in model.fitted.leaves for row in leaf.X.tolist()} for model in models]
    assert trained[0] == trained[1]
    # rows that were held out have joined them
    assert max(batches.fitted.leaf_rows) <= 1.5 * BLOCKS["leaf"]
    assert 0.5 < batches.fitted.tree.leaves / whole.fitted.tree.leaves < 2
    X = torch.from_numpy(whole.encoder.encode(pa.Table.from_pandas(table.drop(columns=["y", "kind"]))))
    apart = batches.fitted.predict(X) - whole.fitted.predict(X)
    assert float(apart.square().mean()) < 0.01 * float(table["y"].var())


def test_rows_held_out_join_the_leaves_that_they_lie_in_unless_the_spec_says_no(client, context, dataset):
    counts = {}
    for refit in (True, False):
        body = _body(dataset, validation={"fraction": 0.3})
        body["spec"]["refit"] = refit
        run_job(context, _submit(client, body))
        model = client.get("/v1/models/many").json()
        served = ServedModel.from_tensors(*unpack(client.get("/v1/models/many/export").content))
        counts[refit] = len({tuple(row) for leaf in served.fitted.leaves for row in leaf.X.tolist()})
        assert model["training_rows"] == counts[refit]
        # the figures are those of rows that the model had not seen then
        assert 0.8 < model["metrics"]["validation_r2"] < 1
    assert counts == {True: ROWS, False: 0.7 * ROWS}


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"blocks_rows": BLOCKS_ROWS})


def test_many_rows_are_fitted_by_blocks_where_the_spec_leaves_the_solver_open(client, context, dataset):
    body = _body(dataset, validation=None)
    body["spec"]["solver"] = "auto"
    plan = client.post("/v1/jobs?dry_run=true", json=body).json()
    assert plan["request"]["spec"]["solver"] == "blocks"
    assert f"{ROWS} training rows are more than {BLOCKS_ROWS}: they are fitted by blocks" in plan["remarks"]
    run_job(context, _submit(client, body))
    assert client.get("/v1/models/many").json()["solver"].startswith("blocks: ")


def test_rows_that_join_the_training_rows_in_the_end_count_as_training_rows(client, dataset):
    fraction = 1 - BLOCKS_ROWS / ROWS
    for refit, solver in ((True, "blocks"), (False, "auto")):
        body = _body(dataset, validation={"fraction": fraction})
        body["spec"] |= {"solver": "auto", "refit": refit}
        plan = client.post("/v1/jobs?dry_run=true", json=body).json()
        assert plan["request"]["spec"]["solver"] == solver
        without_effect = [remark for remark in plan["remarks"] if "/spec/blocks has no effect" in remark]
        assert len(without_effect) == (solver == "auto")


@pytest.mark.parametrize("changes", [{"validation": {"folds": 3}}, {"kind": "tune", "search": {"trials": 3}}, {}])
def test_many_rows_that_no_blocks_share_are_remarked(client, dataset, changes):
    body = _body(dataset, validation={"fraction": 0.01}) | changes
    body["spec"] = {"solver": "auto" if changes else "cholesky"}
    remarks = client.post("/v1/jobs?dry_run=true", json=body).json()["remarks"]
    assert [remark for remark in remarks if "training rows are solved at once" in remark], remarks


def test_a_fit_that_memory_is_too_small_for_goes_on_by_blocks(client, context, dataset):
    body = _body(dataset)
    body["spec"] |= {"solver": "auto", "refit": False}
    job = _submit(client, body)
    small = Machine.find("cpu", 6_000_000)
    said = []
    wanted = run_once(context, job, lambda report: said.append(report.model_dump_json()), small)
    assert any("going on by blocks of rows: the fit needs about" in line for line in said)
    while wanted:
        wanted += run_once(context, wanted.pop(0), machine=small)
    ended = client.get(f"/v1/jobs/{job}").json()
    assert ended["state"] == "succeeded", ended["error"]
    assert client.get("/v1/models/many").json()["solver"].startswith("blocks: ")
    body["spec"]["solver"] = "cholesky"
    del body["spec"]["blocks"]
    with pytest.raises(DoesNotFit):
        run_once(context, _submit(client, body), machine=small)


def test_a_fit_that_blocks_would_not_make_smaller_says_what_it_needs(client, context, dataset):
    body = _body(dataset, validation={"fraction": 0.2})
    body["spec"] |= {"solver": "auto", "blocks": {"rows": ROWS}, "refit": False}
    with pytest.raises(DoesNotFit, match="the fit needs about"):
        run_once(context, _submit(client, body), machine=Machine.find("cpu", 2_000_000))


def test_rows_that_are_too_many_for_a_worker_do_not_join_their_leaf(client, context, dataset):
    body = _body(dataset, validation={"fraction": 0.6})
    body["spec"]["blocks"] = {"rows": 150, "learn": 3, "leaf": 400}
    job, said = _submit(client, body), []
    wanted, small = [job], Machine.find("cpu", 9_000_000)
    while wanted:
        wanted += run_once(context, wanted.pop(0), lambda report: said.append(report.model_dump_json()), small)
    ended = client.get(f"/v1/jobs/{job}").json()
    assert ended["state"] == "succeeded", ended["error"]
    assert any("the rows held out did not join a leaf: the fit needs about" in line for line in said)


def test_options_of_blocks_do_not_stay_with_a_solver_that_is_chosen_for_few_rows(client, context, dataset):
    body = _body(dataset, validation={"fraction": 0.2})
    body["spec"] |= {"solver": "auto", "refit": False}
    run_job(context, _submit(client, body))
    spec = client.get("/v1/models/many").json()["spec"]
    assert (spec["solver"], spec.get("blocks")) == ("cholesky", None)
    assert client.post("/v1/jobs?dry_run=true", json={**body, "spec": spec}).status_code == 200


@pytest.mark.parametrize("rows", [3, 4, 5, 10])
def test_a_table_of_a_few_rows_is_planned_as_it_is_split(client, table, rows):
    content = table[:rows].to_csv(index=False)
    answer = client.post("/v1/datasets", content=content, headers={"Content-Type": "text/csv"})
    body = _body(answer.json()["id"], validation={"fraction": 0.95})
    assert client.post("/v1/jobs?dry_run=true", json=body).status_code == 200


def test_two_targets_are_learned_together(client, context, table):
    content = table.assign(z=table["b"] * 2).to_csv(index=False)
    answer = client.post("/v1/datasets", content=content, headers={"Content-Type": "text/csv"})
    job = _submit(client, _body(answer.json()["id"], target=["y", "z"]))
    run_job(context, job)
    rows = table.drop(columns=["y", "kind"]).to_dict("records")[:50]
    predictions = np.array(client.post("/v1/models/many/predict", json={"rows": rows}).json()["predictions"])
    assert np.corrcoef(predictions[:, 0], table["y"][:50])[0, 1] > 0.95
    assert np.corrcoef(predictions[:, 1], table["b"][:50])[0, 1] > 0.95


def test_a_row_held_out_that_is_beyond_all_numbers_does_not_join_its_leaf(client, context, table):
    """It would be infinite in float32, and so would be what the model answers."""
    held_out = holdout(ROWS, 0.3, 0)[1]
    table.loc[held_out[0], "a"] = 1e300
    answer = client.post("/v1/datasets", content=table.to_csv(index=False), headers={"Content-Type": "text/csv"})
    run_job(context, _submit(client, _body(answer.json()["id"], validation={"fraction": 0.3})))
    served = ServedModel.from_tensors(*unpack(client.get("/v1/models/many/export").content))
    assert all(bool(torch.isfinite(leaf.X).all()) for leaf in served.fitted.leaves)
    assert np.isfinite(client.post("/v1/models/many/predict", json={"rows": [ROW]}).json()["predictions"][0])


def test_every_training_row_is_known_by_its_number(client, context, dataset, table):
    run_job(context, _submit(client, _body(dataset, validation={"fraction": 0.3})))
    served = ServedModel.from_tensors(*unpack(client.get("/v1/models/many/export").content))
    X = served.encoder.encode(pa.Table.from_pandas(table.drop(columns=["y", "kind"])))
    start = 0
    for machine in (*served.fitted.leaves, *served.fitted.blocks):
        rows = [served.origin.of(place) for place in range(start, start + len(machine.X))]
        assert {name for name, _ in rows} == {dataset}
        expected = torch.from_numpy(X[[number for _, number in rows]]).to(machine.X.dtype)
        assert torch.equal(machine.X, expected)
        start += len(machine.X)
    assert len(served.origin.numbers) == start
    explained = client.post("/v1/models/many/explain", json={"rows": [ROW]})
    assert explained.status_code == 200, explained.text
    for neighbour in explained.json()["items"][0]["neighbours"]:
        assert neighbour["values"]["a"] == pytest.approx(table["a"][neighbour["row"]])


def test_the_order_in_which_parts_end_changes_no_bit(client, context, dataset):
    exports = []
    for backwards in (False, True):
        job = _submit(client, _body(dataset, validation=None))
        wanted = [job]
        while wanted:
            following = run_once(context, wanted.pop(0))
            wanted += following[::-1] if backwards else following
        assert client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded"
        exports.append(client.get("/v1/models/many/features/matrix", headers={"Accept": "text/csv"}).content)
        exports.append(client.post("/v1/models/many/predict", json={"rows": [ROW]}))
    assert exports[0] == exports[2]
    assert exports[1].json()["predictions"] == exports[3].json()["predictions"]


def test_a_job_that_is_tried_again_does_only_what_is_left(client, context, dataset):
    job = _submit(client, _body(dataset))
    first, second, _ = run_once(context, job)
    run_once(context, first)
    assert client.post(f"/v1/jobs/{job}/cancel").status_code == 202
    assert client.post(f"/v1/jobs/{job}/retry").status_code == 202
    read_by_parts = jobs.checkpoint(context.database, job).shared
    left = run_once(context, job)
    assert jobs.checkpoint(context.database, job).shared == read_by_parts, "a part that still runs may not have read it"
    assert first not in left
    assert second in left
    for part in left:
        ready = run_once(context, part)
    run_job(context, ready[0])
    assert client.get(f"/v1/jobs/{job}").json()["state"] == "succeeded"
    assert parts.list_parts(context.database, job).items[0].attempt == 1


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"validation": {"folds": 3}}, "", "not on folds"),
        ({"spec": {"solver": "cholesky", "blocks": BLOCKS}}, "/spec", "for solvers 'blocks' and 'auto'"),
        ({"spec": {"solver": "blocks", "blocks": {"rows": 5}}}, "/spec/blocks/rows", "greater than or equal to 100"),
        (
            {"spec": {"solver": "blocks", "blocks": {"overlap": 0.3}}},
            "/spec/blocks/overlap",
            "equal to 0.25",
        ),
        ({"kind": "tune", "search": {"trials": 3}}, "/spec", "for jobs of kind fit"),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(client, dataset, change, pointer, words):
    answer = client.post("/v1/jobs", json=_body(dataset, **change))
    assert answer.status_code == 422, answer.text
    errors = {error["pointer"]: error["message"] for error in answer.json()["errors"]}
    assert words in errors[pointer]


def test_columns_that_vary_beyond_all_numbers_fail_the_job_with_what_would_be_right(client, context, table):
    content = table.assign(a=table["a"] * 1e300).to_csv(index=False)
    answer = client.post("/v1/datasets", content=content, headers={"Content-Type": "text/csv"})
    body = _body(answer.json()["id"])
    body["spec"] = {**body["spec"], "standardize": False}
    job = _submit(client, body)
    with pytest.raises(NonFiniteValues, match="give them in a larger unit"):
        run_once(context, job)


def test_a_file_of_a_part_that_is_lost_costs_the_work_and_not_the_job(client, context, dataset):
    job = _submit(client, _body(dataset))
    planned = run_once(context, job)
    for part in planned:
        run_once(context, part)
    [lost, *_] = context.settings.home.rglob("block-0000.safetensors")
    lost.unlink()
    run_job(context, job)
    ended = client.get(f"/v1/jobs/{job}").json()
    assert ended["state"] == "succeeded", ended["error"]


def test_what_a_fit_reports_of_its_progress_never_goes_back(client, context, dataset):
    job = _submit(client, _body(dataset))
    fractions, wanted = [], [job]

    def report(answer):
        if isinstance(answer, Reported):
            fractions.append(answer.progress.fraction)

    while wanted:
        row_id = wanted.pop(0)
        wanted += run_once(context, row_id, report if row_id == job else lambda _: None)
        fractions.append(client.get(f"/v1/jobs/{job}").json()["progress"]["fraction"])
    assert fractions == sorted(fractions)


def test_a_running_fit_shows_the_matrix_that_it_has(client, context, dataset):
    job = _submit(client, _body(dataset))
    parts_of_round = run_once(context, job)
    assert client.get(f"/v1/jobs/{job}/features").status_code == 409
    for part in parts_of_round:
        run_once(context, part)
    run_once(context, job)
    shown = client.get(f"/v1/jobs/{job}/features")
    assert shown.status_code == 200, shown.text
    assert shown.json()["iteration"] == 0
    assert client.get(f"/jobs/{job}").status_code == 200


def _rows(table, n=20):
    return table.drop(columns=["y", "kind"]).to_dict("records")[:n]


@pytest.mark.parametrize(("target", "excluded"), [("y", "kind"), ("kind", "y")])
def test_a_model_by_blocks_is_explained(client, context, dataset, table, target, excluded):
    run_job(context, _submit(client, _body(dataset, target=target, exclude=[excluded])))
    rows = _rows(table)
    answer = client.post("/v1/models/many/explain?neighbours=3", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    predicted = client.post("/v1/models/many/predict", json={"rows": rows}).json()
    assert [item["prediction"] for item in answer.json()["items"]] == predicted["predictions"]
    largest = [item["sensitivity"][0]["feature"] for item in answer.json()["items"]]
    assert sum(feature in ("a", "b") for feature in largest) > 15
    for item in answer.json()["items"]:
        assert {entry["feature"] for entry in item["sensitivity"]} == {"a", "b", "c", "d", "city"}
        assert len(item["neighbours"]) == 3
        # the rows that were sent are training rows, or held out
        assert all(0 <= near["weight"] <= 1 for near in item["neighbours"])
        assert all(near["row"] in range(ROWS) for near in item["neighbours"])
    assert sum(item["neighbours"][0]["distance"] == 0 for item in answer.json()["items"]) > 10


@pytest.mark.parametrize(
    ("target", "excluded", "estimator"), [("y", "kind", FactRFMRegressor), ("kind", "y", FactRFMClassifier)]
)
def test_a_model_by_blocks_is_taken_along(client, context, dataset, table, tmp_path, target, excluded, estimator):
    run_job(context, _submit(client, _body(dataset, target=target, exclude=[excluded])))
    predicted = client.post("/v1/models/many/predict", json={"rows": _rows(table)}).json()["predictions"]
    features = table.drop(columns=["y", "kind"])[:20]
    file = tmp_path / "many.safetensors"
    file.write_bytes(client.get("/v1/models/many/export").content)
    assert load(file).answer(pa.Table.from_pandas(features)).predictions.ravel().tolist() == predicted
    loaded = estimator.load(file)
    assert loaded.predict(features).tolist() == predicted
    assert loaded.feature_matrix_.shape == (len(loaded.encoded_feature_names_),) * 2
    again = tmp_path / "again.safetensors"
    loaded.save(again)
    assert load(again).answer(pa.Table.from_pandas(features)).predictions.ravel().tolist() == predicted
    content = client.get("/v1/models/many/export?format=onnx").content
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    columns = {name: features[[name]].to_numpy(object if name == "city" else float) for name in features}
    found = session.run(["predict"], columns)[0].tolist()
    assert found == predicted if target == "kind" else np.allclose(found, predicted, rtol=1e-4, atol=1e-4)
