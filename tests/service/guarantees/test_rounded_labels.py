"""Labels that float64 has rounded are no labels: they are refused, and told how to be exact."""

import io
import json
from decimal import Decimal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worker.tables.frames import frame_table

LARGE = 2**53


def _submit(client, column, task, kind="json"):
    rows = [[number, column[number % len(column)]] for number in range(12)]
    if kind == "json":
        answer = client.post("/v1/datasets", json={"columns": ["x", "label"], "rows": rows})
    else:
        text = "x,label\n" + "".join(f"{x},{label}\n" for x, label in rows)
        answer = client.post("/v1/datasets", content=text, headers={"Content-Type": "text/csv"})
    body = {"kind": "fit", "dataset": answer.json()["id"], "target": "label", "task": task}
    return client.post("/v1/jobs?dry_run=true", json=body)


@pytest.mark.parametrize("kind", ["json", "csv"])
@pytest.mark.parametrize("column", [[LARGE + 1, LARGE + 3, 1.5], [-LARGE - 1, 0.5, 2], [2**64 + 1, 1.5, 2]])
def test_whole_numbers_that_are_rounded_beside_fractions_are_no_labels(client, column, kind):
    answer = _submit(client, column, "classification", kind)
    assert answer.status_code == 422
    assert "'label' holds whole numbers of 2^53 and more beside fractions" in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"] == "/target"


@pytest.mark.parametrize("column", [[LARGE + 1, LARGE + 3, 1], [0.5, 1.5, 2.5], [2**64 + 1, 2**64 + 3, 5]])
def test_exact_labels_are_labels(client, column):
    assert _submit(client, column, "classification").status_code == 200


def test_large_numbers_beside_fractions_are_learned_as_numbers(client):
    assert _submit(client, [LARGE + 1, LARGE + 3, 1.5], "regression").status_code == 200


def test_categories_of_whole_numbers_and_fractions_are_exact():
    categories = pd.Index([LARGE + 1, LARGE + 3, 1.5], dtype=object)
    column = pd.Series(pd.Categorical.from_codes([0, -1, 1, 2], categories))
    found = frame_table(pd.DataFrame({"a": column})).column("a")
    assert found.to_pylist() == [str(LARGE + 1), None, str(LARGE + 3), "1.5"]


SPELLINGS = ["{}.0", "{}e0", "{}.000E+0", "+{}.", "{}"]


def _uploaded(client, kind, labels):
    if kind == "json":
        rows = ",".join(f"[{x},{labels[x % len(labels)]}]" for x in range(12))
        content, media = f'{{"columns":["x","label"],"rows":[{rows}]}}', "application/json"
    elif kind == "csv":
        content = "x,label\n" + "".join(f"{x},{labels[x % len(labels)]}\n" for x in range(12))
        media = "text/csv"
    else:
        numbers = pa.array([Decimal(labels[x % len(labels)]) for x in range(12)], pa.decimal128(38, 10))
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"x": range(12), "label": numbers}), sink)
        content, media = sink.getvalue().to_pybytes(), "application/vnd.apache.parquet"
    answer = client.post("/v1/datasets", content=content, headers={"Content-Type": media})
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
@pytest.mark.parametrize("spelled", SPELLINGS)
@pytest.mark.parametrize("first", [LARGE, -LARGE - 1, 2**64, 10**20])
def test_whole_numbers_are_exact_however_they_are_written(client, kind, spelled, first):
    if kind == "json" and spelled.startswith("+"):
        spelled = "{}.0"
    if kind == "parquet" and spelled != "{}":
        pytest.skip("a decimal number has one spelling")
    labels = [str(first), spelled.format(first + 1).replace("+-", "-"), str(first + 2)]
    label = next(column for column in _uploaded(client, kind, labels)["columns"] if column["name"] == "label")
    assert label["distinct"] == 3


@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
def test_fractions_beside_rounded_whole_numbers_are_no_labels_however_they_are_written(client, kind):
    made = _uploaded(client, kind, [str(LARGE), f"{LARGE + 1}.0", "0.5"])
    body = {"kind": "fit", "dataset": made["id"], "target": "label", "task": "classification"}
    answer = client.post("/v1/jobs?dry_run=true", json=body)
    assert answer.status_code == 422
    assert "'label' holds whole numbers of 2^53 and more beside fractions" in answer.json()["detail"]


@pytest.mark.parametrize("kind", ["json", "csv", "parquet"])
def test_long_labels_are_answered_to_their_last_digit(client, run_job, kind):
    labels = [1234567890123456789, 1234567890123456788, 2**63 - 25]
    table = pa.table({"x": [float(row % 3) for row in range(30)], "label": [labels[row % 3] for row in range(30)]})
    body, media = io.BytesIO(), "application/vnd.apache.parquet"
    if kind == "parquet":
        pq.write_table(table, body)
    elif kind == "csv":
        body, media = io.BytesIO(table.to_pandas().to_csv(index=False).encode()), "text/csv"
    else:
        body = io.BytesIO(json.dumps({"rows": table.to_pylist()}).encode())
        media = "application/json"
    dataset = client.post("/v1/datasets", content=body.getvalue(), headers={"Content-Type": media}).json()["id"]
    spec = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "exponent": 1, "ridge": 0.1}
    job = {"kind": "fit", "dataset": dataset, "target": "label", "task": "classification", "model": "m", "spec": spec}
    run_job(client.post("/v1/jobs", json=job).json()["id"])
    rows = {"rows": [{"x": 0}, {"x": 1}, {"x": 2}]}
    answer = client.post("/v1/models/m/predict", json=rows)
    assert json.loads(answer.text)["predictions"] == labels
    assert json.loads(answer.text)["classes"] == sorted(labels)
    text = client.post("/v1/models/m/predict", json=rows, headers={"Accept": "text/csv"}).text
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == [str(label) for label in labels]


@pytest.mark.parametrize(
    ("features", "named"), [(None, ["a"]), (["a", "__index_level_0__"], ["a", "__index_level_0__"])]
)
def test_the_index_of_a_data_frame_is_no_feature_unless_named(client, features, named):
    frame = pd.DataFrame({"a": [1.0, 2, 3, 4], "y": [1.0, 2, 3, 4]}, index=[7, 8, 9, 11])
    sink = io.BytesIO()
    frame.to_parquet(sink)
    answer = client.post(
        "/v1/datasets", content=sink.getvalue(), headers={"Content-Type": "application/vnd.apache.parquet"}
    )
    job = {"kind": "fit", "dataset": answer.json()["id"], "target": "y", "features": features}
    dry = client.post("/v1/jobs?dry_run=true", json=job)
    assert dry.status_code == 200, dry.text
    assert dry.json()["request"]["features"] == named
