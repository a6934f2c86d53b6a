"""A column of texts that a request calls text is learned from, and is one block of the matrix."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient
from support.frames import predict_frame, upload_frame
from support.inline import fitted_model

ROWS = 260
SPEC = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "precision": "float32", "ridge": 1e-2}
BLOCKS = {
    **SPEC,
    "ridge": "auto",
    "solver": "blocks",
    "blocks": {"rows": 100, "learn": 2, "leaf": 100},
    "exponent": 1.3,
}
GOOD, BAD = ["bright", "renovated", "spacious"], ["dark", "mouldy", "broken"]
THINGS = ["kitchen", "bath", "garden", "balcony", "hall", "stairs", "roof", "cellar"]


def _frame() -> pd.DataFrame:
    generator = np.random.default_rng(0)
    good = generator.random(ROWS) < 0.5
    words = [generator.choice(GOOD if one else BAD) for one in good]
    notes = [
        f"The {generator.choice(THINGS)} is {word}, near {generator.choice(THINGS)} {k}" for k, word in enumerate(words)
    ]
    size = generator.integers(20, 90, ROWS)
    return pd.DataFrame({"notes": notes, "size": size, "price": size + 40.0 * good})


def _body(dataset: str, **changes: Any) -> dict[str, Any]:
    body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "worded", "spec": SPEC}
    return {**body, "columns": {"notes": "text"}, **changes}


@pytest.mark.parametrize("spec", [SPEC, BLOCKS], ids=["whole", "blocks"])
def test_texts_are_learned_from_and_read_in_every_form(
    client: TestClient, run_job: Callable[[str], None], spec: dict[str, Any]
) -> None:
    frame = _frame()
    made = upload_frame(client, frame)
    model = fitted_model(client, run_job, _body(made["id"], spec=spec))
    assert [one["type"] for one in model["features"]] == ["text", "numeric"]
    assert model["left_out"] == []
    assert model["metrics"]["validation_r2"] > 0.8
    shown = client.get("/v1/models/worded/features").json()
    assert {one["feature"] for one in shown["importance"]} == {"notes", "size"}
    encoded = [one["feature"] for one in shown["encoded_importance"]]
    assert len([name for name in encoded if name.startswith("notes: ")]) == len(encoded) - 1 == 32
    rows = frame[["notes", "size"]][:4]
    forms = ("text/csv", "application/json", "application/vnd.apache.parquet")
    predicted = [predict_frame(client, "worded", rows, form).json()["predictions"] for form in forms]
    assert all(one == pytest.approx(predicted[0], abs=1e-4) for one in predicted)
    tensors = [
        {"name": "notes", "datatype": "BYTES", "shape": [4], "data": rows["notes"].tolist()},
        {"name": "size", "datatype": "FP64", "shape": [4], "data": rows["size"].tolist()},
    ]
    inferred = client.post("/v2/models/worded/infer", json={"inputs": tensors})
    assert inferred.json()["outputs"][0]["data"] == pytest.approx(predicted[0], abs=1e-4)
    job = {"kind": "predict", "model": "worded", "dataset": made["id"], "format": "csv"}
    answer = client.post("/v1/jobs", json=job)
    run_job(answer.json()["id"])
    result = pd.read_csv(io.StringIO(client.get(f"/v1/jobs/{answer.json()['id']}/result").text))
    assert result.iloc[:4, 0].tolist() == pytest.approx(predicted[0], abs=1e-4)
    for page in ("/models/worded", "/v1/models/worded/card", f"/jobs/{model['job']}"):
        assert client.get(page).status_code == 200
    if spec is BLOCKS:
        assert client.get("/v1/models/worded/leaves").status_code == 200


def test_a_text_is_explained_by_what_its_absence_would_change(
    client: TestClient, run_job: Callable[[str], None]
) -> None:
    frame = _frame()
    frame.loc[::9, "notes"] = None
    fitted_model(client, run_job, _body(upload_frame(client, frame)["id"]))
    rows = [{"notes": cell, "size": 50} for cell in ("The bath is bright, near hall", 12, True, None, "NA", "")]
    answer = client.post("/v1/models/worded/predict", json={"rows": rows})
    assert answer.status_code == 200, answer.text
    assert len(set(answer.json()["predictions"][3:])) == 1
    items = client.post("/v1/models/worded/explain", json={"rows": rows[:4:3]}).json()["items"]
    for item, change in zip(items, (answer.json()["predictions"][3] - answer.json()["predictions"][0], 0), strict=True):
        [notes] = [one for one in item["sensitivity"] if one["feature"] == "notes"]
        assert (notes["type"], notes["to"], notes["step"]) == ("text", None, None)
        assert notes["change"] == [pytest.approx(change, abs=1e-3)]
    onnx = client.get("/v1/models/worded/export?format=onnx")
    assert onnx.status_code == 422
    assert "reads text, in column 'notes'" in onnx.json()["detail"]
    assert client.get("/v1/models/worded/export").status_code == 200


@pytest.mark.parametrize("kind", ["tune", "network"])
def test_every_kind_of_training_takes_texts(client: TestClient, run_job: Callable[[str], None], kind: str) -> None:
    dataset = upload_frame(client, _frame())["id"]
    changes: dict[str, Any] = {"search": {"trials": 1}} if kind == "tune" else {"spec": {"steps": 20, "hidden": [4]}}
    body = {name: value for name, value in _body(dataset).items() if kind == "tune" or name != "model"}
    answer = client.post("/v1/jobs", json={**body, "kind": kind, **changes})
    assert answer.status_code == 202, answer.text
    run_job(answer.json()["id"])
    assert client.get(f"/v1/jobs/{answer.json()['id']}").json()["state"] == "succeeded"


def test_columns_of_any_type_may_be_texts(client: TestClient, run_job: Callable[[str], None]) -> None:
    frame = _frame()
    frame["paid"] = [f"1.{k % 3}00,50 €" for k in range(ROWS)]
    frame["day"] = [f"2024-03-{1 + k % 7:02}" for k in range(ROWS)]
    frame["there"] = [k % 2 == 0 for k in range(ROWS)]
    types = dict.fromkeys(["notes", "paid", "day", "there", "size"], "text")
    dataset = upload_frame(client, frame)["id"]
    model = fitted_model(client, run_job, _body(dataset, columns=types))
    assert {one["type"] for one in model["features"]} == {"text"}
    rows = frame.drop(columns="price")[:3]
    forms = ("text/csv", "application/json")
    predicted = [predict_frame(client, "worded", rows, form).json()["predictions"] for form in forms]
    assert predicted[0] == pytest.approx(predicted[1], abs=1e-4)


def test_a_target_is_no_text(client: TestClient) -> None:
    dataset = upload_frame(client, _frame())["id"]
    [error] = client.post("/v1/jobs?dry_run=true", json=_body(dataset, target="notes")).json()["errors"]
    assert error["pointer"] == "/columns/notes"
    assert "its values are classes as 'categorical'" in error["message"]


def test_free_text_is_left_out_until_it_is_asked_for(client: TestClient, run_job: Callable[[str], None]) -> None:
    made = upload_frame(client, _frame())
    notes = made["columns"][0]
    assert (notes["type"], notes["inferred_from"], notes["distinct"]) == ("text", "sentences", ROWS)
    assert sum("'notes'" in remark for remark in made["remarks"]) == 1
    page = client.get(f"/datasets/{made['id']}")
    assert (page.status_code, "text <span" in page.text) == (200, True)
    asked = {
        "left out": ({"columns": {}}, None),
        "named": ({"columns": {}, "features": ["notes", "size"]}, "text"),
        "categories": ({"columns": {"notes": "categorical"}}, "categorical"),
        "text": ({}, "text"),
    }
    for changes, kind in asked.values():
        plan = client.post("/v1/jobs?dry_run=true", json=_body(made["id"], **changes)).json()
        assert ("notes" in plan["request"]["features"]) == (kind is not None)
        told = {one["column"]: one["reason"] for one in plan["left_out"]}
        assert "is read where 'columns' says 'text'" in told["notes"] if kind is None else told == {}
        model = fitted_model(client, run_job, _body(made["id"], **changes))
        assert {one["name"]: one["type"] for one in model["features"]}.get("notes") == kind
        assert [one["column"] for one in model["left_out"]] == ([] if kind else ["notes"])


def test_free_text_may_be_read_as_before_and_split_and_be_a_target(
    client: TestClient, run_job: Callable[[str], None]
) -> None:
    frame = _frame()
    dataset, few = upload_frame(client, frame)["id"], upload_frame(client, frame[:40])
    assert few["columns"][0]["type"] == "categorical"
    for kind in ("categorical", "text"):
        changes = {"columns": {"notes": kind}, "validation": {"dataset": few["id"]}}
        model = fitted_model(client, run_job, _body(dataset, **changes))
        for other in (dataset, few["id"]):
            answer = client.post("/v1/jobs", json={"kind": "predict", "model": model["id"], "dataset": other})
            run_job(answer.json()["id"])
            assert client.get(f"/v1/jobs/{answer.json()['id']}").json()["state"] == "succeeded"
    fitted_model(client, run_job, _body(dataset, validation={"group": "notes", "fraction": 0.2}, columns={}))
    plan = client.post("/v1/jobs?dry_run=true", json=_body(dataset, target="notes", columns={}))
    assert plan.status_code == 200, plan.text
    [error] = client.post("/v1/jobs?dry_run=true", json=_body(dataset, columns={"notes": "numeric"})).json()["errors"]
    assert error["pointer"] == "/columns/notes"
    [error] = client.post(
        "/v1/jobs?dry_run=true", json=_body(dataset, validation={"time": "notes", "fraction": 0.2})
    ).json()["errors"]
    assert error["pointer"] == "/validation/time"


def test_the_words_for_nothing_of_the_upload_hold(client: TestClient, run_job: Callable[[str], None]) -> None:
    frame = _frame()
    frame.loc[::5, "notes"] = "-"
    frame.loc[1::5, "notes"] = "None"
    made = upload_frame(client, frame, missing="-")
    assert (made["columns"][0]["missing"], made["columns"][0]["missing_words"]) == (ROWS / 5, ["-"])
    fitted_model(client, run_job, _body(made["id"]))
    cells = ["-", None, "", "None", "none"]
    rows = pd.DataFrame({"notes": cells, "size": 50})
    first, *others = (
        predict_frame(client, "worded", rows, form).json()["predictions"] for form in ("text/csv", "application/json")
    )
    assert first[0] == first[1] == first[2] != first[3] == first[4]
    assert others[0] == pytest.approx(first, abs=1e-5)
