"""Exports as CSV are the data as they are; with ``spreadsheet`` nothing in them is a formula."""

import csv
import io
from collections.abc import Callable

from starlette.testclient import TestClient

COLUMN = "@SUM(1)"
TABLE = f"{COLUMN},=target\n" + "".join(f"{index % 5 - 2},{'=1+1' if index % 5 < 2 else '-'}\n" for index in range(40))
MARKS = ("=", "+", "-", "@", "\t", "\r")


def _cells(text: str) -> list[str]:
    return [cell for row in csv.reader(io.StringIO(text)) for cell in row]


def _formulas(text: str) -> list[str]:
    """Return the cells that a spreadsheet would run. A number below zero is a number."""
    return [cell for cell in _cells(text) if cell.startswith(MARKS) and not cell[1:].replace(".", "").isdecimal()]


def test_every_csv_is_exact_and_marked_when_asked_for(client: TestClient, run_job: Callable[[str], None]) -> None:
    dataset = client.post("/v1/datasets", content=TABLE, headers={"Content-Type": "text/csv"}).json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "=target", "model": "hostile"}
    body["spec"] = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "precision": "float32"}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    asked = {"json": {"columns": [COLUMN], "data": [[-2], [2]]}, "headers": {"Accept": "text/csv"}}

    def by_job(**options: bool) -> str:
        request = {"kind": "predict", "model": "hostile", "dataset": dataset, "format": "csv", **options}
        job = client.post("/v1/jobs", json=request).json()["id"]
        run_job(job)
        return client.get(f"/v1/jobs/{job}/result").text

    def matrix(query: str) -> str:
        path = f"/v1/models/hostile/features/matrix{query}"
        return client.get(path, headers={"Accept": "text/csv"}).text

    predict = "/v1/models/hostile/predict"
    pairs = [
        (client.post(predict, **asked).text, client.post(f"{predict}?spreadsheet=true", **asked).text),
        (by_job(), by_job(spreadsheet=True)),
        (matrix(""), matrix("?spreadsheet=true")),
    ]
    for exact, marked in pairs:
        assert _formulas(exact)
        assert _formulas(marked) == []
        assert [cell.removeprefix("'") for cell in _cells(marked)] == _cells(exact)
    assert {"=target", "=1+1", "-"} <= set(_cells(pairs[0][0]))
