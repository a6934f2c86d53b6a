"""A column of dates is learned from, shown as one block of the matrix, and read in every form to predict."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient
from support.frames import predict_frame, upload_frame
from support.inline import fitted_model

ROWS = 240
SPEC = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "precision": "float32", "ridge": 1e-2}
BLOCKS = {
    **SPEC,
    "ridge": "auto",
    "solver": "blocks",
    "blocks": {"rows": 100, "learn": 2, "leaf": 100},
    "exponent": 1.3,
}
DAYS = [date(2021, 1, 1) + timedelta(days=4 * k) for k in range(ROWS)]


def _frame() -> pd.DataFrame:
    prices = [50 + 20 * (day.month in (6, 7, 8)) + k / 100 for k, day in enumerate(DAYS)]
    return pd.DataFrame({"sold": [day.isoformat() for day in DAYS], "n": [k % 5 for k in range(ROWS)], "price": prices})


def _fitted(client: TestClient, run_job: Callable[[str], None], dataset: str, **changes: Any) -> Any:
    body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "dated", "spec": SPEC, **changes}
    return fitted_model(client, run_job, body)


@pytest.mark.parametrize("spec", [SPEC, BLOCKS], ids=["whole", "blocks"])
def test_dates_are_learned_from_and_read_in_every_form(
    client: TestClient, run_job: Callable[[str], None], spec: dict[str, Any]
) -> None:
    frame = _frame()
    made = upload_frame(client, frame)
    assert made["columns"][0]["type"] == "datetime"
    assert (made["columns"][0]["min"], made["columns"][0]["max"]) == ("2021-01-01", DAYS[-1].isoformat())
    model = _fitted(client, run_job, made["id"], spec=spec)
    assert model["features"][0]["type"] == "datetime"
    assert model["metrics"]["validation_r2"] > 0.8
    shown = client.get("/v1/models/dated/features").json()
    assert {one["feature"] for one in shown["importance"]} == {"sold", "n"}
    encoded = {one["feature"] for one in shown["encoded_importance"]}
    assert encoded == {"n", "sold: position"} | {
        f"sold: {part} {function}" for part in ("month", "weekday") for function in ("sin", "cos")
    }
    rows = frame[["sold", "n"]][:5]
    moments = pd.to_datetime(rows["sold"])
    answers = [
        predict_frame(client, "dated", rows.assign(sold=cells), form)
        for cells, form in (
            (rows["sold"], "text/csv"),
            (rows["sold"] + "T02:00:00+02:00", "application/json"),
            (moments, "application/vnd.apache.parquet"),
            (moments.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo"), "application/vnd.apache.parquet"),
            (rows["sold"].str.replace("-", "/"), "application/json"),
        )
    ]
    predicted = [answer.json()["predictions"] for answer in answers]
    assert all(one == pytest.approx(predicted[0], abs=1e-5) for one in predicted)


def test_what_is_no_date_is_refused_with_its_place(client: TestClient, run_job: Callable[[str], None]) -> None:
    frame = _frame()
    _fitted(client, run_job, upload_frame(client, frame)["id"])
    for cell in ("soon", 12, True, "28.02.2024"):
        rows = [{"sold": "2024-01-01", "n": 1}, {"sold": cell, "n": 1}]
        answer = client.post("/v1/models/dated/predict", json={"rows": rows})
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert error["pointer"] == "/rows/1/sold"
        assert "is no date; write it as 2024-02-28" in error["message"]
    missing = client.post("/v1/models/dated/predict", json={"rows": [{"sold": None, "n": 1}, {"sold": "NA", "n": 1}]})
    assert missing.status_code == 200
    explained = client.post("/v1/models/dated/explain", json={"rows": [{"sold": "2022-07-01", "n": 1}]})
    assert explained.status_code == 200, explained.text
    [sold] = [one for one in explained.json()["items"][0]["sensitivity"] if one["feature"] == "sold"]
    assert sold["type"] == "datetime"
    assert sold["step"] > 86_400 * 100
    onnx = client.get("/v1/models/dated/export?format=onnx")
    assert onnx.status_code == 422
    assert "reads dates" in onnx.json()["detail"]
    for page in ("/models/dated", "/v1/models/dated/card"):
        assert client.get(page).status_code == 200


def test_dates_may_be_categories_and_texts_dates(client: TestClient, run_job: Callable[[str], None]) -> None:
    frame = _frame()
    frame["quarter"] = [f"2021-{1 + k % 4:02d}-01" for k in range(ROWS)]
    dataset = upload_frame(client, frame)["id"]
    model = _fitted(client, run_job, dataset, columns={"quarter": "categorical"})
    assert [one["type"] for one in model["features"]] == ["datetime", "numeric", "categorical"]
    assert "quarter=2021-02-01" in {
        one["feature"] for one in client.get("/v1/models/dated/features").json()["encoded_importance"]
    }
    body = {"kind": "fit", "dataset": dataset, "target": "price", "columns": {"n": "datetime"}}
    [error] = client.post("/v1/jobs?dry_run=true", json=body).json()["errors"]
    assert (error["pointer"], "row 1" in error["message"]) == ("/columns/n", True)
    frame["sold"] = frame["sold"].replace(DAYS[7].isoformat(), "soon")
    dataset = upload_frame(client, frame)["id"]
    body = {**body, "dataset": dataset, "columns": {"sold": "datetime"}}
    [error] = client.post("/v1/jobs?dry_run=true", json=body).json()["errors"]
    assert error["pointer"] == "/columns/sold"
    assert "row 8, column 'sold': 'soon' is no date" in error["message"]


def test_dates_to_learn_are_classes(client: TestClient, run_job: Callable[[str], None]) -> None:
    frame = _frame()
    frame["quarter"] = [f"2021-{1 + k % 4:02d}-01" for k in range(ROWS)]
    dataset = upload_frame(client, frame)["id"]
    model = _fitted(client, run_job, dataset, target="quarter")
    assert model["classes"] == ["2021-01-01", "2021-02-01", "2021-03-01", "2021-04-01"]
    body = {"kind": "fit", "dataset": dataset, "target": "quarter", "columns": {"quarter": "datetime"}}
    [error] = client.post("/v1/jobs?dry_run=true", json=body).json()["errors"]
    assert error["pointer"] == "/columns/quarter"
