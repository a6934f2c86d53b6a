"""A model that learned from a file without a header answers files without one, in every way that takes a file."""

import json

import pytest
from starlette.testclient import TestClient

ROWS = "\n".join(f"{size},{city},{size * 2 + len(city)}" for size in range(1, 21) for city in ("Bern", "Chur", "Genf"))
QUESTION = "3,Bern\n7,Chur\n"
NAMED = {"columns": ["column_1", "column_2"], "rows": [[3, "Bern"], [7, "Chur"]]}
TSV = "text/tab-separated-values"


@pytest.fixture
def model(client: TestClient, run_job) -> str:
    answer = client.post("/v1/datasets?header=false", content=ROWS, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 201, answer.text
    body = {"kind": "fit", "dataset": answer.json()["id"], "target": "column_3", "model": "unnamed"}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    return "unnamed"


def _ask(client: TestClient, call: str, query: str = "", content: str = QUESTION, kind: str = "text/csv"):
    return client.post(f"/v1/models/unnamed/{call}{query}", content=content, headers={"Content-Type": kind})


@pytest.mark.parametrize("call", ["predict", "explain"])
def test_rows_without_a_header_are_answered_as_named_ones(client: TestClient, model: str, call: str) -> None:
    said = client.post(f"/v1/models/{model}/{call}", json=NAMED)
    assert said.status_code == 200
    for content, kind in ((QUESTION, "text/csv"), (QUESTION.replace(",", "\t"), TSV)):
        assert _ask(client, call, "?header=false", content, kind).json() == said.json()
    named = "column_2,column_1\nBern,3\nChur,7\n"
    assert _ask(client, call, "?header=true", named).json() == said.json()
    assert _ask(client, call, content=named).json() == said.json()


@pytest.mark.parametrize("call", ["predict", "explain"])
def test_rows_without_names_are_known_by_the_model(client: TestClient, model: str, call: str) -> None:
    said = client.post(f"/v1/models/{model}/{call}", json=NAMED)
    assert _ask(client, call).json() == said.json()
    one = client.post(f"/v1/models/{model}/{call}", json={**NAMED, "rows": NAMED["rows"][:1]})
    assert _ask(client, call, content=QUESTION.splitlines()[0]).json() == one.json()


def test_rows_of_another_width_are_refused(client: TestClient, model: str) -> None:
    answer = _ask(client, "predict", content="3\n7\n")
    assert (answer.status_code, answer.json()["code"]) == (422, "column_mismatch")


def test_a_model_of_named_columns_does_not_speak_of_the_header(
    client: TestClient, model: str, dataset, run_job
) -> None:
    body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "named"}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    answer = client.post("/v1/models/named/predict", content=QUESTION, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 422
    assert "header" not in answer.json()["detail"]


@pytest.mark.parametrize("call", ["predict", "explain"])
def test_a_header_is_no_word_for_forms_that_name_their_columns(client: TestClient, model: str, call: str) -> None:
    answer = client.post(f"/v1/models/{model}/{call}?header=false", json=NAMED)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "query:header"


FILE = {"file": ("t.csv", ROWS.encode(), "text/csv")}


def test_fields_of_a_form_are_options_as_in_the_query(client: TestClient) -> None:
    answer = client.post("/v1/datasets", files=FILE, data={"header": "false", "name": "by form"})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["name"], made["rows"]) == ("by form", 60)
    assert [column["name"] for column in made["columns"]] == ["column_1", "column_2", "column_3"]
    again = client.post("/v1/datasets?header=false", content=ROWS, headers={"Content-Type": "text/csv"})
    assert (again.status_code, again.json()["id"]) == (200, made["id"])


@pytest.mark.parametrize(
    ("data", "query", "pointer"),
    [
        ({"header": "maybe"}, "", "/header"),
        ({"header": "false"}, "?header=true", "/header"),
        ({"header": ["false", "true"]}, "", "/header"),
        ({"name": ""}, "", "/name"),
        ({"name": "a\nb"}, "", "/name"),
        ({"heading": "false"}, "", "/heading"),
        # also a name that the program has for itself
        ({"model_fields": "1"}, "", "/model_fields"),
        ({"a/b": "1"}, "", "/a~1b"),
    ],
)
def test_a_field_of_a_form_that_says_nothing_is_refused(client: TestClient, data, query: str, pointer: str) -> None:
    answer = client.post(f"/v1/datasets{query}", files=FILE, data=data)
    assert answer.status_code == 422, answer.text
    assert [one["pointer"] for one in answer.json()["errors"]] == [pointer]
    assert json.loads(client.get("/v1/datasets").text)["items"] == []
