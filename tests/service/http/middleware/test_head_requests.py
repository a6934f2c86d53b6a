"""HEAD is answered wherever GET is, with the same head and no body."""

import pytest

CHANGING = ("date", "x-request-id")


def _gets(client):
    return sorted(path for path, calls in client.get("/openapi.json").json()["paths"].items() if "get" in calls)


def _there(path, model, upload):
    job = model["job"]
    named = {"ref": model["id"], "name": "prices", "version": "1", "job_id": job, "dataset_id": model["dataset"]}
    named["upload_id"] = upload
    return path.format(**named, batch_id="bat_none", column="size") + ("?with=prices" if "compare" in path else "")


def test_every_get_has_its_head(client, model):
    upload = client.post("/v1/uploads", json={"filename": "a.csv", "bytes": 9}).json()["id"]
    paths = [_there(path, model, upload) for path in _gets(client)]
    assert len(paths) > 25
    for path in [*paths, "/", "/jobs", "/models/prices", "/docs", "/openapi.json", "/v1/nothing", "/static/none"]:
        found = client.get(path)
        asked = client.head(path)
        assert asked.status_code == found.status_code, path
        assert asked.content == b"", path
        if path != "/metrics":
            same = {name: value for name, value in found.headers.items() if name not in CHANGING}
            assert {name: value for name, value in asked.headers.items() if name not in CHANGING} == same, path


def test_a_head_of_a_stream_ends_behind_its_head(client, dataset):
    job = client.post("/v1/jobs", json={"kind": "fit", "dataset": dataset, "target": "price"}).json()["id"]
    answer = client.head(f"/v1/jobs/{job}/events", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("path", ["/v1/jobs/job_none/cancel", "/v1/models/prices/predict"])
def test_where_there_is_no_get_there_is_no_head(client, path):
    answer = client.head(path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"


def test_the_methods_of_a_path_are_told(client):
    assert client.put("/v1/jobs").headers["allow"] == "GET, HEAD, POST"


def test_heads_are_counted_under_their_route(client, dataset):
    assert client.head(f"/v1/datasets/{dataset}").status_code == 200
    counted = 'factrfm_http_requests_total{method="HEAD",route="/v1/datasets/{dataset_id}",status="200"}'
    assert counted in client.get("/metrics").text
