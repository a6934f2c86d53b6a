from dataclasses import asdict

import pytest

from worker.contracts.specs import NetworkSpec
from worker.engine.network import NetworkConfig


@pytest.fixture
def body(dataset):
    spec = {"hidden": [8], "steps": 20, "report_every": 10}
    return {"kind": "network", "dataset": dataset, "target": "city", "spec": spec}


def test_the_defaults_are_those_of_the_engine():
    assert NetworkSpec().engine_options() == asdict(NetworkConfig())


@pytest.mark.parametrize("change", [{}, {"target": "price"}, {"validation": None}])
def test_a_network_makes_a_report_and_no_model(client, body, run_job, change):
    answer = client.post("/v1/jobs", json={**body, **change})
    assert answer.status_code == 202, answer.text
    job = answer.json()["id"]
    assert client.get(f"/v1/jobs/{job}/result").status_code == 409
    run_job(job)
    report = client.get(f"/v1/jobs/{job}/result")
    assert (report.status_code, report.headers["content-type"]) == (200, "application/json")
    assert [step["step"] for step in report.json()["steps"]] == [0, 10, 20]
    assert [layer["layer"] for layer in report.json()["steps"][-1]["layers"]] == [1, 2]
    assert client.get(f"/v1/jobs/{job}").json()["model"] is None
    assert client.get("/v1/models").json()["items"] == []


def test_a_dry_run_estimates_the_weights_and_the_steps(client, body):
    def estimate(**spec):
        answer = client.post("/v1/jobs?dry_run=true", json={**body, "spec": {**body["spec"], **spec}})
        assert answer.status_code == 200, answer.text
        return answer.json()["estimate"]

    assert estimate(hidden=[2000, 2000])["bytes"] > 7 * 4 * 2000**2
    assert estimate(steps=20_000, report_every=10_000)["flops"] > 100 * estimate()["flops"]


def test_expanded_columns_count(client, body):
    def width(**spec):
        answer = client.post("/v1/jobs?dry_run=true", json={**body, "spec": {**body["spec"], **spec}})
        return answer.json()["encoded_columns"], answer.json()["estimate"]["bytes"]

    plain, expanded = width(encoding="plain"), width(encoding="expanded")
    assert expanded[0] > plain[0]
    assert expanded[1] > plain[1]


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"validation": {"folds": 3}}, "/validation"),
        ({"spec": {"hidden": []}}, "/spec/hidden"),
        ({"spec": {"hidden": [0]}}, "/spec/hidden/0"),
        ({"spec": {"weight_decay": 0}}, "/spec/weight_decay"),
        ({"spec": {"momentum": 1}}, "/spec/momentum"),
        ({"spec": {"steps": 5000, "report_every": 1}}, "/spec"),
        ({"spec": {"kernel": "laplace"}}, "/spec/kernel"),
        ({"target": "price", "spec": {"loss": "cross_entropy"}}, "/spec/loss"),
        ({"model": "mine"}, "/model"),
        ({"target": "nothing"}, "/target"),
    ],
)
def test_a_network_that_cannot_be_is_refused_with_its_place(client, body, change, pointer):
    answer = client.post("/v1/jobs", json={**body, **change})
    assert answer.status_code == 422, answer.text
    assert pointer in [one["pointer"] for one in answer.json()["errors"]]
