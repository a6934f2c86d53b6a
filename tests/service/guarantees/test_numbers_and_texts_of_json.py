"""No number and no text that JSON can write stops a reader, and none becomes another one without a word."""

import json

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from worker.contracts.json_text import MAX_DIGITS

JSON = {"Content-Type": "application/json"}
REFUSED = {
    "digits": "7" * (MAX_DIGITS + 1),
    "many digits": "-" + "7" * 70_000,
    "digits before a point": "7" * 5000 + ".5",
    "an exponent": "1e999",
    "a long exponent": "1e99999999999999999999",
    "a long negative exponent of a negative number": "-1e99999999999999999999",
    "infinity": "Infinity",
}
READ = {"a small number": ("1e-9999999999999999999", 0.0), "many decimals": ("1." + "3" * 70_000, 4 / 3)}
SHAPES = {
    "lists": '{"columns": ["size"], "rows": [[1], [%s]]}',
    "data": '{"columns": ["size"], "data": [[1], [%s]]}',
    "objects": '{"rows": [{"size": 1}, {"size": %s}]}',
}
OTHER_PLACES = [
    ("POST", "/v1/jobs", '{"kind": "fit", "dataset": "x", "target": "y", "spec": {"seed": %s}}'),
    ("POST", "/v1/jobs", '{"kind": "fit", "dataset": "x", "target": "y", "spec": {"ridge": %s}}'),
    ("PATCH", "/v1/models/prices", '{"default_version": %s}'),
    ("POST", "/v1/batches", '[{"kind": %s}]'),
    (
        "POST",
        "/v2/models/prices/infer",
        '{"inputs": [{"name": "size", "datatype": "FP64", "shape": [1], "data": [%s]}]}',
    ),
    (
        "POST",
        "/v2/models/prices/infer",
        '{"inputs": [{"name": "size", "datatype": "INT64", "shape": [1], "data": [%s]}]}',
    ),
]


@pytest.fixture(params=["apart", "here"])
def uploading(request, client, settings):
    """A service whose tables are read in processes of their own, or in its own."""
    if request.param == "here":
        yield client
        return
    apart = settings.model_copy(update={"table_readers": 1, "home": settings.home.with_name("apart")})
    with TestClient(create_app(apart), raise_server_exceptions=False) as found:
        yield found


def _refused(answer, *words):
    assert answer.status_code in (400, 422), (answer.status_code, answer.text[:300])
    assert len(answer.content) < 20_000
    detail = answer.json()["detail"]
    assert "set_int_max_str_digits" not in answer.text
    assert "ended with code" not in detail
    for word in words:
        assert word in detail, detail[:300]


def test_an_upload_names_the_row_and_the_number(uploading):
    for number in REFUSED.values():
        for shape in SHAPES.values():
            answer = uploading.post("/v1/datasets", content=shape % number, headers=JSON)
            _refused(answer, "row 2, column 'size'", number[:20])


def test_rows_to_predict_are_refused_with_the_row(client, model):
    for number in REFUSED.values():
        for shape in SHAPES.values():
            for action in ("predict", "explain"):
                answer = client.post(f"/v1/models/prices/{action}", content=_with_city(shape) % number, headers=JSON)
                _refused(answer, "row 2, column 'size'")


def _with_city(shape):
    """The shape with the other column that the model reads."""
    return (
        shape.replace('["size"]', '["size", "city"]')
        .replace("[1]", '[1, "Bern"]')
        .replace("[%s]", '[%s, "Bern"]')
        .replace('{"size": ', '{"city": "Bern", "size": ')
    )


@pytest.mark.parametrize(("method", "path", "body"), OTHER_PLACES)
def test_no_number_is_an_error_of_the_service_elsewhere(client, model, method, path, body):
    for number in REFUSED.values():
        answer = client.request(method, path, content=body % number, headers=JSON)
        assert 400 <= answer.status_code < 500, (number[:30], answer.text[:300])
        assert "set_int_max_str_digits" not in answer.text
        assert len(answer.content) < 20_000


def test_no_number_of_a_csv_is_an_error_of_the_service(uploading):
    for number in [*REFUSED.values(), *(text for text, _ in READ.values())]:
        answer = uploading.post("/v1/datasets", content=f"a,b\n1,2\n{number},3\n", headers={"Content-Type": "text/csv"})
        assert answer.status_code == 201, (number[:30], answer.text[:300])


def test_numbers_with_more_digits_than_count_are_read(uploading):
    for number, value in READ.values():
        for shape in SHAPES.values():
            answer = uploading.post("/v1/datasets", content=shape % number, headers=JSON)
            assert answer.status_code == 201, answer.text[:300]
            [column] = answer.json()["columns"]
            assert column["min"] == pytest.approx(min(value, 1))


HALVES = [r"\ud800", r"a\ud800b", r"\udc00\ud800", r"\ud83cx"]


@pytest.mark.parametrize("text", HALVES)
def test_half_a_character_is_refused_to_train_on_as_it_is_to_predict(uploading, text):
    for shape in SHAPES.values():
        body = shape % f'"{text}"'
        _refused(uploading.post("/v1/datasets", content=body, headers=JSON), "row 2, column 'size'", "Unicode")
        named = shape.replace("size", text) % 2
        _refused(uploading.post("/v1/datasets", content=named, headers=JSON), "half a character")


def test_whole_characters_are_read_however_they_are_written(uploading):
    for written in (r"\ud83c\udf89 \u00e9", "🎉 é"):
        answer = uploading.post("/v1/datasets", content=(SHAPES["lists"] % f'"{written}"').encode(), headers=JSON)
        assert "🎉 é" in [one["value"] for one in answer.json()["columns"][0]["top"]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_each_shape_is_taken_to_train_on_and_to_predict(client, model, shape, encoding):
    body = (SHAPES[shape] % "NaN").encode(encoding)
    answer = client.post("/v1/datasets", content=body, headers=JSON)
    assert answer.status_code == 201, answer.text
    assert [(one["name"], one["missing"]) for one in answer.json()["columns"]] == [("size", 1)]
    answer = client.post(
        "/v1/models/prices/predict", content=(_with_city(SHAPES[shape]) % "NaN").encode(encoding), headers=JSON
    )
    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == 2


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"a": 1}, [3]], "row 2"),
        ([{"a": 1}, {"a": {"b": 1}}], "row 2, column 'a': a cell is"),
    ],
)
def test_objects_that_are_no_table_are_refused(client, rows, told):
    _refused(client.post("/v1/datasets", content=json.dumps({"rows": rows}), headers=JSON), told)


def test_columns_of_objects_are_in_the_order_of_the_first(client):
    rows = [{"b": 1, "a": "x"}, {"a": "y", "b": 2}]
    found = client.post("/v1/datasets", content=json.dumps({"rows": rows}), headers=JSON).json()
    shown = client.get(f"/v1/datasets/{found['id']}/rows").json()
    assert shown == {"columns": ["b", "a"], "rows": [[1, "x"], [2, "y"]]}
