import numpy as np
import pytest

from service.models.explanations import MAX_ROWS

ROWS = {"rows": [{"size": 3, "city": "Bern"}, {"size": None, "city": "Chur"}]}


def _explain(client, **options):
    return client.post("/v1/models/prices/explain", **({"json": ROWS} | options))


def test_a_prediction_is_explained_by_training_rows_and_by_columns(client, model, dataset):
    found = _explain(client).json()
    assert (found["model"], found["targets"]) == (model["id"], ["price"])
    assert [one["prediction"] for one in found["items"]] == client.post(
        "/v1/models/prices/predict", json=ROWS
    ).json()["predictions"]  # fmt: skip
    table = client.get(f"/v1/datasets/{dataset}/rows?limit=100").json()
    first = found["items"][0]
    assert len(first["neighbours"]) == 5
    for one in first["neighbours"]:
        cells = dict(zip(table["columns"], table["rows"][one["row"]], strict=True))
        assert one["dataset"] == dataset
        assert one["targets"] == [cells.pop("price")]
        assert one["values"] == cells
    nearest = first["neighbours"][0]
    assert (nearest["values"], nearest["distance"], nearest["weight"]) == ({"size": 3, "city": "Bern"}, 0, 1)
    distances = [one["distance"] for one in first["neighbours"]]
    assert distances == sorted(distances)
    assert {one["feature"] for one in first["sensitivity"]} == {"size", "city"}
    lost = next(one for one in found["items"][1]["sensitivity"] if one["feature"] == "size")
    assert lost["change"] is None


def test_a_wrong_cell_is_told_by_its_place(client, model):
    for call in ("predict", "explain"):
        answer = client.post(
            f"/v1/models/prices/{call}", json={"rows": [{"size": 3, "city": "Bern"}, {"size": "much", "city": "Bern"}]}
        )
        assert answer.status_code == 422
        assert answer.json()["errors"] == [{"pointer": "/rows/1/size", "message": "'much' is not numeric"}]


def test_rows_come_in_any_form_and_as_many_neighbours_as_asked_for(client, model):
    answer = client.post(
        "/v1/models/prices/explain?neighbours=0", content="size,city\n3,Bern\n", headers={"Content-Type": "text/csv"}
    )
    assert answer.json()["items"][0]["neighbours"] == []
    assert len(_explain(client, params={"neighbours": 50}).json()["items"][0]["neighbours"]) == 40
    assert _explain(client, params={"neighbours": 51}).status_code == 422


def test_a_model_outlives_its_dataset_and_then_shows_no_rows_of_it(client, model, dataset):
    assert client.delete(f"/v1/datasets/{dataset}").status_code == 204
    nearest = _explain(client).json()["items"][0]["neighbours"][0]
    assert (nearest["dataset"], nearest["values"], nearest["targets"]) == (dataset, None, None)
    assert nearest["row"] is not None


@pytest.mark.parametrize(
    ("validation", "refit"), [({"fraction": 0.3}, True), ({"fraction": 0.3}, False), ({"folds": 2}, True), (None, True)]
)
def test_training_rows_are_named_however_rows_were_held_out(client, dataset, run_job, validation, refit):
    body = {"kind": "fit", "dataset": dataset, "target": "city", "model": "cities", "validation": validation}
    body["spec"] = {"iterations": 0, "encoding": "plain", "feature_matrix": "full", "refit": refit}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    model = client.get("/v1/models/cities").json()
    table = client.get(f"/v1/datasets/{dataset}/rows?limit=100").json()
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"][:MAX_ROWS]]
    found = client.post("/v1/models/cities/explain?neighbours=50", json={"rows": rows}).json()
    for item in found["items"]:
        numbers = [one["row"] for one in item["neighbours"]]
        assert len(set(numbers)) == len(numbers) == min(model["training_rows"], 50)
        for one in item["neighbours"]:
            assert one["targets"] == [table["rows"][one["row"]][1]]
            assert one["values"] == {"size": table["rows"][one["row"]][0], "price": table["rows"][one["row"]][2]}
        assert max(item["probabilities"]) == item["probabilities"][found["classes"].index(item["prediction"])]


def test_rows_that_validated_from_another_dataset_are_named_there(client, dataset, run_job):
    content = "size,city,price\n" + "".join(f"{index / 3},Bern,{index * 7}.25\n" for index in range(9))
    other = client.post("/v1/datasets", content=content, headers={"Content-Type": "text/csv"}).json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "price", "model": "both", "validation": {"dataset": other}}
    run_job(client.post("/v1/jobs", json={**body, "spec": {"iterations": 0}}).json()["id"])
    answer = client.post("/v1/models/both/explain", json={"rows": [{"size": 7 / 3, "city": "Bern"}]})
    nearest = {one["dataset"]: one for one in answer.json()["items"][0]["neighbours"]}
    refitted = client.get("/v1/models/both").json()["refitted"]
    assert (other in nearest) == refitted
    if refitted:
        assert (nearest[other]["row"], nearest[other]["targets"]) == (7, [49.25])


def test_too_many_rows_and_wrong_ones_are_refused(client, model):
    for body, words in (
        ({"rows": ROWS["rows"] * MAX_ROWS}, f"takes {MAX_ROWS}"),
        ({"rows": [{"size": 1}]}, "'city'"),
        ({"rows": [{"size": 1e300, "city": "Bern"}]}, "row 1"),
        ({"rows": []}, "no rows"),
    ):
        answer = _explain(client, json=body)
        assert answer.status_code == 422, answer.text
        assert words in answer.json()["detail"]
    assert client.post("/v1/models/none/explain", json=ROWS).status_code == 404
    assert _explain(client, json=None, content="x", headers={"Content-Type": "text/html"}).status_code == 415


def test_the_largest_change_is_of_what_the_target_depends_on_most(client, model):
    [found] = _explain(client, json={"rows": ROWS["rows"][:1]}).json()["items"]
    # price is 100 times the size and 0, 50 or 100 more by the city
    assert found["sensitivity"][0]["feature"] == "size"
    step = found["sensitivity"][0]["step"]
    assert step == pytest.approx(np.std([index % 7 for index in range(40)]), rel=0.1)
    assert found["sensitivity"][0]["change"][0] == pytest.approx(100 * step, rel=0.3)


def test_unknown_categories_are_counted_by_column(client, model):
    rows = [{"size": 3, "city": city} for city in ("Bern", "Atlantis", "El Dorado", None, "NA")]
    assert _explain(client, json={"rows": rows}).json()["unknown_categories"] == {"city": 2}
    assert _explain(client, json={"rows": rows[:1]}).json()["unknown_categories"] == {}


@pytest.mark.parametrize("size", [1e30, 1e155, 1e200, 1e300, 1.7e308, -1e300, 5e-324])
def test_a_row_of_any_size_is_explained_or_refused(client, model, size):
    answer = _explain(client, json={"rows": [{"size": size, "city": "Bern"}]})
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 422:
        assert "far from the training rows" in answer.json()["detail"]
