"""Names that try to leave their place: folders, headers, log lines."""

from typing import Any
from urllib.parse import quote

from starlette.testclient import TestClient

from service.http.pagination import MAX_NAME_LENGTH
from service.runtime.context import Context

NAMES = {
    "parent": "../../etc/passwd",
    "encoded parent": "%2e%2e%2f%2e%2e%2fetc",
    "absolute": "/etc/passwd",
    "Windows": "..\\..\\boot.ini",
    "NUL": "a\0b",
    "line": "a\r\nSet-Cookie: b=c",
    "Unicode dots": "\u2024\u2024/\uff0e\uff0e/x",
    "right to left": "\u202egnp.exe",
    "long": "x" * 5000,
    "version": "prices@../../1",
    "endless version": "prices@" + "9" * 150,
    "quote": 'a"; filename="b.exe',
}
HEADERS = ("location", "content-disposition", "x-request-id", "preference-applied", "etag")


def _clean(answer: Any) -> None:
    assert "set-cookie" not in answer.headers
    for name in HEADERS:
        value = answer.headers.get(name, "")
        assert value.isprintable()
        assert ".." not in value


def test_a_name_in_a_path_is_an_unknown_name(client: TestClient) -> None:
    shown = ("datasets/{}", "datasets/{}/content", "datasets/{}/rows", "jobs/{}", "jobs/{}/result", "batches/{}")
    shown += ("models/{}", "models/{}/export", "models/{}/card", "models/{}/features/matrix")
    for name in NAMES.values():
        for path in shown:
            answer = client.get(f"/v1/{path.format(quote(name, safe=''))}")
            # a name of a model has a form; a text that is too long for any name is told so
            refused = path.startswith("models") or len(name) > MAX_NAME_LENGTH
            assert answer.status_code in ((404, 422) if refused else (404,)), (path, answer.text)
            _clean(answer)
        for path in ("datasets/{}", "jobs/{}", "models/{}"):
            assert client.delete(f"/v1/{path.format(quote(name, safe=''))}").status_code in (404, 422)


def test_a_model_is_not_named_so(client: TestClient, dataset: str) -> None:
    for name in [*NAMES.values(), "a\n"]:
        for field in ("model", "dataset"):
            body = {"kind": "fit", "dataset": dataset, "target": "price", field: name}
            assert client.post("/v1/jobs", json=body).status_code == 422, (field, name)
        body = {"kind": "predict", "dataset": dataset, "model": name}
        assert client.post("/v1/jobs", json=body).status_code in (404, 422)


def test_a_dataset_of_any_name_is_stored_and_sent_under_its_id(client: TestClient, context: Context) -> None:
    made = set()
    for index, name in enumerate(NAMES.values()):
        answer = client.post(
            "/v1/datasets", params={"name": name}, content=b"a,y\n%d,2\n" % index, headers={"Content-Type": "text/csv"}
        )
        _clean(answer)
        if answer.status_code == 422:
            assert len(name) > 200 or not name.isprintable()
            continue
        assert answer.json()["name"] == name
        identity = answer.json()["id"]
        sent = client.get(f"/v1/datasets/{identity}/content")
        assert sent.headers["content-disposition"] == f'attachment; filename="{identity}.csv"'
        made.add(identity)
    stored = [path for path in context.settings.home.rglob("*") if path.is_file() and "artifacts" in path.parts]
    assert {path.parent.name for path in stored} == made
    assert len(made) > 5


def test_a_file_of_a_form_keeps_at_most_the_last_part_of_its_name(client: TestClient) -> None:
    for index, name in enumerate(NAMES.values()):
        answer = client.post("/v1/datasets", files={"file": (name, b"a,y\n%d,2\n" % index, "text/csv")})
        _clean(answer)
        assert answer.status_code in (201, 400, 422), answer.text
        if answer.status_code == 201:
            kept = answer.json()["name"]
            assert len(kept) <= 200
            assert not {"/", "\\", "\0", "\r", "\n"} & set(kept), name


def test_a_wait_that_is_no_number_or_is_endless_is_said_in_one_word(client: TestClient, dataset: str) -> None:
    body = {"kind": "fit", "dataset": dataset, "target": "price"}
    for value in ("wait=0\tX: y", "wait=", "wait=-1", "wait=0, wait=5"):
        answer = client.post("/v1/jobs", json=body, headers={"Prefer": value})
        assert answer.status_code == 202
        _clean(answer)


def test_methods_that_callers_invent_are_one_label(client: TestClient) -> None:
    for index in range(20):
        client.request(f"M{index}", "/v1/jobs")
    assert 'method="M1' not in client.get("/metrics").text
