"""Predictions repeat columns of their rows, so that an answer says of what it is."""

import io
import json

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient
from support.workbooks import workbook

from worker.tables.media import ARROW_STREAM, CSV, JSON, NDJSON, NPY, PARQUET, XLSX

ROWS = [{"size": k, "city": ["Bern", "Chur"][k % 2], "y": 2.0 * k} for k in range(40)]
ASKED = [{"id": "007", "size": 3, "city": "Chur", "y": 5}, {"id": "x,1", "size": 8, "city": None, "y": None}]
NAMES = list(ASKED[0])
TABLE = pa.Table.from_pylist(ASKED)


def _parquet() -> bytes:
    target = io.BytesIO()
    pq.write_table(TABLE, target)
    return target.getvalue()


BODIES = {
    "records": (JSON, json.dumps(ASKED).encode()),
    "lists": (JSON, json.dumps({"columns": NAMES, "rows": [list(row.values()) for row in ASKED]}).encode()),
    "lines": (NDJSON, "\n".join(map(json.dumps, ASKED)).encode()),
    "csv": (CSV, b'id,size,city,y\n007,3,Chur,5\n"x,1",8,,\n'),
    "parquet": (PARQUET, _parquet()),
    "workbook": (XLSX, workbook([NAMES, *(list(row.values()) for row in ASKED)])),
}


@pytest.fixture
def model(client: TestClient, run_job) -> str:
    dataset = client.post("/v1/datasets", json=ROWS).json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "y", "model": "sizes", "spec": {"iterations": 1}}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    return "/v1/models/sizes/predict"


def test_columns_of_the_rows_are_in_the_answer(client: TestClient, model: str) -> None:
    plain = client.post(model, json=ASKED).json()
    assert "kept" not in plain
    for name, (kind, body) in BODIES.items():
        sent = {"content": body, "headers": {"Content-Type": kind}}
        answer = client.post(f"{model}?keep=id, y", **sent)
        assert answer.status_code == 200, (name, answer.text)
        told = answer.json()
        assert told["predictions"] == plain["predictions"], name
        assert told["kept"]["id"] == ["007", "x,1"], name
        # a cell of a text is kept as it is written
        assert told["kept"]["y"] == (["5", ""] if name == "csv" else [5, None]), name
        sent["headers"]["Accept"] = ARROW_STREAM
        table = pa.ipc.open_stream(client.post(f"{model}?keep=id&keep=y", **sent).content).read_all()
        assert table.column_names == ["id", "kept:y", "y"], name
        assert table["y"].to_pylist() == plain["predictions"], name
        sent["headers"]["Accept"] = CSV
        table = pa_csv.read_csv(io.BytesIO(client.post(f"{model}?keep=id", **sent).content))
        assert table.column_names == ["id", "y"], name


@pytest.mark.parametrize("body", BODIES)
def test_a_column_that_is_not_there_is_named_with_those_that_may_be_meant(
    client: TestClient, model: str, body: str
) -> None:
    kind, content = BODIES[body]
    answer = client.post(f"{model}?keep=id,citty", content=content, headers={"Content-Type": kind})
    assert answer.status_code == 422, answer.text
    assert "'citty'; did you mean 'city'?" in answer.json()["detail"]
    assert answer.json()["errors"][0]["pointer"] == "query:keep"


def test_arrays_without_names_keep_nothing(client: TestClient, model: str) -> None:
    answer = client.post(f"{model}?keep=id", json=ASKED, headers={"Accept": NPY})
    assert answer.status_code == 422, answer.text
    answer = client.post(f"{model}?keep=id", content=b"x", headers={"Content-Type": NPY})
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("form", ["csv", "parquet", "arrow"])
def test_a_job_keeps_columns_of_its_dataset(client: TestClient, model: str, run_job, form: str) -> None:
    dataset = client.post("/v1/datasets", content=BODIES["csv"][1], headers={"Content-Type": CSV}).json()["id"]
    body = {"kind": "predict", "model": "sizes", "dataset": dataset, "format": form, "keep": ["id", "y", "city"]}
    job = client.post("/v1/jobs", json=body).json()["id"]
    run_job(job)
    content = client.get(f"/v1/jobs/{job}/result").content
    read = {
        "csv": lambda: pa_csv.read_csv(
            io.BytesIO(content),
            convert_options=pa_csv.ConvertOptions(column_types={"id": pa.string()}, strings_can_be_null=True),
        ),
        "parquet": lambda: pq.read_table(io.BytesIO(content)),
        "arrow": lambda: pa.ipc.open_file(content).read_all(),
    }
    table = read[form]()
    assert table.column_names == ["id", "kept:y", "city", "y"]
    assert table["id"].to_pylist() == ["007", "x,1"]
    assert table["kept:y"].to_pylist() == [5, None]
    assert table["city"].to_pylist() == ["Chur", None]
    assert table["y"].to_pylist() == pytest.approx(client.post(model, json=ASKED).json()["predictions"])


@pytest.mark.parametrize(("keep", "complaint"), [(["idd"], "did you mean 'id'"), (["id", "id"], "named twice")])
def test_a_job_that_keeps_what_is_not_there_is_refused(client, model: str, keep: list[str], complaint: str) -> None:
    dataset = client.post("/v1/datasets", content=BODIES["csv"][1], headers={"Content-Type": CSV}).json()["id"]
    answer = client.post("/v1/jobs", json={"kind": "predict", "model": "sizes", "dataset": dataset, "keep": keep})
    assert answer.status_code == 422
    [error] = answer.json()["errors"]
    assert error["pointer"] == f"/keep/{len(keep) - 1}"
    assert complaint in error["message"]
