"""Tables of many columns: what is too wide is not tried, or refused with what would be narrower."""

import io

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient
from support.inline import fitted_model

from service.app import create_app

WIDE = 410


@pytest.fixture
def wide(client) -> str:
    body = io.BytesIO()
    rng = np.random.default_rng(0)
    np.savez(body, X=rng.normal(size=(12, WIDE)), y=rng.normal(size=12))
    answer = client.post("/v1/datasets", content=body.getvalue(), headers={"Content-Type": "application/x-npz"})
    return str(answer.json()["id"])


@pytest.fixture
def narrow(settings, client):
    """Another process of the same service, which allows 1,000 encoded columns."""
    with TestClient(create_app(settings.model_copy(update={"max_encoded_columns": 1000}))) as other:
        yield other


def _dry(client, wide, **body):
    return client.post("/v1/jobs?dry_run=true", json={"kind": "fit", "dataset": wide, "target": "y", **body})


def test_hundreds_of_numbers_are_fitted_without_options(client, wide):
    told = _dry(client, wide).json()
    assert told["request"]["spec"]["encoding"] == "auto"
    assert told["encoded_columns"] == 4 * WIDE


def test_an_encoding_that_is_too_wide_is_not_tried_and_that_is_said(narrow, wide):
    told = _dry(narrow, wide).json()
    assert told["request"]["spec"]["encoding"] == "plain"
    assert told["encoded_columns"] == WIDE
    assert any("'expanded' would make 1640 columns, and at most 1000" in remark for remark in told["remarks"])


def test_a_search_does_not_try_it_either(narrow, wide):
    for search in ({"trials": 3}, {"trials": 3, "space": {"encoding": {"choices": ["plain", "expanded"]}}}):
        told = _dry(narrow, wide, kind="tune", search=search).json()
        assert told["request"]["search"]["space"]["encoding"]["choices"] == ["plain"]
        assert told["encoded_columns"] == WIDE
    only = {"trials": 3, "space": {"encoding": {"choices": ["expanded"]}}}
    refused = _dry(narrow, wide, kind="tune", search=only)
    assert refused.status_code == 422
    assert "encoding 'plain' makes 410" in refused.json()["detail"]


def test_where_it_is_asked_for_the_other_one_is_named(narrow, wide):
    refused = _dry(narrow, wide, spec={"encoding": "expanded"})
    assert refused.status_code == 422
    [wrong] = refused.json()["errors"]
    assert wrong["pointer"] == "/spec/encoding"
    assert "encoding 'plain' makes 410" in wrong["message"]


def test_a_trial_whose_mean_targets_are_too_many_fails_and_the_search_goes_on(client, run_job):
    rows, labels = 900, 300
    cells = np.random.default_rng(0).integers(0, 30, (rows, 15))
    table = pd.DataFrame({f"c{place}": [f"v{cell}" for cell in column] for place, column in enumerate(cells.T)})
    table["label"] = [f"L{row % labels:03}" for row in range(rows)]
    sent = client.post("/v1/datasets", content=table.to_csv(index=False), headers={"Content-Type": "text/csv"})
    spec = {"iterations": 0, "feature_matrix": "diagonal", "exponent": 1.3, "ridge": 0.1}
    search = {"trials": 2, "space": {"encoding": {"choices": ["statistics"]}}}
    body = {"kind": "tune", "dataset": sent.json()["id"], "target": "label", "spec": spec, "search": search}
    model = fitted_model(client, run_job, body)
    first, second = client.get(f"/v1/jobs/{model['job']}/result").json()["trials"]
    assert (first["state"], second["state"]) == ("complete", "failed")
    assert "encoding 'statistics' makes 4965 encoded columns" in second["reason"]
