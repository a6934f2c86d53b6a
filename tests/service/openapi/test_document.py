"""The document says of every call what the layers around it add, and how calls go on from one another."""

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.http.problems import Problem
from service.openapi.examples import EXAMPLES
from service.settings import ServiceSettings
from worker.contracts import explanation, resources


@pytest.fixture(scope="module")
def operations(tmp_path_factory):
    paths = create_app(ServiceSettings(home=tmp_path_factory.mktemp("home"))).openapi()["paths"]
    return {one["operationId"]: one for calls in paths.values() for one in calls.values()}


def test_every_link_names_a_call_and_a_parameter_of_it(operations):
    links = [
        (target, link)
        for operation in operations.values()
        for response in operation["responses"].values()
        for target, link in response.get("links", {}).items()
    ]
    assert len(links) > 30
    for target, link in links:
        named = {one["name"] for one in operations[target]["parameters"] if one["in"] == "path"}
        assert set(link["parameters"]) == named


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_its_schema_says(name):
    kind = getattr(resources, name, None) or getattr(explanation, name, Problem)
    assert kind.__name__ == name
    kind.model_validate(EXAMPLES[name])


def test_no_parameter_is_said_to_be_null(operations):
    schemas = [one["schema"] for operation in operations.values() for one in operation.get("parameters", [])]
    assert {"type": "null"} not in [kind for schema in schemas for kind in schema.get("anyOf", [])]


def test_invalid_input_is_said_only_where_there_can_be_some(operations):
    assert "422" not in operations["server_live"]["responses"]
    # a parameter of the query that it does not name
    assert "422" in operations["get_dataset"]["responses"]


@pytest.mark.parametrize("name", ["upload_dataset", "create_job", "cancel_job", "predict"])
def test_every_post_takes_an_idempotency_key(operations, name):
    assert "Idempotency-Key" in {one["name"] for one in operations[name]["parameters"]}
    assert {"409", "413", "422", "507"} <= set(operations[name]["responses"])


def test_what_the_document_says_of_headers_is_so(client: TestClient, dataset: str, operations):
    answer = client.get(f"/v1/datasets/{dataset}/content", headers={"Range": "bytes=0-3"})
    said = operations["get_content"]["responses"]["206"]["headers"]
    assert {name for name, header in said.items() if header.get("required")} == {
        "ETag",
        "Content-Range",
        "X-Request-ID",
    }
    assert all(name in answer.headers for name in said)
