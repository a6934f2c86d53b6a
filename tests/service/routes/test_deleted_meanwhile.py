"""A name whose newest version is deleted while it is asked stands for the next one; an id that is deleted is gone."""

import pytest

from worker.store import models
from worker.store.files.artifacts import Artifacts

ROWS = {"rows": [{"size": 3, "city": "Bern"}]}
TENSORS = {
    "inputs": [
        {"name": "size", "shape": [1], "datatype": "FP64", "data": [3]},
        {"name": "city", "shape": [1], "datatype": "BYTES", "data": ["Bern"]},
    ]
}
ASKED = {
    "predict": lambda client, ref: client.post(f"/v1/models/{ref}/predict", json=ROWS),
    "explain": lambda client, ref: client.post(f"/v1/models/{ref}/explain", json=ROWS),
    "infer": lambda client, ref: client.post(f"/v2/models/{ref}/infer", json=TENSORS),
    "export": lambda client, ref: client.get(f"/v1/models/{ref}/export"),
    "onnx": lambda client, ref: client.get(f"/v1/models/{ref}/export?format=onnx"),
    "card": lambda client, ref: client.get(f"/v1/models/{ref}/card"),
    "features": lambda client, ref: client.get(f"/v1/models/{ref}/features"),
    "matrix": lambda client, ref: client.get(f"/v1/models/{ref}/features/matrix"),
    "compare": lambda client, ref: client.get(f"/v1/models/{ref}/compare?with=prices@1"),
    "page": lambda client, ref: client.get(f"/models/{ref}"),
}


@pytest.fixture
def newest(client, model, dataset, run_job, context, monkeypatch):
    """A second version that is deleted, with its files, just before the first of them is opened."""
    body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "prices"}
    job = client.post("/v1/jobs", json=body | {"spec": {"iterations": 1, "encoding": "plain"}}).json()["id"]
    run_job(job)
    newest = models.get(context.database, "prices")
    assert newest.resource.version == 2
    opened = Artifacts._opened

    def delete_and_open(artifacts, ref):
        if ref in (newest.model, newest.matrices):
            monkeypatch.setattr(Artifacts, "_opened", opened)
            assert client.delete(f"/v1/models/{newest.resource.id}").status_code == 204
        return opened(artifacts, ref)

    monkeypatch.setattr(Artifacts, "_opened", delete_and_open)
    return newest.resource.id


@pytest.mark.parametrize("name", ASKED)
def test_the_next_version_answers_in_its_place(client, model, newest, name):
    answer = ASKED[name](client, "prices")
    assert answer.status_code == 200, answer.text
    assert answer.content == ASKED[name](client, model["id"]).content or name in ("infer", "compare", "page")
    assert client.get(f"/v1/models/{newest}").status_code == 404


@pytest.mark.parametrize("name", ASKED)
def test_a_version_that_is_asked_for_by_its_id_is_gone(client, newest, name):
    assert ASKED[name](client, newest).status_code == 404
