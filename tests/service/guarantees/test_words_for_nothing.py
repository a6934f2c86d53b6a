"""A caller says which words mean no value: others are values, in training as in prediction, however they come."""

import io
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from worker.estimators import FactRFMClassifier
from worker.prediction import load
from worker.tables import media

WORDS = ["-", "unbekannt"]
ROWS = 48
PAY = ["None", "NA", "gold", "-", " gold ", "unbekannt"]
TABLE = pd.DataFrame(
    {
        "row": [str(row) for row in range(ROWS)],
        "pay": [PAY[row % len(PAY)] for row in range(ROWS)],
        "size": ["-" if row % 7 == 0 else f"{row / 4}" for row in range(ROWS)],
        "new": ["unbekannt" if row % 5 == 0 else "true" if row % 2 else "false" for row in range(ROWS)],
        "y": ["None" if row % 3 == 0 else "NA" if row % 3 == 1 else "?" for row in range(ROWS)],
    }
)
SPEC = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "exponent": 1, "ridge": 1e-6, "refit": False}


def _bytes(kind: str, table: pd.DataFrame) -> bytes:
    arrow = pa.Table.from_pandas(table, preserve_index=False)
    sink = io.BytesIO()
    if kind == media.PARQUET:
        pq.write_table(arrow, sink)
    elif kind == media.ARROW_STREAM:
        with pa.ipc.new_stream(sink, arrow.schema) as writer:
            writer.write_table(arrow)
    elif kind == media.JSON:
        return json.dumps({"columns": list(table.columns), "rows": table.to_numpy().tolist()}).encode()
    else:
        return table.to_csv(index=False, sep="\t" if kind == media.TSV else ",").encode()
    return sink.getvalue()


KINDS = [media.CSV, media.TSV, media.PARQUET, media.ARROW_STREAM, media.JSON]


def _upload(client: TestClient, kind: str, words: list[str] | None = WORDS, table: pd.DataFrame = TABLE) -> dict:
    params = {} if words is None else {"missing": words}
    answer = client.post("/v1/datasets", params=params, content=_bytes(kind, table), headers={"Content-Type": kind})
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def _fit(client: TestClient, run_job, dataset: str, name: str) -> None:
    body = {"kind": "fit", "dataset": dataset, "target": "y", "model": name, "spec": SPEC, "validation": None}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    run_job(answer.json()["id"])


def _predict_job(client: TestClient, run_job, dataset: str) -> list[str]:
    body = {"kind": "predict", "model": "model", "dataset": dataset, "format": "csv"}
    job = client.post("/v1/jobs", json=body).json()["id"]
    run_job(job)
    result = io.BytesIO(client.get(f"/v1/jobs/{job}/result").content)
    return pd.read_csv(result, keep_default_na=False)["y"].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_word_for_nothing_is_a_value(client: TestClient, kind: str) -> None:
    columns = {one["name"]: one for one in _upload(client, kind)["columns"]}
    assert {name: one["type"] for name, one in columns.items()} == {
        "row": "numeric",
        "pay": "categorical",
        "size": "numeric",
        "new": "boolean",
        "y": "categorical",
    }
    assert {one["value"] for one in columns["pay"]["top"]} == {"None", "NA", "gold"}
    assert {one["value"] for one in columns["y"]["top"]} == {"None", "NA", "?"}
    counts = {name: int(TABLE[name].isin(WORDS).sum()) for name in columns}
    assert {name: one["missing"] for name, one in columns.items()} == counts
    assert all(one["missing_words"] == WORDS for one in columns.values())


def test_rows_that_trained_are_answered_as_in_training_whichever_way_they_come(client: TestClient, run_job) -> None:
    dataset = _upload(client, media.CSV)["id"]
    _fit(client, run_job, dataset, "model")
    features = {one["name"]: one for one in client.get("/v1/models/model").json()["features"]}
    assert all(one["missing_words"] == WORDS for one in features.values())
    said = _predict_job(client, run_job, dataset)
    assert said == TABLE["y"].tolist()
    gone = TABLE.drop(columns="y")
    nulls = gone.map(lambda cell: None if cell in WORDS else cell.strip())
    for kind in KINDS:
        for table in (gone, nulls):
            answer = client.post(
                "/v1/models/model/predict", content=_bytes(kind, table), headers={"Content-Type": kind}
            )
            assert answer.status_code == 200, answer.text
            assert answer.json()["predictions"] == said, kind
            assert "unknown-categories" not in answer.headers
    for kind in KINDS:
        other = _upload(client, kind, table=gone)["id"]
        assert _predict_job(client, run_job, other) == said


def test_the_same_bytes_with_other_words_are_another_dataset(client: TestClient) -> None:
    usual, told = _upload(client, media.CSV, None), _upload(client, media.CSV)
    assert usual["id"] != told["id"]
    assert _upload(client, media.CSV, ["unbekannt", "-", "-"])["id"] == told["id"]
    assert usual["columns"][1]["missing_words"] is None
    content = client.get(f"/v1/datasets/{told['id']}/content")
    assert content.content == _bytes(media.CSV, TABLE)


def test_with_a_blank_word_alone_every_text_is_a_value(client: TestClient) -> None:
    columns = {one["name"]: one for one in _upload(client, media.CSV, [""])["columns"]}
    assert [one["missing"] for one in columns.values()] == [0] * 5
    assert columns["size"]["type"] == "categorical"


def test_fields_of_a_form_name_words_too(client: TestClient) -> None:
    file = {"file": ("t.csv", _bytes(media.CSV, TABLE), "text/csv")}
    answer = client.post("/v1/datasets", files=file, data={"missing": WORDS})
    assert (answer.status_code, answer.json()["id"]) == (201, _upload(client, media.CSV)["id"])
    both = client.post("/v1/datasets?missing=unbekannt", files=file, data={"missing": "-"})
    assert (both.status_code, both.json()["id"]) == (200, answer.json()["id"])


@pytest.mark.parametrize(
    "query", [{"missing": WORDS}, {"header": "false"}, {"header": "true", "missing": ["-", 'ü;,"']}, {}]
)
def test_what_a_dataset_says_of_its_bytes_is_heard_when_it_is_sent_again(client: TestClient, query) -> None:
    made = client.post(
        "/v1/datasets", params=query, content=_bytes(media.CSV, TABLE), headers={"Content-Type": "text/csv"}
    ).json()
    content = client.get(f"/v1/datasets/{made['id']}/content")
    again = client.post(
        "/v1/datasets", content=content.content, headers={"Content-Type": content.headers["content-type"]}
    )
    assert (again.status_code, again.json()["id"]) == (200, made["id"])


@pytest.mark.parametrize("parameter", ["header=perhaps", "missing=-", "missing=%5B1%5D", "missing=%7B%7D"])
def test_a_parameter_of_the_type_that_says_nothing_is_refused(client: TestClient, parameter: str) -> None:
    answer = client.post("/v1/datasets", content=b"a,b\n1,2\n", headers={"Content-Type": f"text/csv;{parameter}"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "header:content-type")


def test_a_word_that_comes_as_a_file_is_refused(client: TestClient) -> None:
    files = [("file", ("t.csv", b"a,y\n1,2\n", "text/csv")), ("missing", ("words.txt", b"-", "text/plain"))]
    answer = client.post("/v1/datasets", files=files)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/missing")


def test_a_predict_job_takes_the_words_of_the_model_out_of_any_dataset(client: TestClient, run_job) -> None:
    _fit(client, run_job, _upload(client, media.CSV)["id"], "model")
    said = [_predict_job(client, run_job, _upload(client, media.CSV, words)["id"]) for words in (WORDS, None)]
    assert said[0] == said[1] == TABLE["y"].tolist()


@pytest.mark.parametrize(
    "words",
    [["x" * 51], ["a\0b"], ["a\nb"], [str(number) for number in range(21)], [str(number) * 50 for number in range(5)]],
)
def test_words_have_bounds(client: TestClient, words: list[str]) -> None:
    answer = client.post(
        "/v1/datasets", params={"missing": words}, content=b"a,y\n1,2\n", headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("query:missing")
    form = client.post("/v1/datasets", files={"file": ("t.csv", b"a,y\n1,2\n", "text/csv")}, data={"missing": words})
    assert form.status_code == 422
    assert form.json()["errors"][0]["pointer"].startswith("/missing")


def test_the_usual_words_are_refused_as_classes_with_the_remedy(client: TestClient) -> None:
    dataset = _upload(client, media.CSV, None)["id"]
    answer = client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "y"})
    assert answer.status_code == 422
    assert "?missing=" in answer.json()["detail"]


SENTINELS = ["-999", "true", "2020-01-01", "x"]
TYPED = pd.DataFrame(
    {
        "row": np.arange(ROWS, dtype=float),
        "whole": [-999 if row % 5 == 0 else row for row in range(ROWS)],
        "part": [-999.0 if row % 7 == 0 else row / 8 for row in range(ROWS)],
        "new": [row % 3 == 0 for row in range(ROWS)],
        "kind": pd.Categorical(["x" if row % 4 == 0 else "NA" if row % 2 else "y" for row in range(ROWS)]),
        "day": pd.to_datetime(["2020-01-01" if row % 6 == 0 else f"2021-03-{row % 3 + 1:02}" for row in range(ROWS)]),
        "y": [float(row % 4) for row in range(ROWS)],
    }
)


def _as_texts(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(part=[f"{cell:.3f}" for cell in table["part"]], day=table["day"].dt.strftime("%Y-%m-%d"))


@pytest.mark.parametrize("kind", [*KINDS, "texts"])
def test_a_word_is_missing_however_its_cells_are_typed(client: TestClient, kind: str) -> None:
    """Numbers, truth values, moments and declared categories are no texts in a typed file."""
    if kind in ("texts", media.CSV, media.TSV, media.JSON):
        table, kind = _as_texts(TYPED), media.CSV if kind == "texts" else kind
    else:
        table = TYPED
    columns = {one["name"]: one for one in _upload(client, kind, SENTINELS, table)["columns"]}
    gone = {
        "row": 0,
        "whole": (TYPED["whole"] == -999).sum(),
        "part": (TYPED["part"] == -999).sum(),
        "new": TYPED["new"].sum(),
        "kind": (TYPED["kind"] == "x").sum(),
        "day": (TYPED["day"] == "2020-01-01").sum(),
        "y": 0,
    }
    assert {name: one["missing"] for name, one in columns.items()} == gone


def test_every_way_to_ask_takes_such_words_out(client: TestClient, run_job) -> None:
    dataset = _upload(client, media.PARQUET, SENTINELS, TYPED)["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "y", "model": "typed", "spec": SPEC, "validation": None}
    run_job(client.post("/v1/jobs", json={**body, "task": "regression"}).json()["id"])
    asked = TYPED.drop(columns="y")
    texts = _as_texts(asked)

    def predict(content: bytes, kind: str) -> list[float]:
        answer = client.post("/v1/models/typed/predict", content=content, headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
        assert "unknown-categories" not in answer.headers
        return answer.json()["predictions"]

    expected = predict(_bytes(media.PARQUET, asked), media.PARQUET)
    for kind in KINDS:
        assert predict(_bytes(kind, texts), kind) == expected, kind
    records = json.loads(texts.assign(part=asked["part"]).to_json(orient="records"))
    assert predict(json.dumps({"rows": records}).encode(), media.JSON) == expected
    for words in (None, SENTINELS):
        other = _upload(client, media.PARQUET, words, asked)["id"]
        job = client.post("/v1/jobs", json={"kind": "predict", "model": "typed", "dataset": other, "format": "csv"})
        run_job(job.json()["id"])
        result = client.get(f"/v1/jobs/{job.json()['id']}/result").content
        assert pd.read_csv(io.BytesIO(result)).iloc[:, 0].tolist() == expected
    tensors = [
        {
            "name": name,
            "shape": [ROWS],
            "datatype": {"f": "FP64", "i": "INT64", "b": "BOOL"}.get(asked[name].dtype.kind, "BYTES"),
            "data": texts[name].tolist() if asked[name].dtype.kind not in "fib" else asked[name].tolist(),
        }
        for name in asked
    ]
    answer = client.post("/v2/models/typed/infer", json={"inputs": tensors})
    assert answer.status_code == 200, answer.text
    assert answer.json()["outputs"][0]["data"] == expected


def test_a_graph_takes_such_words_out(client: TestClient, run_job) -> None:
    dataset = _upload(client, media.PARQUET, SENTINELS, TYPED)["id"]
    # a graph has no dates
    body = {"kind": "fit", "dataset": dataset, "target": "y", "model": "typed", "spec": SPEC, "exclude": ["day"]}
    run_job(client.post("/v1/jobs", json={**body, "task": "regression", "validation": None}).json()["id"])
    asked = TYPED.drop(columns=["y", "day"])
    texts = _as_texts(TYPED.drop(columns="y")).drop(columns="day")
    sent = {"content": asked.to_csv(index=False), "headers": {"Content-Type": media.CSV}}
    expected = client.post("/v1/models/typed/predict", **sent).json()["predictions"]
    graph = client.get("/v1/models/typed/export?format=onnx").content
    fed = {
        name: asked[name].to_numpy(float)[:, None]
        if asked[name].dtype.kind in "fib"
        else texts[[name]].to_numpy(object)
        for name in asked
    }
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(["predict"], fed)[0], expected, rtol=1e-9, atol=1e-9)


def test_estimators_and_files_of_a_model_know_its_words(client: TestClient, run_job, tmp_path: Path) -> None:
    dataset = _upload(client, media.CSV)["id"]
    _fit(client, run_job, dataset, "model")
    file = tmp_path / "model.safetensors"
    file.write_bytes(client.get("/v1/models/model/export").content)
    rows = TABLE.drop(columns="y").assign(row=np.arange(ROWS, dtype=float))
    assert FactRFMClassifier.load(file).predict(rows).tolist() == TABLE["y"].tolist()
    assert load(file).answer(pa.Table.from_pandas(rows, preserve_index=False)).predictions.tolist() == list(TABLE["y"])


@pytest.mark.parametrize("words", [["-"], [""]])
def test_nan_is_a_word_that_can_be_a_value(client: TestClient, words: list[str]) -> None:
    table = pd.DataFrame({"a": ["nan", "1", "-nan", "NaN"], "y": ["nan", "1", "nan", "2"]})
    columns = _upload(client, media.CSV, words, table)["columns"]
    assert [(one["type"], one["missing"]) for one in columns] == [("categorical", 0)] * 2


@pytest.mark.parametrize("word", ["nan", "NA", "None"])
def test_a_word_that_is_none_is_no_number(client: TestClient, run_job, word: str) -> None:
    _fit(client, run_job, _upload(client, media.CSV)["id"], "model")
    row = {"row": 1, "pay": "gold", "size": word, "new": True}
    answer = client.post("/v1/models/model/predict", json={"rows": [row]})
    assert (answer.status_code, "is not numeric" in answer.text) == (422, True)


def test_a_missing_label_is_named_by_its_row(client: TestClient) -> None:
    table = "x,y\n1,a\n2,b\n3,\n4,a\n5,\n"
    dataset = client.post("/v1/datasets", content=table, headers={"Content-Type": "text/csv"}).json()
    assert dataset["columns"][1]["first_missing"] == 3
    answer = client.post(
        "/v1/jobs", json={"kind": "fit", "dataset": dataset["id"], "target": "y", "missing_target": "error"}
    )
    assert "target 'y' has 2 missing values, the first in row 3" in answer.json()["detail"]
