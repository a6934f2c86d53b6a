"""What a request says of a column goes before what its cells tell, in training and in every later prediction."""

import io
import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from starlette.testclient import TestClient
from support.inline import fitted_model

ZIPS = (3011, 4001, 7000)
PRICES = (100.5, 900.5, 20.5)
SPEC = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "precision": "float32"}
ROWS = 240
CSV, JSON, PARQUET, NDJSON = "text/csv", "application/json", "application/vnd.apache.parquet", "application/x-ndjson"


def _table() -> pd.DataFrame:
    places = [k % 3 for k in range(ROWS)]
    return pd.DataFrame(
        {
            "zip": [ZIPS[place] for place in places],
            "size": [float(k % 7) for k in range(ROWS)],
            "code": [f"{k % 5:03d}" for k in range(ROWS)],
            "flag": [k % 2 for k in range(ROWS)],
            "truth": [k % 4 == 0 for k in range(ROWS)],
            "price": [PRICES[place] + k % 7 / 10 for k, place in enumerate(places)],
        }
    )


def _upload(client: TestClient, frame: pd.DataFrame, media_type: str = CSV) -> str:
    answer = client.post("/v1/datasets", content=_content(frame, media_type), headers={"Content-Type": media_type})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _content(frame: pd.DataFrame, media_type: str) -> bytes:
    if media_type == CSV:
        return frame.to_csv(index=False).encode()
    if media_type == JSON:
        return json.dumps({"rows": frame.to_dict("records")}).encode()
    if media_type == NDJSON:
        return "\n".join(map(json.dumps, frame.to_dict("records"))).encode()
    body = io.BytesIO()
    frame.to_parquet(body, index=False)
    return body.getvalue()


def _body(dataset: str, columns: dict[str, str], **changes: Any) -> dict[str, Any]:
    body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "typed", "spec": SPEC, "columns": columns}
    return {**body, **changes}


def _plan(client: TestClient, body: dict[str, Any]) -> Any:
    answer = client.post("/v1/jobs?dry_run=true", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _refused(client: TestClient, body: dict[str, Any], query: str = "?dry_run=true") -> dict[str, Any]:
    answer = client.post(f"/v1/jobs{query}", json=body)
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    return dict(error)


def _predicted(client: TestClient, content: bytes, media_type: str) -> Any:
    answer = client.post("/v1/models/typed/predict", content=content, headers={"Content-Type": media_type})
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"]


BLOCKS = {**SPEC, "solver": "blocks", "blocks": {"rows": 100, "learn": 2, "leaf": 100}, "exponent": 1.3}


@pytest.mark.parametrize("uploaded", [CSV, PARQUET])
@pytest.mark.parametrize("spec", [SPEC, BLOCKS], ids=["whole", "blocks"])
def test_a_number_that_is_a_category_is_one_in_every_format(
    client: TestClient, run_job: Callable[[str], None], uploaded: str, spec: dict[str, Any]
) -> None:
    frame = _table()
    dataset = _upload(client, frame, uploaded)
    model = fitted_model(client, run_job, _body(dataset, {"zip": "categorical", "code": "ignore"}, spec=spec))
    assert {one["name"]: one["type"] for one in model["features"]} == {
        "zip": "categorical",
        "size": "numeric",
        "flag": "numeric",
        "truth": "boolean",
    }
    encoded = client.get("/v1/models/typed/features").json()["encoded_importance"]
    assert {"zip=3011", "zip=4001", "zip=7000"} <= {one["feature"] for one in encoded}
    rows = frame.drop(columns="price")[:6]
    answers = [
        _predicted(client, _content(rows, media_type), media_type) for media_type in (CSV, JSON, PARQUET, NDJSON)
    ]
    for change in (float, str, "{}.0".format):
        other = rows.assign(zip=rows["zip"].map(change))
        answers += [_predicted(client, _content(other, media_type), media_type) for media_type in (CSV, JSON, PARQUET)]
    assert all(answer == pytest.approx(answers[0], abs=1e-5) for answer in answers)
    # two categories that are near each other as numbers are not near in price
    assert abs(answers[0][0] - answers[0][1]) > 100


def test_texts_in_several_spellings_are_one_category(client: TestClient, run_job: Callable[[str], None]) -> None:
    frame = _table()
    spellings = (str, "{}.0".format, "{}.00".format)
    frame["zip"] = [
        spellings[k % 3](zip_code) for k, zip_code in enumerate(frame["zip"].sample(frac=1, random_state=0))
    ]
    fitted_model(client, run_job, _body(_upload(client, frame), {"zip": "categorical"}))
    encoded = client.get("/v1/models/typed/features").json()["encoded_importance"]
    names = {one["feature"] for one in encoded if one["feature"].startswith("zip=")}
    assert names == {"zip=3011", "zip=4001", "zip=7000"}


def test_amounts_as_categories_are_found_as_they_were_written(
    client: TestClient, run_job: Callable[[str], None]
) -> None:
    frame = _table()
    frame["size"] = [f"1.{k % 3}00,50 €" for k in range(ROWS)]
    fitted_model(client, run_job, _body(_upload(client, frame), {"size": "categorical"}))
    names = {one["feature"] for one in client.get("/v1/models/typed/features").json()["encoded_importance"]}
    assert "size=1.100,50 €" in names


def test_texts_of_digits_are_numbers_when_the_caller_says_so(
    client: TestClient, run_job: Callable[[str], None]
) -> None:
    frame = _table()
    dataset = _upload(client, frame)
    plan = _plan(client, _body(dataset, {"code": "numeric", "flag": "boolean"}))
    # zip, size, code, flag, truth
    assert plan["encoded_columns"] == 5
    assert plan["request"]["columns"] == {"code": "numeric", "flag": "boolean"}
    model = fitted_model(client, run_job, _body(dataset, {"code": "numeric", "flag": "boolean"}))
    types = {one["name"]: one["type"] for one in model["features"]}
    assert types["code"] == "numeric"
    assert types["flag"] == "boolean"
    rows = frame.drop(columns="price")[:3]
    number = rows.assign(code=rows["code"].astype(float))
    assert _predicted(client, _content(rows, CSV), CSV) == pytest.approx(
        _predicted(client, _content(number, JSON), JSON)
    )


@pytest.mark.parametrize(
    ("column", "kind", "cell", "value"),
    [
        ("code", "numeric", "x12", "'x12'"),
        ("code", "boolean", "yes", "'yes'"),
        ("size", "boolean", 7.0, "7.0"),
        ("truth", "numeric", True, "true"),
    ],
)
@pytest.mark.parametrize("query", ["?dry_run=true", ""])
def test_a_cell_that_does_not_fit_is_refused_with_its_row_and_value(
    client: TestClient, column: str, kind: str, cell: Any, value: str, query: str
) -> None:
    frame = _table()
    frame["truth"] = pd.NA
    frame["code"] = "1" if kind == "boolean" else frame["code"]
    frame["size"] = 0.0
    frame[column] = frame[column].astype(object)
    frame.loc[41, column] = cell
    error = _refused(client, _body(_upload(client, frame), {column: kind}), query)
    assert error["pointer"] == f"/columns/{column}"
    assert "row 42" in error["message"]
    assert value in error["message"]


def test_the_target_may_have_a_type_too(client: TestClient, run_job: Callable[[str], None]) -> None:
    frame = _table()
    dataset = _upload(client, frame)
    as_category = _body(dataset, {"zip": "categorical"}, target="zip")
    assert _plan(client, as_category)["task"] == "classification"
    assert fitted_model(client, run_job, as_category)["classes"] == ["3011", "4001", "7000"]
    as_number = _body(dataset, {"code": "numeric"}, target="code", task="regression")
    assert fitted_model(client, run_job, as_number)["task"] == "regression"
    assert _refused(client, _body(dataset, {"price": "ignore"}))["pointer"] == "/columns/price"
    wrong = _refused(client, _body(dataset, {"price": "boolean"}))
    assert wrong["pointer"] == "/columns/price"
    assert "100.5" in wrong["message"]


def test_a_validation_table_is_read_by_the_same_types(client: TestClient, run_job: Callable[[str], None]) -> None:
    frame = _table()
    other = _upload(client, frame[::-1].assign(zip=frame["zip"].astype(str) + ".0"))
    body = _body(_upload(client, frame), {"zip": "categorical", "code": "numeric"}, validation={"dataset": other})
    model = fitted_model(client, run_job, {**body, "spec": {**SPEC, "ridge": 1e-3}})
    assert model["metrics"]["validation_r2"] > 0.9


@pytest.mark.parametrize("kind", ["fit", "tune", "network"])
def test_an_unknown_column_is_answered_with_the_closest_names(client: TestClient, dataset: str, kind: str) -> None:
    body = {"kind": kind, "dataset": dataset, "target": "price", "columns": {"ctiy": "ignore"}}
    error = _refused(client, body)
    assert error["pointer"] == "/columns/ctiy"
    assert "did you mean 'city'" in error["message"]
    assert "/columns/city" in _refused(client, {**body, "columns": {"city": "number"}})["pointer"]
    plan = _plan(client, {**body, "columns": {"city": "ignore"}})
    assert plan["request"]["features"] == ["size"]
    assert plan["request"]["columns"] == {}


def test_a_resolved_request_is_taken_again(client: TestClient, dataset: str) -> None:
    body = {"kind": "fit", "dataset": dataset, "target": "price", "columns": {"city": "ignore", "size": "categorical"}}
    plan = _plan(client, body)
    again = _plan(client, plan["request"])
    assert again["request"] == plan["request"]
