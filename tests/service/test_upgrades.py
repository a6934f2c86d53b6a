"""What older versions of the service made is served by this one: see tests/samples."""

from collections.abc import Callable

import numpy as np
import pytest
from starlette.testclient import TestClient
from support.samples import EXPECTED, restore_sample

from service.settings import ServiceSettings


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
    shown = client.get("/v1/models/prices/features").json()["importance"]
    assert {one["feature"]: one["share"] for one in shown} == pytest.approx(
        {one["feature"]: one["share"] for one in EXPECTED["importance"]}
    )
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
