"""Lists of objects and lines of objects are tables, to train on and to predict, as the other shapes of JSON are."""

import json

import pytest
from starlette.testclient import TestClient

ROWS = [{"size": k, "city": ["Bern", "Chur"][k % 2], "y": 2.0 * k} for k in range(40)]
SHAPES = {
    "records": ("application/json", json.dumps(ROWS)),
    "lines": ("application/x-ndjson", "\n".join(map(json.dumps, ROWS)) + "\n"),
    "lines without an end, with blank ones": ("application/x-ndjson", "\n\n".join(map(json.dumps, ROWS))),
    "rows of objects": ("application/json", json.dumps({"rows": ROWS})),
    "split": ("application/json", json.dumps({"columns": list(ROWS[0]), "data": [list(row.values()) for row in ROWS]})),
}
GAPS = [
    {name: cell for name, cell in row.items() if not (name == "city" and row["size"] % 3 == 1)}
    | ({"note": f"n{row['size'] % 2}"} if row["size"] % 5 == 2 else {})
    for row in ROWS
]
FILLED = [{name: row.get(name) for name in ("size", "city", "y", "note")} for row in GAPS]
GAP_SHAPES = {
    "records": ("application/json", json.dumps(GAPS)),
    "lines": ("application/x-ndjson", "\n".join(map(json.dumps, GAPS)) + "\n"),
    "rows of objects": ("application/json", json.dumps({"rows": GAPS})),
    "whole records": ("application/json", json.dumps(FILLED)),
    "split": (
        "application/json",
        json.dumps(
            {
                "columns": list(FILLED[0]),
                "index": list(range(len(FILLED))),
                "data": [list(row.values()) for row in FILLED],
            }
        ),
    ),
    "columns and rows": (
        "application/json",
        json.dumps({"columns": list(FILLED[0]), "rows": [list(row.values()) for row in FILLED]}),
    ),
}
ASKED = [{"size": 3, "city": "Chur"}, {"size": 8, "city": None}]
QUESTIONS = {
    "records": ("application/json", json.dumps(ASKED)),
    "lines": ("application/x-ndjson", "\n".join(map(json.dumps, ASKED)) + "\r\n"),
    "split": (
        "application/json",
        json.dumps({"columns": ["size", "city"], "index": [5, 6], "data": [[3, "Chur"], [8, None]]}),
    ),
    "columns and rows": (
        "application/json",
        json.dumps({"columns": ["size", "city"], "rows": [[3, "Chur"], [8, None]]}),
    ),
    "a key that a row lacks": ("application/json", '[{"size": 3, "city": "Chur"}, {"size": 8, "more": 1}]'),
    "a key that a line lacks": ("application/x-ndjson", '{"size": 3, "city": "Chur"}\n{"size": 8, "more": 1}\n'),
}


def _upload(client: TestClient, kind: str, body: str):
    return client.post("/v1/datasets", content=body, headers={"Content-Type": kind})


def test_all_shapes_are_the_same_table(client: TestClient) -> None:
    made = [_upload(client, *shape) for shape in SHAPES.values()]
    assert {answer.status_code for answer in made} == {201}, [answer.text for answer in made]
    assert all(answer.json()["columns"] == made[0].json()["columns"] for answer in made)
    assert all(answer.json()["rows"] == len(ROWS) for answer in made)


def test_a_key_that_a_row_lacks_has_no_value_there(client: TestClient) -> None:
    made = [_upload(client, *shape) for shape in GAP_SHAPES.values()]
    assert {answer.status_code for answer in made} == {201}, [answer.text for answer in made]
    assert [column["name"] for column in made[0].json()["columns"]] == ["size", "city", "y", "note"]
    assert all(answer.json()["columns"] == made[0].json()["columns"] for answer in made)
    rows = client.get(f"/v1/datasets/{made[0].json()['id']}/rows?limit=1000").json()
    assert rows["rows"] == [list(row.values()) for row in FILLED]


def test_the_bytes_of_lines_come_back_as_they_were(client: TestClient) -> None:
    kind, body = SHAPES["lines"]
    made = _upload(client, kind, body).json()
    content = client.get(f"/v1/datasets/{made['id']}/content")
    assert content.text == body
    assert content.headers["content-type"].startswith(kind)


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("application/json", "[]", "columns"),
        ("application/json", "[1, 2]", "columns"),
        ("application/json", "[[1, 2]]", "columns"),
        ("application/json", '[{"a": 1}] x', "follows its end"),
        ("application/json", '[{"a": 1}, 2]', "row 2 is not an object"),
        ("application/x-ndjson", '{"a": 1}\n{"a": 2', "ends inside"),
        ("application/x-ndjson", "[1]\n[2]\n", "columns"),
        ("application/x-ndjson", '{"a": 1}\n{a: 2}\n', "row 2 is not JSON"),
        ("application/x-ndjson", "\n\n", "columns"),
        ("application/x-ndjson", '{"a": 1},\n{"a": 2},\n', "row 2 is no object"),
        ("application/x-ndjson", "]", "row 1 is no object"),
        ("application/x-ndjson", ":", "row 1 is no object"),
    ],
)
def test_what_is_no_table_is_refused_with_its_row(client: TestClient, kind: str, body: str, reason: str) -> None:
    answer = _upload(client, kind, body)
    assert answer.status_code == 422, answer.text
    assert reason in answer.json()["detail"]


@pytest.fixture
def model(client: TestClient, run_job) -> str:
    dataset = _upload(client, *SHAPES["records"]).json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "y", "model": "sizes", "spec": {"iterations": 1}}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    return "sizes"


@pytest.mark.parametrize("call", ["predict", "explain"])
def test_all_shapes_are_the_same_question(client: TestClient, model: str, call: str) -> None:
    answers = [
        client.post(f"/v1/models/{model}/{call}", content=body, headers={"Content-Type": kind})
        for kind, body in QUESTIONS.values()
    ]
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert all(answer.json() == answers[0].json() for answer in answers)


@pytest.mark.parametrize(
    ("kind", "body", "pointer"),
    [
        ("application/json", '[{"size": 1, "city": "Bern"}, {"size": "x", "city": "Bern"}]', "/1/size"),
        ("application/json", '{"rows": [{"size": "x", "city": "Bern"}]}', "/rows/0/size"),
        ("application/x-ndjson", '{"size": 1, "city": "Bern"}\n{"size": [], "city": "Bern"}\n', "/1/size"),
    ],
)
def test_a_wrong_cell_is_pointed_at(client: TestClient, model: str, kind: str, body: str, pointer: str) -> None:
    answer = client.post(f"/v1/models/{model}/predict", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 422, answer.text
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


@pytest.mark.parametrize("body", ['{"size": 1}\n1\n', "[1]\n", '"x"', '{"size": 1, "city": "Bern"} {"size": 2}'])
def test_lines_that_are_no_objects_are_refused(client: TestClient, model: str, body: str) -> None:
    answer = client.post(f"/v1/models/{model}/predict", content=body, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 422, answer.text
