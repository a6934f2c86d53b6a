"""Columns that name the rows are left out of a fit that names no features, which the plan and the model tell."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient
from support.inline import fitted_model

ROWS = 120
SPEC = {"iterations": 1, "encoding": "plain", "feature_matrix": "full"}


def _table(rows: int = ROWS) -> pd.DataFrame:
    numbers = np.arange(rows)
    x = np.sin(numbers)
    return pd.DataFrame(
        {
            "mail": [f"someone{k}@example.com" for k in numbers],
            "nearly": [f"n{k % (rows - 5)}" for k in numbers],
            "customer_id": (numbers * 7919) % 100_003,
            "note": [f"words {k} of {k * k} people" for k in numbers],
            "city": [f"c{k % 40}" for k in numbers],
            "same": ["x"] * rows,
            "big": (numbers * 7919) % 100_003 + 0.5,
            "x": x,
            "y": 2 * x,
        }
    )


NAMES = {"mail", "nearly", "customer_id", "note"}


def _upload(client: TestClient, frame: pd.DataFrame) -> str:
    answer = client.post("/v1/datasets", content=frame.to_csv(index=False), headers={"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def _plan(client: TestClient, dataset: str, **changes: Any) -> Any:
    body = {"kind": "fit", "dataset": dataset, "target": "y", "model": "m", "spec": SPEC} | changes
    answer = client.post("/v1/jobs?dry_run=true", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_names_rows_is_left_out_and_told_once(client: TestClient) -> None:
    plan = _plan(client, _upload(client, _table()))
    assert {one["column"] for one in plan["left_out"]} == NAMES
    assert set(plan["request"]["features"]) == {"city", "same", "big", "x"}
    for name in NAMES:
        assert sum(f"'{name}'" in remark for remark in plan["remarks"]) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"features": ["mail", "nearly", "customer_id", "note", "x"]},
        {"columns": {"mail": "categorical", "nearly": "categorical", "customer_id": "numeric", "note": "categorical"}},
    ],
)
def test_who_names_it_has_it_read(client: TestClient, changes: dict[str, Any]) -> None:
    plan = _plan(client, _upload(client, _table()), **changes)
    assert plan["left_out"] == []
    assert set(plan["request"]["features"]) >= NAMES


def test_what_the_caller_excludes_is_not_told_again(client: TestClient) -> None:
    plan = _plan(client, _upload(client, _table()), exclude=["mail"], columns={"note": "ignore"})
    assert {one["column"] for one in plan["left_out"]} == {"nearly", "customer_id"}


def test_a_table_of_nothing_else_is_refused_with_what_to_do(client: TestClient) -> None:
    body = {"kind": "fit", "dataset": _upload(client, _table()[["mail", "y"]]), "target": "y", "spec": SPEC}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == "/features"
    assert "'mail'" in error["message"]
    assert "in 'features'" in error["message"]


def test_few_rows_that_all_differ_are_no_names(client: TestClient) -> None:
    assert _plan(client, _upload(client, _table(40)))["left_out"] == []


def test_the_model_tells_what_it_does_not_read(client: TestClient, run_job: Callable[[str], None]) -> None:
    dataset = _upload(client, _table())
    body = {"kind": "fit", "dataset": dataset, "target": "y", "model": "m", "spec": SPEC}
    model = fitted_model(client, run_job, body)
    assert {one["column"] for one in model["left_out"]} == {*NAMES, "same"}
    assert "mail" in client.get("/v1/models/m/card").text
    rows = [{"city": "c1", "same": "x", "big": 3.5, "x": 0.5}]
    answer = client.post("/v1/models/m/predict", content=json.dumps({"rows": rows}))
    assert answer.status_code == 200, answer.text


def test_many_identifiers_make_no_wide_table(client: TestClient) -> None:
    frame = pd.DataFrame({f"id{k}": [f"{k}-{row}" for row in range(600)] for k in range(10)})
    plan = _plan(client, _upload(client, frame.assign(x=np.arange(600.0) % 17, y=np.arange(600.0) % 5)))
    assert plan["request"]["features"] == ["x"]
    assert len(plan["left_out"]) == 10
