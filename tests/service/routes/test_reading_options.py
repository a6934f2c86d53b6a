"""How a text is read: told by the dataset, and by the caller in every way that a file is sent."""

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

TEXT = "Sales of May\n\nprice;ort;\n" + "".join(f"{k / 4};{['Zürich', 'Genève', 'Köln'][k % 3]};\n" for k in range(30))
BODY = TEXT.encode("cp1252")
CSV = {"Content-Type": "text/csv"}
TOLD = {
    "separator": ";",
    "encoding": "cp1252",
    "sheet": None,
    "header": True,
    "skipped_rows": 2,
    "renamed": {},
    "dropped_columns": [{"column": "column_3", "reason": "it has no name and no value"}],
}


def test_an_export_is_read_and_the_dataset_tells_how(client: TestClient) -> None:
    made = client.post("/v1/datasets", content=BODY, headers=CSV)
    assert made.status_code == 201, made.text
    assert made.json()["reading"] == TOLD
    assert client.get(f"/v1/datasets/{made.json()['id']}").json()["reading"] == TOLD
    assert [column["name"] for column in made.json()["columns"]] == ["price", "ort"]
    rows = client.get(f"/v1/datasets/{made.json()['id']}/rows").json()
    assert rows["columns"] == ["price", "ort"]
    assert rows["rows"][1] == [0.25, "Genève"]


def test_a_table_that_is_no_text_tells_nothing(client: TestClient) -> None:
    made = client.post("/v1/datasets", json={"columns": ["a"], "rows": [[1], [2]]})
    assert made.json()["reading"] is None


def _by_query(client: TestClient, options: dict[str, str], body: bytes):
    return client.post("/v1/datasets", params=options, content=body, headers=CSV)


def _by_form(client: TestClient, options: dict[str, str], body: bytes):
    return client.post("/v1/datasets", data=options, files={"file": ("t.csv", body, "text/csv")})


def _by_parts(client: TestClient, options: dict[str, str], body: bytes):
    named = {"text_encoding" if name == "encoding" else name: value for name, value in options.items()}
    begun = client.post("/v1/uploads", json={"filename": "t.csv", "bytes": len(body), **named})
    if begun.status_code != 201:
        return begun
    upload = begun.json()["id"]
    client.put(f"/v1/uploads/{upload}/parts/1", content=body)
    return client.post(f"/v1/uploads/{upload}/complete")


def _by_content_type(client: TestClient, options: dict[str, str], body: bytes):
    names = {"encoding": "charset", "separator": "separator"}
    said = "".join(f'; {names[name]}="{value}"' for name, value in options.items())
    return client.post("/v1/datasets", content=body, headers={"Content-Type": f"text/csv{said}"})


WAYS: dict[str, Callable[..., object]] = {
    "query": _by_query,
    "form": _by_form,
    "parts": _by_parts,
    "content type": _by_content_type,
}


@pytest.mark.parametrize("way", WAYS)
def test_what_the_caller_says_is_believed(client: TestClient, way: str) -> None:
    body = "a,b|ü\n1,2|x\n3,4|y\n".encode("latin-1")
    answer = WAYS[way](client, {"separator": "|", "encoding": "iso8859-15"}, body)
    assert answer.status_code in (200, 201), answer.text
    made = answer.json()
    assert [column["name"] for column in made["columns"]] == ["a,b", "ü"]
    assert (made["reading"]["separator"], made["reading"]["encoding"]) == ("|", "iso8859-15")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("separator", "ab"), ("separator", "x"), ("separator", "é"), ("encoding", "klingon"), ("encoding", "punycode")],
)
def test_an_option_that_means_nothing_is_refused_by_its_name(
    client: TestClient, way: str, name: str, value: str
) -> None:
    if way == "content type" and not value.isascii():
        value = "ab"
    answer = WAYS[way](client, {name: value}, b"a,b\n1,2\n")
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert name in error["pointer"] or way == "content type"


@pytest.mark.parametrize("name", ["separator", "encoding"])
def test_an_option_of_texts_is_for_texts(client: TestClient, name: str) -> None:
    value = {"separator": ";", "encoding": "utf-8"}[name]
    answer = client.post("/v1/datasets", params={name: value}, json={"columns": ["a"], "rows": [[1]]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == f"query:{name}"


def test_a_charset_of_json_says_nothing(client: TestClient) -> None:
    kind = {"Content-Type": "application/json; charset=iso-8859-1"}
    made = client.post("/v1/datasets", content='{"columns": ["ä"], "rows": [[1], [2]]}'.encode(), headers=kind)
    assert made.status_code == 201, made.text
    assert made.json()["columns"][0]["name"] == "ä"


def test_other_options_are_another_dataset(client: TestClient) -> None:
    first = client.post("/v1/datasets", content=b"a;b,c\n1;2,3\n", headers=CSV).json()
    other = client.post("/v1/datasets?separator=,", content=b"a;b,c\n1;2,3\n", headers=CSV).json()
    again = client.post("/v1/datasets?separator=,", content=b"a;b,c\n1;2,3\n", headers=CSV)
    assert first["id"] != other["id"]
    assert (again.status_code, again.json()["id"]) == (200, other["id"])
    # the stored media type says it, so that the content can be sent again as it was
    content = client.get(f"/v1/datasets/{other['id']}/content")
    kind = content.headers["content-type"]
    sent = client.post("/v1/datasets", content=content.content, headers={"Content-Type": kind})
    assert (sent.status_code, sent.json()["id"]) == (200, other["id"])


def test_rows_to_predict_are_read_like_a_table(client: TestClient, run_job) -> None:
    dataset = client.post("/v1/datasets", content=BODY, headers=CSV).json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "prices", "spec": {"iterations": 1}}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    rows = {"columns": ["ort"], "rows": [["Zürich"], ["Köln"]]}
    right = client.post("/v1/models/prices/predict", json=rows).json()["predictions"]
    for text in ("ort;x\nZürich;1\nKöln;2\n", "x\tort\n1\tZürich\n2\tKöln\n", "Title\n\nort;x\nZürich;1\nKöln;2\n"):
        for encoding in ("utf-8", "utf-16", "cp1252"):
            answer = client.post("/v1/models/prices/predict", content=text.encode(encoding), headers=CSV)
            assert answer.status_code == 200, answer.text
            assert answer.json()["predictions"] == right
