"""The shorter way answers as the framework's own does."""

import pytest

ROW = {"rows": [{"size": 2.0, "city": "Rome"}]}


def test_both_ways_answer_alike(client, model):
    short = client.post("/v1/models/prices/predict", json=ROW)
    framework = client.post("/v1/models/prices/predict?spreadsheet=false", json=ROW)
    assert (short.status_code, short.json()) == (framework.status_code, framework.json()) == (200, short.json())


@pytest.mark.parametrize("query", ["", "?spreadsheet=true"])
@pytest.mark.parametrize(("name", "status"), [("none", 404), ("a" * 201, 422), ("prices@0", 404)])
def test_what_names_no_model_is_refused_on_both_ways(client, model, query, name, status):
    refused = client.post(f"/v1/models/{name}/predict{query}", json=ROW)
    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/problem+json"


def test_a_wrong_query_is_refused(client, model):
    refused = client.post("/v1/models/prices/predict?spreadsheet=perhaps", json=ROW)
    assert refused.status_code == 422
    assert "spreadsheet" in refused.text
