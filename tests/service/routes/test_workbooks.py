"""Workbooks as datasets and as rows to predict; files whose names say how they are compressed."""

import gzip
from collections.abc import Callable
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient
from support.workbooks import workbook

from worker.tables.media import CSV, NDJSON, XLSX

ROWS = [[k, ["Bern", "Chur"][k % 2], 2.0 * k] for k in range(40)]
BODY = workbook({"Notes": [["k", "v"], [1, "x"], [2, "y"]], "Daten ü": [["Sales"], [], ["size", "city", "y"], *ROWS]})
OTHER = "Daten ü"


def _by_query(client: TestClient, sheet: str | None):
    params = {} if sheet is None else {"sheet": sheet}
    return client.post("/v1/datasets", params=params, content=BODY, headers={"Content-Type": XLSX})


def _by_form(client: TestClient, sheet: str | None):
    data = {} if sheet is None else {"sheet": sheet}
    return client.post("/v1/datasets", data=data, files={"file": ("t.xlsx", BODY, "application/octet-stream")})


def _by_parts(client: TestClient, sheet: str | None):
    begun = client.post("/v1/uploads", json={"filename": "t.XLSX", "bytes": len(BODY), "sheet": sheet}).json()
    client.put(f"/v1/uploads/{begun['id']}/parts/1", content=BODY)
    return client.post(f"/v1/uploads/{begun['id']}/complete")


def _by_content_type(client: TestClient, sheet: str | None):
    kind = XLSX if sheet is None else f"{XLSX};sheet={quote(sheet)}"
    return client.post("/v1/datasets", content=BODY, headers={"Content-Type": kind})


WAYS: dict[str, Callable[..., object]] = {
    "query": _by_query,
    "form": _by_form,
    "parts": _by_parts,
    "content type": _by_content_type,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_sheet_is_a_table(client: TestClient, way: str) -> None:
    made = WAYS[way](client, OTHER)
    assert made.status_code in (200, 201), made.text
    told = {"separator": None, "encoding": None, "sheet": OTHER, "header": True, "skipped_rows": 2}
    assert made.json()["reading"] == {**told, "renamed": {}, "dropped_columns": []}
    assert [column["type"] for column in made.json()["columns"]] == ["numeric", "categorical", "numeric"]
    first = WAYS[way](client, None)
    assert first.json()["reading"]["sheet"] == "Notes"
    assert first.json()["id"] != made.json()["id"]
    missing = WAYS[way](client, "Datum")
    assert missing.status_code == 422, missing.text
    assert "it has 'Notes', 'Daten ü'" in missing.json()["detail"]


def test_the_bytes_of_a_workbook_come_back_with_its_sheet(client: TestClient) -> None:
    made = _by_query(client, OTHER).json()
    content = client.get(f"/v1/datasets/{made['id']}/content")
    assert content.content == BODY
    assert ".xlsx" in content.headers["content-disposition"]
    again = client.post("/v1/datasets", content=BODY, headers={"Content-Type": content.headers["content-type"]})
    assert (again.status_code, again.json()["id"]) == (200, made["id"])


def test_the_sheet_of_another_format_and_a_separator_of_a_workbook_are_refused(client: TestClient) -> None:
    for option, kind, body in (("sheet", CSV, b"a\n1\n"), ("separator", XLSX, BODY), ("encoding", XLSX, BODY)):
        value = {"separator": ";", "encoding": "utf-8"}.get(option, "S")
        answer = client.post("/v1/datasets", params={option: value}, content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422, answer.text
        assert answer.json()["errors"][0]["pointer"] == f"query:{option}"


def test_rows_to_predict_may_be_a_workbook(client: TestClient, run_job) -> None:
    dataset = _by_query(client, OTHER).json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "y", "model": "sizes", "spec": {"iterations": 1}}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    rows = {"columns": ["size", "city"], "rows": [[3, "Chur"], [8, None]]}
    right = client.post("/v1/models/sizes/predict", json=rows).json()
    asked = workbook([["Questions"], [], ["city", "size", "more"], ["Chur", 3, "x"], [None, 8, "y"]])
    answer = client.post("/v1/models/sizes/predict", content=asked, headers={"Content-Type": XLSX})
    assert answer.status_code == 200, answer.text
    assert answer.json() == right
    broken = client.post("/v1/models/sizes/predict", content=asked[:-9], headers={"Content-Type": XLSX})
    assert broken.status_code == 422, broken.text


TEXTS = {
    "t.csv.gz": (CSV, b"a,b\n1,x\n2,y\n"),
    "t.tsv": ("text/tab-separated-values", b"a\tb\n1\tx\n2\ty\n"),
    "T.TSV.GZ": ("text/tab-separated-values", b"a\tb\n1\tx\n2\ty\n"),
    "t.ndjson.gz": (NDJSON, b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'),
    "t.jsonl": (NDJSON, b'{"a": 1, "b": "x"}\n{"a": 2, "b": "y"}\n'),
}


@pytest.mark.parametrize("declared", ["application/octet-stream", "application/gzip", None])
@pytest.mark.parametrize("name", TEXTS)
def test_a_name_tells_the_format_of_a_file_and_its_compression(
    client: TestClient, name: str, declared: str | None
) -> None:
    kind, text = TEXTS[name]
    packed = gzip.compress(text, mtime=0) if name.lower().endswith(".gz") else text
    made = client.post("/v1/datasets", files={"file": (name, packed, declared or kind)})
    assert made.status_code in (200, 201), made.text
    assert (made.json()["rows"], made.json()["bytes"], made.json()["media_type"]) == (2, len(text), kind)
    begun = client.post("/v1/uploads", json={"filename": name, "bytes": len(packed)})
    assert begun.status_code == 201, begun.text
    assert begun.json()["encoding"] == ("gzip" if packed != text else None)
    client.put(f"/v1/uploads/{begun.json()['id']}/parts/1", content=packed)
    whole = client.post(f"/v1/uploads/{begun.json()['id']}/complete")
    assert (whole.status_code, whole.json()["id"]) == (200, made.json()["id"]), whole.text


def test_a_file_that_is_not_compressed_whatever_its_name_says_is_read(client: TestClient) -> None:
    made = client.post("/v1/datasets", files={"file": ("t.csv.gz", b"a,b\n1,2\n", "application/gzip")})
    assert made.status_code == 201, made.text


@pytest.mark.parametrize("name", ["t.gz", "t.xls", "t.npy.gz", "t"])
def test_a_name_that_tells_no_format_is_answered_with_those_that_do(client: TestClient, name: str) -> None:
    answer = client.post("/v1/datasets", files={"file": (name, b"a,b\n1,2\n", "application/octet-stream")})
    assert answer.status_code == 415, answer.text
    assert ".xlsx" in answer.json()["detail"]
    assert ".gz or .zst" in answer.json()["detail"]
    answer = client.post("/v1/uploads", json={"filename": name, "bytes": 8})
    assert answer.status_code == 422
    assert ".xlsx" in answer.json()["detail"]
