"""The Open Inference Protocol over HTTP, on models of the columns size (numeric) and city (categorical)."""

import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from support.samples import EXPECTED, restore_sample

from service.settings import ServiceSettings

ROWS = EXPECTED["rows"]
WANTED = EXPECTED["models"]
LENGTH = "Inference-Header-Content-Length"
PLAIN = {"Accept-Encoding": "identity"}


@pytest.fixture
def settings(settings: ServiceSettings) -> ServiceSettings:
    """A home with the models ``prices``, a regression, and ``kinds``, a classification."""
    restore_sample(settings.home)
    return settings


def columns(rows: list[dict[str, Any]] = ROWS) -> list[dict[str, Any]]:
    shape = [len(rows)]
    return [
        {"name": "city", "shape": shape, "datatype": "BYTES", "data": [row["city"] for row in rows]},
        {"name": "size", "shape": [*shape, 1], "datatype": "FP64", "data": [[row["size"]] for row in rows]},
    ]


def infer(client: TestClient, model: str, **document: Any) -> dict[str, Any]:
    answer = client.post(f"/v2/models/{model}/infer", json={"inputs": columns(), **document})
    assert answer.status_code == 200, answer.text
    return {**answer.json(), **{one["name"]: one for one in answer.json()["outputs"]}}


def refusal(client: TestClient, **document: Any) -> str:
    answer = client.post("/v2/models/kinds/infer", json={"inputs": columns(), **document})
    assert answer.status_code == 422, answer.text
    return str(answer.json()["error"])


def test_a_tensor_a_column_answers_as_the_api_of_its_own_does(client: TestClient) -> None:
    answer = infer(client, "kinds", id="42")
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("kinds", "1", "42")
    assert answer["predict"]["data"] == WANTED["kinds"]["predictions"]
    assert answer["probabilities"]["shape"] == [len(ROWS), 2]
    found = np.array(answer["probabilities"]["data"]).reshape(-1, 2)
    np.testing.assert_allclose(found, WANTED["kinds"]["probabilities"], rtol=1e-6)
    np.testing.assert_allclose(infer(client, "prices")["predict"]["data"], WANTED["prices"]["predictions"], rtol=1e-6)


def test_one_matrix_has_the_columns_in_the_order_of_the_model(client: TestClient) -> None:
    cells = [["" if row["size"] is None else str(row["size"]), row["city"]] for row in ROWS]
    matrix = {"name": "X", "shape": [len(ROWS), 2], "datatype": "BYTES", "data": cells}
    found = infer(client, "prices", inputs=[matrix])["predict"]["data"]
    np.testing.assert_allclose(found, WANTED["prices"]["predictions"], rtol=1e-6)


def test_metadata_names_versions_and_tensors(client: TestClient) -> None:
    server = client.get("/v2").json()
    assert "binary_tensor_data" in server["extensions"]
    assert client.get("/v2/health/live").json() == {"live": True}
    model = client.get("/v2/models/kinds").json()
    assert model == client.get("/v2/models/kinds/versions/1").json()
    assert (model["name"], model["versions"]) == ("kinds", ["1"])
    assert sorted((one["name"], one["datatype"], one["shape"][0]) for one in model["inputs"]) == [
        ("city", "BYTES", -1),
        ("size", "FP64", -1),
    ]
    assert [(one["name"], one["datatype"], one["shape"]) for one in model["outputs"]] == [
        ("predict", "BYTES", [-1]),
        ("probabilities", "FP64", [-1, 2]),
    ]


def test_a_model_is_found_by_name_version_and_id(client: TestClient) -> None:
    model_id = client.get("/v1/models/kinds").json()["id"]
    for name in ("kinds", "kinds@1", model_id):
        for path in (name, f"{name}/versions/1"):
            assert client.get(f"/v2/models/{path}/ready").json() == {"name": "kinds", "ready": True}
            answer = client.post(f"/v2/models/{path}/infer", json={"inputs": columns()})
            assert answer.json()["model_name"] == "kinds"
    for path in ("nobody", "kinds/versions/2", "kinds@1/versions/2", f"{model_id}/versions/2", "kinds/versions/x"):
        answer = client.get(f"/v2/models/{path}/ready")
        assert (answer.status_code, type(answer.json()["error"])) == (404, str)


def test_a_server_out_of_reach_of_its_queue_is_not_ready_and_says_why(client: TestClient) -> None:
    answer = client.get("/v2/health/ready")
    assert answer.status_code == 503
    assert "redis" in answer.json()["error"]


def test_outputs_are_those_asked_for_in_the_form_asked_for(client: TestClient) -> None:
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "predict"}]
    body = {"inputs": columns(), "outputs": outputs}
    answer = client.post("/v2/models/kinds/infer", json=body, headers=PLAIN)
    length = int(answer.headers[LENGTH])
    head = json.loads(answer.content[:length])
    first, second = head["outputs"]
    assert (first["name"], second["name"]) == ("probabilities", "predict")
    values = answer.content[length:]
    assert first["parameters"] == {"binary_data_size": len(values)}
    np.testing.assert_allclose(np.frombuffer(values).reshape(-1, 2), WANTED["kinds"]["probabilities"], rtol=1e-6)
    assert second["data"] == WANTED["kinds"]["predictions"]


def test_classification_gives_the_best_classes_with_their_labels(client: TestClient) -> None:
    outputs = [{"name": "probabilities", "parameters": {"classification": 1}}]
    found = infer(client, "kinds", outputs=outputs)["probabilities"]
    assert (found["datatype"], found["shape"]) == ("BYTES", [len(ROWS), 1])
    probability, index, label = found["data"][0].split(":")
    assert (index, label) == ("1", "low")
    assert float(probability) == pytest.approx(WANTED["kinds"]["probabilities"][0][1])


KSERVE_HEAD = (
    b'{"id":"abc","model_name":"kinds","inputs":[{"name":"size","shape":[3],"datatype":"FP64",'
    b'"parameters":{"binary_data_size":24}},{"name":"city","shape":[3],"datatype":"BYTES",'
    b'"parameters":{"binary_data_size":24}}]}'
)
KSERVE_VALUES = np.array([0.0, 3.0, np.nan]).tobytes() + b"".join(
    len(text).to_bytes(4, "little") + text for text in (b"Bern", b"Chur", b"Genf")
)
KSERVE_JSON = (
    b'{"id":"abc","model_name":"kinds","inputs":[{"name":"size","shape":[3],"datatype":"FP64","data":[0.0,3.0,null]},'
    b'{"name":"city","shape":[3],"datatype":"BYTES","data":["Bern","Chur","Genf"]}]}'
)
"""What kserve 0.21's InferenceRESTClient sends, byte for byte."""


def test_what_kserve_sends_is_understood_in_both_forms(client: TestClient) -> None:
    plain = client.post("/v2/models/kinds/infer", content=KSERVE_JSON, headers={"Content-Type": "application/json"})
    headers = {LENGTH.lower(): str(len(KSERVE_HEAD)), "content-type": "application/octet-stream"}
    binary = client.post("/v2/models/kinds/infer", content=KSERVE_HEAD + KSERVE_VALUES, headers=headers)
    assert plain.status_code == binary.status_code == 200
    assert plain.json() == binary.json()
    assert plain.json()["id"] == "abc"
    assert plain.json()["outputs"][0]["data"] == [WANTED["kinds"]["predictions"][index] for index in (0, 4, 11)]


@pytest.mark.parametrize(("encoding", "shrink"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_bodies_travel_compressed_both_ways(client: TestClient, encoding: str, shrink: Any) -> None:
    body = json.dumps({"inputs": columns(ROWS * 10), "parameters": {"binary_data_output": True}}).encode()
    headers = {"Content-Encoding": encoding, "Accept-Encoding": encoding}
    answer = client.post("/v2/models/kinds/infer", content=shrink(body), headers=headers)
    assert (answer.status_code, answer.headers["Content-Encoding"]) == (200, encoding)
    assert int(answer.headers["Content-Length"]) < len(answer.content), "the client has undone the compression"
    assert answer.content == client.post("/v2/models/kinds/infer", content=body, headers=PLAIN).content
    wrong = client.post("/v2/models/kinds/infer", content=body, headers=headers)
    assert (wrong.status_code, wrong.json()["code"]) == (422, "unreadable_table")
    cut = client.post("/v2/models/kinds/infer", content=shrink(body)[:-9], headers=headers)
    assert cut.status_code == 422
    bomb = client.post("/v2/models/kinds/infer", content=shrink(bytes(10**8)), headers=headers)
    assert (bomb.status_code, bomb.json()["code"]) == (413, "body_too_large")


def test_an_encoding_that_nobody_knows_is_415(client: TestClient) -> None:
    answer = client.post("/v2/models/kinds/infer", content=b"x", headers={"Content-Encoding": "br"})
    assert answer.status_code == 415


def test_a_repeated_binary_request_is_answered_as_the_first_was(client: TestClient) -> None:
    headers = {LENGTH: str(len(KSERVE_HEAD)), "Idempotency-Key": "once", **PLAIN}
    document = json.loads(KSERVE_HEAD) | {"parameters": {"binary_data_output": True}}
    head = json.dumps(document).encode()
    headers[LENGTH] = str(len(head))
    first, second = (
        client.post("/v2/models/kinds/infer", content=head + KSERVE_VALUES, headers=headers) for _ in range(2)
    )
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (second.content, second.headers[LENGTH]) == (first.content, first.headers[LENGTH])


def test_refusals_say_what_is_wrong(client: TestClient) -> None:
    city, size = columns()
    assert "'size'" in refusal(client, inputs=[city])
    assert "2 columns" in refusal(client, inputs=[{**size, "name": "X"}])
    assert "rows" in refusal(client, inputs=[city, {**size, "shape": [1], "data": [1]}])
    assert "no output 'nothing'" in refusal(client, outputs=[{"name": "nothing"}])
    assert "classification" in refusal(client, outputs=[{"name": "predict", "parameters": {"classification": 1}}])
    assert "no rows" in refusal(client, inputs=columns([]))
    infinite = json.dumps({"inputs": [city, {**size, "data": [[float("inf")]] * len(ROWS)}]})
    assert "finite" in client.post("/v2/models/kinds/infer", content=infinite).json()["error"]
    many = [{"name": name, "shape": [1001], "datatype": "FP64", "data": [0] * 1001} for name in ("size", "city")]
    assert "1001 rows are too many" in refusal(client, inputs=many)
    wrong = client.post("/v2/models/kinds/infer", content=b"[]", headers={LENGTH: "-1"})
    assert wrong.status_code == 422
    raw = client.post("/v2/models/kinds/infer", content=b"12345678", headers={LENGTH: "0"})
    assert "one input" in raw.json()["error"]
    large = client.post("/v2/models/kinds/infer", content=bytes(100_001))
    assert (large.status_code, type(large.json()["error"])) == (413, str)


def test_unknown_categories_are_a_parameter_of_the_answer(client: TestClient) -> None:
    rows = [*ROWS[:1], {**ROWS[0], "city": "Atlantis"}, {**ROWS[0], "city": "El Dorado"}]
    answer = infer(client, "prices", inputs=columns(rows))
    assert json.loads(answer["parameters"]["unknown_categories"]) == {"city": 2}
    assert "parameters" not in infer(client, "prices", inputs=columns(ROWS[:1]))
