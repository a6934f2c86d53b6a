"""What older versions of the service made is served by this one: see tests/samples."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient
from support.samples import EXPECTED, restore_sample

from service.settings import ServiceSettings
from worker.engine.targets import on_simplex
from worker.serving.model import ServedModel
from worker.store.files.safetensors_io import unpack
from worker.tables.encoding.encoder import Encoder


@pytest.fixture
def settings(settings: ServiceSettings) -> ServiceSettings:
    """The sample as the home of the service."""
    restore_sample(settings.home)
    return settings


@pytest.mark.parametrize("name", EXPECTED["models"])
def test_an_old_model_predicts_what_it_did(client: TestClient, name: str) -> None:
    answer = client.post(f"/v1/models/{name}/predict", json={"rows": EXPECTED["rows"]}).json()
    wanted = EXPECTED["models"][name]
    assert answer["classes"] == wanted["classes"]
    numbers = "predictions" if wanted["classes"] is None else "probabilities"
    np.testing.assert_allclose(answer[numbers], wanted[numbers], rtol=1e-6, atol=1e-9)
    if wanted["classes"] is not None:
        assert answer["predictions"] == wanted["predictions"]


def test_what_an_old_model_learned_is_shown(client: TestClient) -> None:
    features = client.get("/v1/models/prices/features").json()
    # what it answered then was the share of the trace
    assert {one["feature"]: one["trace_share"] for one in features["importance"]} == pytest.approx(
        {one["feature"]: one["share"] for one in EXPECTED["importance"]}
    )
    # variances are not in its files: they are those of the rows in the model's own
    stored, metadata = unpack(client.get("/v1/models/prices/export").content)
    parts = np.diagonal(stored["M"]) * stored["X"].astype(float).var(axis=0)
    names = Encoder.from_json(metadata["encoder"]).names
    assert {one["feature"]: one["share"] for one in features["encoded_importance"]} == pytest.approx(
        dict(zip(names, parts / parts.sum(), strict=True)), rel=1e-5
    )
    assert features["features_learned"]
    assert len(client.get("/v1/models/prices/features/history").json()["items"]) == 5
    assert client.get("/v1/models/prices/export").status_code == 200
    assert client.get("/v1/models/prices/card").status_code == 200
    assert client.get("/v1/models/prices/export?format=onnx").status_code == 200


def test_an_old_model_explains_itself_without_knowing_which_rows_it_has(client: TestClient) -> None:
    answer = client.post("/v1/models/prices/explain", json={"rows": EXPECTED["rows"]}).json()
    first = answer["items"][0]
    assert first["prediction"] == pytest.approx(EXPECTED["models"]["prices"]["predictions"][0], rel=1e-6)
    assert {one["row"] for one in first["neighbours"]} == {None}
    assert first["neighbours"][0]["distance"] <= first["neighbours"][1]["distance"]
    assert all(len(one["change"]) == 1 for one in first["sensitivity"] if one["change"] is not None)


def test_old_jobs_datasets_and_results_are_there(client: TestClient) -> None:
    found = {one["id"]: one["state"] for one in client.get("/v1/jobs?limit=200").json()["items"]}
    assert found == EXPECTED["states"]
    for job_id in found:
        assert client.get(f"/v1/jobs/{job_id}/events").json()[-1]["data"]["state"] == found[job_id]
    assert client.get(f"/v1/jobs/{EXPECTED['predict']}/result").text == EXPECTED["predictions"]
    assert len(client.get(f"/v1/jobs/{EXPECTED['tune']}/result").json()["trials"]) == EXPECTED["trials"]
    assert client.get(f"/v1/jobs/{EXPECTED['network']}/result").status_code == 200
    assert client.get(f"/v1/batches/{EXPECTED['batch']}").json()["counts"]["cancelled"] == 2
    assert client.get(f"/v1/datasets/{EXPECTED['dataset']}/content").text.startswith("size,city,price\n")


def test_an_old_interrupted_fit_goes_on_from_its_checkpoint(client: TestClient, run_job: Callable[[str], None]) -> None:
    run_job(EXPECTED["interrupted"])
    iterations = [
        event["data"]["iteration"]
        for event in client.get(f"/v1/jobs/{EXPECTED['interrupted']}/events").json()
        if event["type"] == "iteration"
    ]
    assert iterations == [0, 1, 2], "the fixture records no reports, so no iteration was done again before this one"
    resumed, undisturbed = (
        client.post(f"/v1/models/{name}/predict", json={"rows": EXPECTED["rows"]}).json()["predictions"]
        for name in ("resumed", "prices")
    )
    np.testing.assert_allclose(resumed, undisturbed, rtol=1e-9)


def test_an_old_classification_answers_bit_for_bit_as_it_did(client: TestClient) -> None:
    model = ServedModel.from_tensors(*unpack(client.get("/v1/models/kinds/export").content))
    assert model.fitted.to_tensors()[1]["format_version"] == 1
    X = model.fitted.X
    scores = model.fitted.raw(X)
    expected = on_simplex(scores.double()) * (1 - 1e-3) + 1e-3 / 2
    assert torch.equal(model.fitted.probabilities(X), expected)
    assert torch.equal(model.fitted.predict(X), scores.argmax(1))


def test_an_old_model_says_what_its_validation_rows_also_chose(client: TestClient) -> None:
    chosen = {name: client.get(f"/v1/models/{name}").json()["validation_chose"] for name in ("prices", "kinds")}
    assert chosen["prices"][-2:] == ["ridge", "iteration"]
    assert "exponent" in chosen["kinds"]


def test_an_old_brier_score_is_not_put_beside_one_of_probabilities(
    client: TestClient, run_job: Callable[[str], None]
) -> None:
    kinds = client.get("/v1/models/kinds").json()
    body = {"kind": "fit", "dataset": kinds["dataset"], "target": kinds["targets"][0]["name"], "model": "kinds"}
    run_job(client.post("/v1/jobs", json={**body, "task": "classification"}).json()["id"])
    page = client.get("/compare?ref=kinds@1&ref=kinds@2").text
    rows = [re.sub("<[^>]*>", " ", row).split() for row in re.findall("<tr>.*?</tr>", page, re.S)]
    of_scores = next(row for row in rows if row[:5] == ["Validation", "Brier", "of", "raw", "scores"])
    of_probabilities = next(row for row in rows if row[:2] == ["Validation", "Brier"] and row[2] != "of")
    assert of_scores[-1] == "–"
    assert of_probabilities[2] == "–"
