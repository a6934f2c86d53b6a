import csv
import io
import json
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow.ipc
import pytest
from support.tables import as_parquet

from worker.store.files.safetensors_io import unpack

ROWS = {"columns": ["size", "city"], "data": [[3, "Bern"], [5, "Chur"], [None, "Rome"]]}


def _predict(client, **options):
    return client.post("/v1/models/prices/predict", **{"json": ROWS, **options})


def test_a_model_is_found_by_id_name_and_version(client, model):
    for ref in (model["id"], "prices", "prices@1"):
        assert client.get(f"/v1/models/{ref}").json() == model
    assert client.get("/v1/models/prices@2").status_code == 404
    assert client.get("/v1/models?name=prices").json()["items"] == [model]
    assert [column["name"] for column in model["features"]] == ["size", "city"]
    assert (model["task"], model["training_rows"], model["version"]) == ("regression", 40, 1)


def test_versions_go_on_and_a_deleted_number_does_not_come_back(client, model, run_job):
    body = {"kind": "fit", "dataset": model["dataset"], "target": "price", "model": "prices"}

    def fit():
        job = client.post("/v1/jobs", json=body).json()["id"]
        run_job(job)
        return client.get("/v1/models/prices").json()["version"]

    assert fit() == 2
    assert client.delete("/v1/models/prices@2").status_code == 204
    assert client.get("/v1/models/prices").json()["version"] == 1
    assert fit() == 3


def test_a_deleted_model_answers_no_more(client, model, context):
    assert _predict(client).status_code == 200
    stored = context.settings.home / "artifacts" / "models"
    assert list(stored.rglob("*.safetensors"))
    refused = client.delete("/v1/models/prices")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_request")
    assert "by its id (mdl_…) or as name@version, not by its name alone; got 'prices'" in refused.json()["detail"]
    assert client.delete("/v1/models/prices@1").status_code == 204
    assert _predict(client).status_code == 404
    assert not list(stored.rglob("*.safetensors"))


def test_every_form_of_answer_says_the_same(client, model):
    expected = _predict(client).json()["predictions"]
    as_csv = _predict(client, headers={"Accept": "text/csv"})
    assert [float(row["price"]) for row in csv.DictReader(io.StringIO(as_csv.text))] == expected
    arrow = _predict(client, headers={"Accept": "application/vnd.apache.arrow.stream"})
    assert pyarrow.ipc.open_stream(arrow.content).read_all()["price"].to_pylist() == expected
    npy = _predict(client, headers={"Accept": "application/x-npy"})
    assert np.load(io.BytesIO(npy.content))[:, 0].tolist() == expected
    assert _predict(client, headers={"Accept": "image/png"}).status_code == 406


def test_every_form_of_request_gets_the_same_answer(client, model):
    expected = _predict(client).json()
    objects = {"rows": [dict(zip(ROWS["columns"], row, strict=True)) for row in ROWS["data"]]}
    assert _predict(client, json=objects).json() == expected
    text = "city,extra,size\nBern,1,3\nChur,2,5\nRome,3,\n"
    for content, kind in (
        (text.encode(), "text/csv"),
        (as_parquet(pyarrow.table({"city": ["Bern", "Chur", "Rome"], "size": [3, 5, None]})),
         "application/vnd.apache.parquet"),
    ):  # fmt: skip
        answer = client.post("/v1/models/prices/predict", content=content, headers={"Content-Type": kind})
        assert answer.json() == expected


@pytest.mark.parametrize("kind", ["application/json", "text/csv"])
@pytest.mark.parametrize("accept", ["application/json", "text/csv", "application/x-npy"])
@pytest.mark.parametrize("copies", [1, 100])
def test_categories_that_no_training_row_had_are_told_of(client, model, kind, accept, copies):
    def told(*cities):
        cells = [("3", city) for city in cities * copies]
        objects = {"rows": [{"size": 3, "city": city or None} for _, city in cells]}
        text = "size,city\n" + "".join(f"{size},{city}\n" for size, city in cells)
        content = json.dumps(objects) if kind == "application/json" else text
        headers = {"Content-Type": kind, "Accept": accept}
        answer = client.post("/v1/models/prices/predict", content=content, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.headers.get("Unknown-Categories")

    assert told("Bern", "") is None, "what is missing is not unknown"
    assert json.loads(told("Bern", "Rome", "Oslo")) == {"city": 2 * copies}


def test_long_names_of_columns_do_not_make_a_long_header(client, run_job):
    names = [f"{k:02}{'ж' * 300}" for k in range(12)] + ["short"]
    lines = [",".join([*names, "y"]), *(",".join([*("ab"[k % 2] for _ in names), str(k % 7)]) for k in range(20))]
    content = "\n".join(lines) + "\n"
    dataset = client.post("/v1/datasets", content=content.encode(), headers={"Content-Type": "text/csv"}).json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "y", "model": "prices", "spec": {"iterations": 0}}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    answer = _predict(client, json={"rows": [dict.fromkeys(names, "z")]})
    assert len(answer.headers["Unknown-Categories"]) < 2100
    assert json.loads(answer.headers["Unknown-Categories"])["short"] == 1


def test_a_repeated_answer_tells_of_unknown_categories_too(client, model):
    rows = {"rows": [{"size": 3, "city": "Rome"}]}
    first, again = (_predict(client, json=rows, headers={"Idempotency-Key": "k"}) for _ in range(2))
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.headers["Unknown-Categories"] == again.headers["Unknown-Categories"] == '{"city": 1}'


def test_wrong_rows_are_refused(client, model):
    for body, words in (
        ({"rows": [{"size": 1}]}, ["city"]),
        ({"rows": [{"size": "big", "city": "Bern"}]}, ["row 1", "size", "big"]),
        ({"rows": [{"size": 1e300, "city": "Bern"}]}, ["row 1"]),
        ({"rows": []}, ["no rows"]),
        ([], ["rows"]),
    ):
        answer = _predict(client, json=body)
        assert answer.status_code == 422, answer.text
        for word in words:
            assert word in answer.json()["detail"]


def test_too_many_rows_are_sent_to_a_job(client, model, context):
    content = "size,city\n" + "1,B\n" * (context.settings.max_predict_rows + 1)
    answer = client.post("/v1/models/prices/predict", content=content, headers={"Content-Type": "text/csv"})
    assert answer.status_code == 422
    assert "predict job" in answer.json()["detail"]


def test_features_are_shares_of_original_columns(client, model):
    features = client.get("/v1/models/prices/features").json()
    assert {one["feature"] for one in features["importance"]} == {"size", "city"}
    for name in ("importance", "encoded_importance"):
        shares = [one["share"] for one in features[name]]
        assert math.isclose(sum(shares), 1, abs_tol=1e-6)
        assert shares == sorted(shares, reverse=True)
    assert features["eigenvalues"] == sorted(features["eigenvalues"], reverse=True)
    assert 1 <= features["effective_rank"] <= 5
    assert features["directions"][0]["eigenvalue"] == features["eigenvalues"][0]


def test_the_matrix_comes_in_every_form(client, model):
    url = "/v1/models/prices/features/matrix"
    document = client.get(url).json()
    M = np.array(document["matrix"])
    assert document["names"] == ["size", "city=Basel", "city=Bern", "city=Chur", "city:other"]
    assert np.allclose(M, M.T)
    rows = list(csv.reader(io.StringIO(client.get(url, headers={"Accept": "text/csv"}).text)))
    assert rows[0][1:] == [row[0] for row in rows[1:]] == document["names"]
    assert np.allclose([[float(cell) for cell in row[1:]] for row in rows[1:]], M)
    assert np.allclose(np.load(io.BytesIO(client.get(url, headers={"Accept": "application/x-npy"}).content)), M)
    tensors, metadata = unpack(client.get(url, headers={"Accept": "application/vnd.safetensors"}).content)
    assert np.allclose(tensors["M"], M)
    assert metadata["names"] == document["names"]
    picture = client.get(url, headers={"Accept": "image/png"})
    assert picture.content.startswith(b"\x89PNG")
    assert client.get(
        url, headers={"Accept": "image/png", "If-None-Match": picture.headers["etag"]}
    ).status_code == 304  # fmt: skip


def test_every_iteration_has_its_matrix_and_its_line_in_the_history(client, model):
    history = client.get("/v1/models/prices/features/history").json()
    assert [one["iteration"] for one in history["items"]] == [0, 1, 2]
    assert history["chosen"] == model["iteration"]
    assert all(one["matrix"] for one in history["items"])
    assert [one["cosine_to_next"] is None for one in history["items"]] == [False, False, True]
    first = client.get("/v1/models/prices/features/matrix?iteration=0").json()
    assert first["matrix"] == np.eye(5).tolist()
    unknown = client.get("/v1/models/prices/features/matrix?iteration=9")
    assert unknown.status_code == 404
    assert "0, 1, 2" in unknown.json()["detail"]


def test_a_file_that_storage_changed_is_a_fault_and_not_an_answer(client, model, context):
    [stored] = (context.settings.home / "artifacts" / "models").rglob("model.safetensors")
    stored.write_bytes(b"nothing")
    context.predictor.forget(model["id"])
    answer = _predict(client)
    assert (answer.status_code, answer.json()["code"]) == (500, "artifact_corrupt")


def test_a_model_is_described_tagged_and_promoted(client, model, run_job):
    changed = client.patch("/v1/models/prices", json={"description": "of 2025", "tags": ["prod", "team=risk"]})
    assert changed.status_code == 200
    assert changed.json() == {**model, "description": "of 2025", "tags": ["prod", "team=risk"]}
    assert [one["id"] for one in client.get("/v1/models?tag=team%3Drisk").json()["items"]] == [model["id"]]
    assert client.get("/v1/models?tag=risk").json()["items"] == []
    again = {
        "kind": "fit",
        "dataset": model["dataset"],
        "target": "price",
        "model": "prices",
        "spec": {"iterations": 0},
    }
    run_job(client.post("/v1/jobs", json=again).json()["id"])
    assert client.patch("/v1/models/prices", json={"default_version": 1}).json()["version"] == 2
    assert client.get("/v1/models/prices").json()["version"] == 1


def test_a_change_that_cannot_be_is_refused(client, model):
    for wrong, pointer in (
        ({"default_version": 7}, "/default_version"),
        ({"tags": ["two words"]}, "/tags/0"),
        ({"name": "other"}, "/name"),
    ):
        answer = client.patch("/v1/models/prices", json=wrong)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    assert client.patch("/v1/models/none", json={}).status_code == 404
    assert client.patch("/v1/models/prices", content="{}", headers={"Content-Type": "text/plain"}).status_code == 415
    assert client.get("/v1/models/prices").json() == model


def test_models_without_a_common_column_are_not_likened(client, model, run_job):
    csv = "width,weight\n" + "".join(f"{index % 9},{index % 9 + 0.5}\n" for index in range(40))
    dataset = client.post("/v1/datasets", content=csv, headers={"Content-Type": "text/csv"}).json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "weight", "model": "weights", "spec": {"iterations": 0}}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    found = client.get("/v1/models/prices/compare", params={"with": "weights"}).json()
    assert found["similarity"] == [[pytest.approx(1), None], [None, pytest.approx(1)]]
    page = client.get("/compare?ref=prices&ref=weights").text
    assert "prices@1 and weights@1 have no column in common" in page


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"dataset": "ds_short"}, "a dataset is named by its id"),
        ({"model": "two words"}, "a model's name begins with a letter or digit"),
        ({"kind": "predict", "model": "a b"}, "a model is named by its id"),
    ],
)
def test_a_text_of_the_wrong_shape_is_answered_in_words(client, dataset, body, said):
    usual = {"kind": "fit", "dataset": dataset, **({} if "kind" in body else {"target": "price"})}
    refused = client.post("/v1/jobs", json=usual | body)
    assert refused.status_code == 422
    assert said in refused.json()["detail"]
    assert "pattern" not in refused.json()["detail"]


def test_models_are_put_side_by_side(client, model, run_job):
    body = {"kind": "fit", "dataset": model["dataset"], "target": "price", "model": "other"}
    body["spec"] = {**model["spec"], "update": "nfa", "iterations": 1}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    found = client.get("/v1/models/prices/compare", params={"with": ["other", "prices@1"]}).json()
    assert [one["name"] for one in found["models"]] == ["prices", "other", "prices"]
    assert {"option": "update", "values": ["fact", "nfa", "fact"]} in found["spec"]
    assert "kernel" not in {one["option"] for one in found["spec"]}
    for one in found["metrics"]:
        assert one["values"] == [m["metrics"].get(one["metric"]) for m in found["models"]]
    matrices = [
        np.array(client.get(f"/v1/models/{ref}/features/matrix").json()["matrix"]) for ref in ("prices", "other")
    ]
    cosine = (matrices[0] * matrices[1]).sum() / np.linalg.norm(matrices[0]) / np.linalg.norm(matrices[1])
    np.testing.assert_allclose(found["similarity"], [[1, cosine, 1], [cosine, 1, cosine], [1, cosine, 1]], rtol=1e-5)
    assert np.sum([one["shares"] for one in found["features"]], axis=0) == pytest.approx([1, 1, 1])
    assert client.get("/v1/models/prices/compare").status_code == 422
    assert client.get("/v1/models/prices/compare?with=none").status_code == 404


def _tag(client, ref="prices"):
    return client.get(f"/v1/models/{ref}").headers["etag"]


def test_a_model_has_an_etag_of_all_that_is_shown(client, model):
    tag = _tag(client)
    again = client.get("/v1/models/prices", headers={"If-None-Match": f'"other", W/{tag}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    changed = client.patch("/v1/models/prices", json={"description": "Other"})
    assert changed.headers["etag"] == _tag(client) != tag
    assert client.get("/v1/models/prices", headers={"If-None-Match": tag}).status_code == 200
    named = client.patch("/v1/models/prices", json={"default_version": 1})
    assert named.headers["etag"] == _tag(client) != changed.headers["etag"]


@pytest.mark.parametrize("given", ['"other"', "W/{tag}", "{bare}", '"a", "b"', ""])
def test_a_change_of_another_state_is_refused(client, model, given):
    tag = _tag(client)
    headers = {"If-Match": given.format(tag=tag, bare=tag.strip('"'))}
    refused = client.patch("/v1/models/prices", json={"description": "Other"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    assert tag in refused.json()["detail"]
    assert client.delete(f"/v1/models/{model['id']}", headers=headers).status_code == 412
    assert _tag(client) == tag


@pytest.mark.parametrize("given", ["{tag}", '"other", {tag}', "*"])
def test_a_change_of_the_state_that_is_meant_is_made(client, model, given):
    headers = {"If-Match": given.format(tag=_tag(client))}
    changed = client.patch("/v1/models/prices", json={"description": "Other"}, headers=headers)
    assert (changed.status_code, changed.json()["description"]) == (200, "Other")
    headers = {"If-Match": changed.headers["etag"]}
    assert client.delete(f"/v1/models/{model['id']}", headers=headers).status_code == 204


def test_of_changes_that_come_at_once_one_is_made(client, model):
    headers = {"If-Match": _tag(client)}

    def change(number):
        return client.patch("/v1/models/prices", json={"description": str(number)}, headers=headers).status_code

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(change, range(4))) == [200, 412, 412, 412]


def test_a_model_that_is_none_is_not_found_whatever_is_matched(client):
    assert client.patch("/v1/models/none", json={}, headers={"If-Match": "*"}).status_code == 404
