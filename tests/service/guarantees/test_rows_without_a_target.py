"""Rows without a target are left out and counted: a model is that of the table without them, bit for bit."""

import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from starlette.testclient import TestClient

from worker.runs.blocks import streamed_rows
from worker.serving.model import ServedModel
from worker.store.files.safetensors_io import unpack

ROWS = 90
SPEC = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "exponent": 1}
BLOCKS = {**SPEC, "solver": "blocks", "blocks": {"rows": 100, "learn": 2, "leaf": 100}}


def _table(rows: int = ROWS, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Return a table and which of its rows have all targets: some lack one, which is told in several ways."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(rng.uniform(-1, 1, (rows, 3)), columns=list("abc"))
    frame["city"] = rng.choice(["Bern", "Basel", ""], rows)
    frame["y"] = np.round(np.sin(3 * frame["a"]) + frame["b"] ** 2, 6)
    frame["z"] = np.round(frame["a"] - frame["c"], 6)
    frame["kind"] = np.where(frame["y"] > 0.2, "high", "low")
    frame["whole"] = (frame["a"] > 0).astype(int)
    frame = frame.astype(dict.fromkeys(("y", "z", "kind", "whole"), object))
    gone = rng.permutation(rows)[: rows // 5]
    for place, row in enumerate(gone):
        for name in ("y", "kind", "whole"):
            frame.loc[row, name] = ["", "NA", "nan"][place % 3]
    frame.loc[rng.permutation(rows)[:9], "z"] = ""
    return frame, ~frame["y"].isin(["", "NA", "nan"]).to_numpy()


def _upload(client: TestClient, frame: pd.DataFrame, **params: Any) -> dict[str, Any]:
    content = frame.to_csv(index=False)
    answer = client.post("/v1/datasets", content=content, headers={"Content-Type": "text/csv"}, params=params)
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


def _body(dataset: str, target: Any, **changes: Any) -> dict[str, Any]:
    others = [name for name in ("y", "z", "kind", "whole") if name not in ([target] if type(target) is str else target)]
    return {"kind": "fit", "dataset": dataset, "target": target, "exclude": others, "spec": SPEC, **changes}


def _trained(client: TestClient, run_job: Any, body: dict[str, Any]) -> tuple[dict[str, Any], ServedModel]:
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    run_job(answer.json()["id"])
    job = client.get(f"/v1/jobs/{answer.json()['id']}").json()
    assert job["state"] == "succeeded", job["error"]
    model = client.get(f"/v1/models/{job['model']}").json()
    return model, ServedModel.from_tensors(*unpack(client.get(f"/v1/models/{job['model']}/export").content))


def _assert_same(found: ServedModel, expected: ServedModel, numbers: np.ndarray, others: np.ndarray | None) -> None:
    """``numbers``: of the rows with a target; ``others``: those of the validation dataset, where they train."""
    tensors, _ = found.fitted.to_tensors()
    wanted, _ = expected.fitted.to_tensors()
    assert tensors.keys() == wanted.keys()
    for name, tensor in tensors.items():
        assert torch.equal(tensor, wanted[name]), name
    assert found.encoder == expected.encoder
    assert found.classes == expected.classes
    assert found.origin is not None
    assert expected.origin is not None
    start = 0
    for (_, count), (_, as_many) in zip(found.origin.parts, expected.origin.parts, strict=True):
        assert count == as_many
        where = slice(start, start + count)
        assert found.origin.numbers[where].tolist() == numbers[expected.origin.numbers[where]].tolist()
        start, numbers = start + count, numbers if others is None else others


WAYS: list[tuple[str, Any, dict[str, Any]]] = [
    ("fraction", "y", {"validation": {"fraction": 0.25}}),
    ("folds", "kind", {"validation": {"folds": 3}}),
    ("dataset", "whole", {"validation": {"dataset": "other"}}),
    ("dataset, texts", "kind", {"validation": {"dataset": "other"}}),
    ("several targets", ["y", "z"], {}),
    ("left open", "y", {"spec": {"iterations": 1}}),
    ("blocks, fraction", ["y", "z"], {"spec": BLOCKS, "validation": {"fraction": 0.25}}),
    ("blocks, dataset", "kind", {"spec": BLOCKS, "validation": {"dataset": "other"}}),
    ("search by folds", "kind", {"kind": "tune", "search": {"trials": 1}, "validation": {"folds": 2}}),
]


@pytest.mark.parametrize(("target", "changes"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
def test_a_model_is_that_of_the_table_without_such_rows(
    client: TestClient, run_job: Any, monkeypatch: pytest.MonkeyPatch, target: Any, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(streamed_rows, "ROW_GROUP", 17)
    table, told = _table(260 if changes.get("spec") == BLOCKS else ROWS)
    other, told_too = _table(40, 1)
    if target == ["y", "z"]:
        told &= table["z"].to_numpy() != ""
    validates = (changes.get("validation") or {}).get("dataset") is not None
    made = []
    for rows, judging in ((table, other), (table[told], other[told_too])):
        body = _body(_upload(client, rows)["id"], target, **changes)
        if validates:
            body["validation"] = {"dataset": _upload(client, judging)["id"]}
        made.append(_trained(client, run_job, body))
    (model, served), (by_hand, expected) = made
    _assert_same(served, expected, np.flatnonzero(told), np.flatnonzero(told_too) if validates else None)
    counts = (int((~told).sum()), int((~told_too).sum()) if validates else 0)
    assert (model["dropped_rows"], model["dropped_validation_rows"]) == counts
    assert (by_hand["dropped_rows"], by_hand["dropped_validation_rows"]) == (0, 0)
    same = ("metrics", "iteration", "iterations", "ridge", "training_rows", "refitted", "chosen_by", "classes")
    assert {name: model[name] for name in same} == {name: by_hand[name] for name in same}
    card = client.get(f"/v1/models/{model['id']}/card").text
    assert f"{counts[0]} rows without a target were left out" in card
    assert "without a target" not in client.get(f"/v1/models/{by_hand['id']}/card").text


def test_a_network_is_that_of_the_table_without_such_rows(client: TestClient, run_job: Any) -> None:
    table, told = _table()
    reports = []
    for rows in (table, table[told]):
        body = _body(_upload(client, rows)["id"], "y", kind="network", spec={"hidden": [3], "steps": 20})
        job = client.post("/v1/jobs", json=body).json()["id"]
        run_job(job)
        reports.append(client.get(f"/v1/jobs/{job}/result").json())
    found, expected = reports
    assert (found.pop("dropped_rows"), expected.pop("dropped_rows")) == ((~told).sum(), 0)
    for report in reports:
        for step in report["steps"]:
            step.pop("seconds")
            step.pop("eta_seconds")
    assert found == expected


def test_a_row_of_the_answer_is_named_as_in_its_table(client: TestClient, run_job: Any) -> None:
    table, told = _table()
    model, _ = _trained(client, run_job, _body(_upload(client, table)["id"], "kind", validation=None))
    row = table.drop(columns=["y", "z", "kind", "whole"]).loc[int(np.flatnonzero(told)[-1])].to_dict()
    answer = client.post(f"/v1/models/{model['id']}/explain", json={"rows": [row]})
    assert answer.status_code == 200, answer.text
    assert str(int(np.flatnonzero(told)[-1])) in answer.text


@pytest.mark.parametrize("kind", ["fit", "tune", "network"])
def test_a_plan_tells_how_many_rows_are_left_out_and_costs_only_the_others(client: TestClient, kind: str) -> None:
    table, told = _table(400)
    spec = {"spec": {}} if kind == "network" else {}
    plans = []
    for rows in (table, table[told]):
        body = _body(_upload(client, rows)["id"], "y", kind=kind, **spec)
        answer = client.post("/v1/jobs?dry_run=true", json=body)
        assert answer.status_code == 200, answer.text
        plans.append(answer.json())
    plan, by_hand = plans
    assert plan["estimate"] == by_hand["estimate"]
    assert (plan["dropped_rows"], by_hand["dropped_rows"]) == (80, 0)
    assert plan["request"]["missing_target"] == "drop"
    assert any(remark.startswith("80 of 400 rows have no value in target 'y'") for remark in plan["remarks"])
    assert not any("have no value in target" in remark for remark in by_hand["remarks"])


def test_a_plan_tells_the_rows_of_a_validation_dataset_that_are_left_out(client: TestClient) -> None:
    body = _body(
        _upload(client, _table()[0])["id"], "y", validation={"dataset": _upload(client, _table(40, 1)[0])["id"]}
    )
    plan = client.post("/v1/jobs?dry_run=true", json=body).json()
    assert plan["dropped_rows"] == 18
    assert any(remark.startswith("8 of 40 validation rows have no value in target 'y'") for remark in plan["remarks"])


def test_a_plan_of_several_targets_tells_how_many_at_least(client: TestClient) -> None:
    plan = client.post("/v1/jobs?dry_run=true", json=_body(_upload(client, _table()[0])["id"], ["y", "z"])).json()
    assert any(remark.startswith("at least 18 of 90 rows lack one of the targets") for remark in plan["remarks"])


def test_few_rows_with_a_target_are_not_fitted_by_blocks(client: TestClient) -> None:
    frame = pd.DataFrame({"a": range(60_000), "y": ["1.5", "2.5", "", ""] * 15_000})
    plan = client.post(
        "/v1/jobs?dry_run=true", json={"kind": "fit", "dataset": _upload(client, frame)["id"], "target": "y"}
    )
    assert plan.json()["request"]["spec"]["solver"] == "auto"


@pytest.mark.parametrize("kind", ["fit", "tune", "network"])
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("y", ("'y' has 18 missing values, the first in row ", "'missing_target': 'drop'")),
        ("kind", ("'kind' has 18 missing values, the first in row ", "?missing=")),
    ],
)
def test_who_wants_none_left_out_is_told_where_the_first_is(
    client: TestClient, kind: str, target: str, words: tuple[str, ...]
) -> None:
    body = _body(_upload(client, _table()[0])["id"], target, kind=kind, spec={}, missing_target="error")
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/target"
    for word in words:
        assert word in answer.json()["detail"]


def test_who_wants_none_left_out_is_told_of_a_validation_dataset(client: TestClient) -> None:
    table, told = _table()
    body = _body(_upload(client, table[told])["id"], "y", missing_target="error")
    body["validation"] = {"dataset": _upload(client, _table(40, 1)[0])["id"]}
    answer = client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/validation/dataset")
    assert "'y' has 8 missing values" in answer.json()["detail"]


def test_missing_target_has_two_values(client: TestClient) -> None:
    body = _body(_upload(client, _table()[0])["id"], "y", missing_target="impute")
    answer = client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/missing_target")


@pytest.mark.parametrize(
    ("cells", "task", "words"),
    [
        (["", "", "", "", ""], "auto", "5 missing values"),
        (["a", "a", "", "a", ""], "auto", "only one value"),
        (["1.5", "", "1.5", "", "1.5"], "regression", "only one value"),
        (["None", "Mild", "None", "Mild", "Mild"], "auto", "?missing="),
        (["1.5", "inf", "", "2.5", "3"], "auto", "1 infinite"),
        (["1.5", "2.5", "", "", ""], "auto", "2 rows"),
    ],
)
def test_what_is_left_is_checked_as_a_table_of_its_own(
    client: TestClient, cells: list[str], task: str, words: str
) -> None:
    dataset = _upload(client, pd.DataFrame({"x": range(5), "y": cells}))["id"]
    answer = client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "y", "task": task})
    assert answer.status_code == 422, answer.text
    assert words in answer.json()["detail"]


@pytest.mark.parametrize("solver", ["auto", "blocks"])
@pytest.mark.parametrize(
    ("y", "z", "words"),
    [
        (["1", "2", "", "", "", ""], ["", "", "1", "2", "3", "4"], "0 rows"),
        (["1", "1", "1", "1", "2", "3"], ["1", "2", "3", "4", "", ""], "only one value"),
    ],
)
def test_targets_that_are_never_there_together_are_refused(
    client: TestClient, run_job: Any, solver: str, y: list[str], z: list[str], words: str
) -> None:
    """That is known only of the table itself."""
    dataset = _upload(client, pd.DataFrame({"a": [1, 5, 2, 3, 7, 4], "y": y, "z": z}))["id"]
    body = {"kind": "fit", "dataset": dataset, "target": ["y", "z"], "validation": None, "spec": {"solver": solver}}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    with pytest.raises(Exception, match=words) as raised:
        run_job(answer.json()["id"])
    assert type(raised.value).__name__ == "InvalidRequest"


def test_a_validation_dataset_without_a_target_is_refused(client: TestClient) -> None:
    frame = _table(40, 1)[0].assign(y="")
    body = _body(_upload(client, _table()[0])["id"], "y", validation={"dataset": _upload(client, frame)["id"]})
    answer = client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/validation/dataset")


def test_a_cell_that_does_not_fit_is_named_by_its_row_in_the_validation_dataset(
    client: TestClient, run_job: Any
) -> None:
    # a cell in a row that is left out may be anything, and so may a rare one that the statistics do not tell
    cells = [str(number) for number in range(60)] * 2
    frame = pd.DataFrame({"a": ["z", *cells, "x"], "y": ["", *["", "1.5", "2.5"] * 40, "4.5"]})
    table = pd.DataFrame({"a": range(20), "y": np.arange(20) / 2})
    body = {"kind": "fit", "dataset": _upload(client, table)["id"], "target": "y", "spec": SPEC}
    answer = client.post("/v1/jobs", json={**body, "validation": {"dataset": _upload(client, frame)["id"]}})
    assert answer.status_code == 202, answer.text
    with pytest.raises(Exception, match="row 122, column 'a': 'x' is not numeric"):
        run_job(answer.json()["id"])


def test_a_class_called_none_is_learned_where_the_caller_names_the_words_for_nothing(
    client: TestClient, run_job: Any
) -> None:
    rows = np.arange(60)
    frame = pd.DataFrame({"x": rows % 2 + rows / 1000, "y": np.where(rows % 2 == 0, "None", "Mild")})
    for given in (["-"], [""]):
        dataset = _upload(client, frame, missing=given)
        assert dataset["columns"][1]["missing"] == 0
        body = {"kind": "fit", "dataset": dataset["id"], "target": "y", "spec": SPEC}
        model, _ = _trained(client, run_job, body)
        assert model["classes"] == ["Mild", "None"]
        assert model["dropped_rows"] == 0
        answer = client.post(f"/v1/models/{model['id']}/predict", json={"rows": [{"x": 0.01}, {"x": 1.01}]})
        assert answer.json()["predictions"] == ["None", "Mild"]


def test_the_callers_words_for_nothing_are_rows_without_a_target(client: TestClient, run_job: Any) -> None:
    cells = ["None", "Mild", "unbekannt"] * 20
    frame = pd.DataFrame({"x": range(60), "y": cells})
    # the validation rows were read by the usual words, and mean the same
    other = pd.DataFrame({"x": range(30), "y": cells[:30]})
    table = _upload(client, frame, missing=["unbekannt"])["id"]
    body = {"kind": "fit", "dataset": table, "target": "y", "spec": SPEC}
    for spec in (SPEC, BLOCKS):
        validation = {"dataset": _upload(client, other)["id"]}
        model, _ = _trained(client, run_job, {**body, "spec": spec, "validation": validation})
        assert (model["classes"], model["dropped_rows"]) == (["Mild", "None"], 20)
        assert model["dropped_validation_rows"] == 10


def test_a_typed_table_has_rows_without_a_target_too(client: TestClient, run_job: Any) -> None:
    table, told = _table()
    frame = table.replace({"": None, "NA": None, "nan": None})
    frame = frame.assign(y=frame["y"].astype(float), z=frame["z"].astype(float), whole=frame["whole"].astype("Int64"))
    frame["kind"] = frame["kind"].astype("category")
    sink = io.BytesIO()
    frame.to_parquet(sink, index=False)
    dataset = client.post(
        "/v1/datasets", content=sink.getvalue(), headers={"Content-Type": "application/vnd.apache.parquet"}
    )
    for target in ("y", "kind", "whole"):
        model, served = _trained(client, run_job, _body(dataset.json()["id"], target))
        assert model["dropped_rows"] == 18
        assert served.origin is not None
        assert set(served.origin.numbers) <= set(np.flatnonzero(told))
