"""Whatever a request nests or lists has a bound, and more is refused in words."""

import json
import time
import tracemalloc

import pytest

from worker.contracts.errors import FactRFMError
from worker.contracts.json_text import MAX_JSON_DEPTH, parse_json
from worker.contracts.resources import ModelColumn
from worker.tables.rows.table_rows import RowReader

JSON = {"Content-Type": "application/json"}
DEPTHS = (MAX_JSON_DEPTH + 1, 900, 10_000)


def _lists(depth):
    return b"[" * depth + b"1" + b"]" * depth


def _objects(depth):
    return b'{"a":' * depth + b"1" + b"}" * depth


def _refused(answer, *words):
    assert 400 <= answer.status_code < 500, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) < 20_000
    for word in words:
        assert word in answer.json()["detail"], answer.json()["detail"][:500]
    return answer


def test_json_of_the_largest_depth_is_read():
    for nested in (_lists, _objects):
        assert parse_json(nested(MAX_JSON_DEPTH)) == json.loads(nested(MAX_JSON_DEPTH))
        with pytest.raises(ValueError, match=f"more than {MAX_JSON_DEPTH} levels"):
            parse_json(nested(MAX_JSON_DEPTH + 1))


@pytest.mark.parametrize("text", ['{"é": [1.5, null, true, "\\ud83c\\udf89"]}', "[18446744073709551616, -0, 1e400]"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_json_is_read_as_the_standard_library_reads_it(text, encoding):
    assert parse_json(text.encode(encoding)) == json.loads(text)


PLACES = [
    ("POST", "/v1/jobs", "application/json", b"%b"),
    ("POST", "/v1/jobs", "application/json", b'{"kind": "tune", "search": {"space": {"ridge": %b}}}'),
    ("PATCH", "/v1/models/prices", "application/json", b'{"tags": %b}'),
    ("POST", "/v1/batches", "application/json", b"[%b]"),
    ("POST", "/v1/batches", "application/jsonl", b"%b\n"),
    ("POST", "/v1/batches", "application/json", b'{"base": {"a": %b}, "grid": {"b": [1]}}'),
    ("POST", "/v1/batches", "application/json", b'{"base": {}, "grid": {"b": [%b]}}'),
    ("POST", "/v1/models/prices/predict", "application/json", b'{"rows": [{"size": %b}]}'),
    ("POST", "/v1/models/prices/explain", "application/json", b'{"columns": ["size"], "data": %b}'),
    ("POST", "/v2/models/prices/infer", "application/json", b'{"inputs": %b}'),
    ("POST", "/v1/datasets", "application/json", b'{"columns": ["a"], "rows": %b}'),
]


@pytest.mark.parametrize("nested", [_lists, _objects])
@pytest.mark.parametrize("depth", DEPTHS)
def test_json_that_is_nested_too_deeply_is_refused_everywhere(client, model, nested, depth):
    for method, path, kind, around in PLACES:
        body = around.replace(b"%b", nested(depth))
        answer = _refused(client.request(method, path, content=body, headers={"Content-Type": kind}))
        # where an object stands for the rows of a table, it is not looked into
        shape = path == "/v1/datasets" and nested is _objects
        words = "'rows' is not a list" if shape else f"more than {MAX_JSON_DEPTH} levels"
        assert words in answer.json()["detail"], (path, around)


@pytest.mark.parametrize("steps", [11, 100, 2000, 45_000])
def test_a_path_of_a_grid_has_few_steps(client, dataset, steps):
    body = {"base": {"kind": "fit", "dataset": dataset, "target": "price"}, "grid": {".".join("a" * steps): [1]}}
    tracemalloc.start()
    answer = client.post("/v1/batches", json=body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    _refused(answer, "/grid", "path" if steps <= 100 else "200")
    assert peak < 2**24


@pytest.mark.parametrize("path", ["", ".", "spec.", ".ridge", "spec..ridge"])
def test_a_path_of_a_grid_names_every_step(client, dataset, path):
    body = {"base": {"kind": "fit", "dataset": dataset, "target": "price"}, "grid": {path: [1]}}
    _refused(client.post("/v1/batches", json=body), "/grid")


def test_a_path_of_a_grid_leads_through_what_is_there_and_what_is_not(client, dataset):
    base = {"kind": "fit", "dataset": dataset, "target": "price", "spec": {"iterations": 1}}
    grid = {"spec.ridge": [0.1, 1], "validation.fraction": [0.3]}
    answer = client.post("/v1/batches", json={"base": base, "grid": grid})
    assert answer.status_code == 202, answer.text
    made = [client.get(place).json()["request"] for place in answer.json()["jobs"]]
    assert [one["spec"]["ridge"] for one in made] == [0.1, 1]
    assert {one["spec"]["iterations"] for one in made} == {1}
    assert {one["validation"]["fraction"] for one in made} == {0.3}
    _refused(client.post("/v1/batches", json={"base": base, "grid": {"kind.a": [1]}}), "'kind'")


def test_a_grid_takes_no_more_than_its_jobs_written_down(client, dataset):
    base = {"kind": "fit", "dataset": dataset, "target": "price", "exclude": ["a" * 500] * 100}
    _refused(client.post("/v1/batches", json={"base": base, "grid": {"spec.seed": list(range(100))}}), "bytes")


def test_many_mistakes_of_many_jobs_are_told_shortly(client):
    _refused(client.post("/v1/batches", json=[{"kind": "fit", str(number): 1} for number in range(900)]))


def test_a_long_name_is_not_repeated(client, dataset):
    body = {"kind": "fit", "dataset": dataset, "target": "price", "a" * 50_000: 1}
    _refused(client.post("/v1/jobs", json=body), "no such field")
    _refused(client.post("/v1/jobs", json={**body, "spec": {"b" * 50_000: 1}}))


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/models/prices/features/matrix", "Accept"), ("/v1/models/prices/card", "If-None-Match")],
)
def test_lists_of_headers_have_an_end(client, model, path, name):
    at_most = ", ".join(["*/*"] * 100)
    assert client.get(path, headers={name: at_most}).status_code == 200
    answer = _refused(client.get(path, headers={name: at_most + ", a/b"}), name, "100")
    assert answer.json()["errors"][0]["pointer"] == f"header:{name.lower()}"


def test_a_range_is_one(client, dataset):
    whole = client.get(f"/v1/datasets/{dataset}/content")
    many = client.get(f"/v1/datasets/{dataset}/content", headers={"Range": "bytes=" + ",".join(["0-1"] * 9000)})
    assert (many.status_code, many.content) == (200, whole.content)


def test_models_to_compare_have_short_names(client, model):
    _refused(client.get("/v1/models/prices/compare", params={"with": "a" * 201}), "200")


def test_names_that_are_alike_are_not_compared_without_end(client):
    columns = [f"{number:0199b}" for number in range(1000)]
    table = {"columns": [*columns, "y"], "rows": [[1] * 1000 + [2], [2] * 1000 + [3]]}
    dataset = client.post("/v1/datasets", json=table).json()["id"]
    began = time.process_time()
    _refused(client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "01" * 99}), "has no column")
    assert time.process_time() - began < 3


BODIES_OF_BYTES = {"/v1/batches application/jsonl", "/v1/datasets text/csv"}
"""Their bound is that of the body."""


def _unbounded(document, schema, place, seen):
    """Yield where a schema takes a text or a list without an end."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        if name not in seen:
            seen.add(name)
            yield from _unbounded(document, document["components"]["schemas"][name], name, seen)
        return
    kind = schema.get("type")
    if kind == "array" and "maxItems" not in schema:
        yield f"list {place}"
    ended = {"maxLength", "pattern", "enum", "const"} & set(schema) or schema.get("format") == "binary"
    if kind == "string" and not ended:
        yield f"text {place}"
    inner = [*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("prefixItems", ())]
    for one in inner:
        yield from _unbounded(document, one, place, seen)
    below = {**schema.get("properties", {}), "items": schema.get("items"), "*": schema.get("additionalProperties")}
    for name, one in below.items():
        if isinstance(one, dict):
            yield from _unbounded(document, one, f"{place}/{name}", seen)


def test_every_text_and_every_list_of_a_request_has_a_bound_in_the_document(client):
    document = client.get("/openapi.json").json()
    found, seen = set(), set()
    for path, calls in document["paths"].items():
        for operation in calls.values():
            for one in operation.get("parameters", ()):
                # the head of a request has a bound as a whole, and its lists have 100 members
                if one["in"] != "header":
                    found.update(_unbounded(document, one["schema"], f"{path} {one['name']}", seen))
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                place = f"{path} {kind}"
                if place not in BODIES_OF_BYTES:
                    found.update(_unbounded(document, content["schema"], place, seen))
    assert sorted(found) == []


@pytest.mark.parametrize(
    "path",
    [
        "/v1/jobs/{long}",
        "/v1/batches/{long}",
        "/v1/datasets/{long}/rows",
        "/v1/models/{long}",
        "/v1/models/prices/features/matrix?columns={long}",
        "/v1/jobs/job_1/features/matrix?columns={long}",
    ],
)
def test_a_text_that_is_too_long_is_refused_by_its_place(client, path):
    answer = _refused(client.get(path.replace("{long}", "a" * 10_001)))
    assert answer.status_code == 422
    assert "at most" in answer.json()["detail"]


def test_more_columns_of_a_matrix_than_are_answered_are_refused(client, model):
    answer = _refused(client.get("/v1/models/prices/features/matrix", params={"columns": ["size"] * 1001}), "columns")
    assert answer.status_code == 422


@pytest.mark.parametrize("further", [[str(number) for number in range(20_000)], ["a" * 1001]])
@pytest.mark.parametrize("shape", ["rows", "data"])
def test_rows_have_no_more_columns_and_no_longer_names_than_a_table(shape, further):
    names = ["size", *further]
    document = (
        {"rows": [dict.fromkeys(names, 1)]} if shape == "rows" else {"columns": names, "data": [[1] * len(names)]}
    )
    reader = RowReader([ModelColumn(name="size", type="numeric")])
    with pytest.raises(FactRFMError, match=r"more than 20000 columns|longer than 1000 characters"):
        reader.read(json.dumps(document).encode(), "application/json", max_rows=10)


def test_names_of_tensors_have_an_end(client, model):
    tensor = {"name": "size", "shape": [1, 1], "datatype": "FP64", "data": [1]}
    for wrong in (
        {"inputs": [{**tensor, "name": "a" * 1001}]},
        {"inputs": [tensor], "outputs": [{"name": "a" * 1001}]},
        {"inputs": [tensor], "id": "a" * 1001},
    ):
        assert "at most 1000" in client.post("/v2/models/prices/infer", json=wrong).text
