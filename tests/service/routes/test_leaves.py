"""The leaf map over HTTP, in the client, on the command line and on the model's page."""

import json
import re

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from typer.testing import CliRunner

from service.cli import app
from service.client import Client
from worker.contracts.resources import Leaf
from worker.engine.blocks.tree import assign
from worker.serving.model import ServedModel
from worker.store.files.safetensors_io import unpack

SPEC = {"solver": "blocks", "iterations": 1, "encoding": "plain", "exponent": 1.3, "feature_matrix": "full"}
SPEC |= {"blocks": {"rows": 150, "learn": 2, "leaf": 120}}


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"age": rng.gamma(4, 10, 700), "income": rng.lognormal(8, 0.4, 700)})
    frame["city"] = rng.choice(["Bern", "<i>Chur</i>"], 700)
    return frame.assign(y=100 * np.sin(frame["age"] / 10) + frame["income"] / 100)


@pytest.fixture
def many(client, table, run_job):
    """The id of a model named ``many`` that was fitted by blocks."""
    answer = client.post("/v1/datasets", content=table.to_csv(index=False), headers={"Content-Type": "text/csv"})
    body = {"kind": "fit", "dataset": answer.json()["id"], "target": "y", "model": "many", "spec": SPEC}
    job = client.post("/v1/jobs", json=body | {"validation": None}).json()["id"]
    run_job(job)
    return client.get("/v1/models/many").json()["id"]


def _pages(client, limit):
    items, after = [], ""
    while after is not None:
        answer = client.get(f"/v1/models/many/leaves?limit={limit}{after and f'&after={after}'}")
        assert answer.status_code == 200, answer.text
        items += answer.json()["items"]
        after = answer.json()["next"]
    return items


def test_rules_lead_every_row_of_the_table_to_its_leaf(client, many, table):
    leaves = _pages(client, 3)
    assert leaves == client.get(f"/v1/models/{many}/leaves").json()["items"]
    served = ServedModel.from_tensors(*unpack(client.get("/v1/models/many/export").content))
    tree = served.fitted.tree
    assert len(leaves) == tree.leaves > 4
    X = torch.from_numpy(served.encoder.encode(pa.Table.from_pandas(table)))
    counts, own = assign(tree, X).counts.tolist(), assign(tree, X, overlap=False)
    for leaf in leaves:
        holds = torch.ones(len(X), dtype=torch.bool)
        for cut in leaf["rule"]:
            holds &= (X @ tree.directions[cut["cut"]] <= cut["threshold"]) == (cut["side"] == "below")
            assert {column["feature"] for column in cut["columns"]} <= {"age", "income", "city"}
        assert torch.equal(holds.nonzero().squeeze(1), own.of(leaf["leaf"]))
        assert leaf["rows"] == counts[leaf["leaf"]]


@pytest.mark.parametrize("after", ["x", "-1", "", "1.0", "9999999", "mdl_01jd0000000000000000000000"])
def test_a_place_that_is_none_is_refused(client, many, after):
    answer = client.get(f"/v1/models/many/leaves?after={after}")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "query:after")


def test_a_leaf_that_there_is_not_is_refused_and_no_model_not_found(client, many):
    answer = client.get("/v1/models/many/leaves?after=9999")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "query:after")
    assert "there is no leaf 9999" in answer.json()["detail"]
    assert client.get("/v1/models/none/leaves").status_code == 404


def test_a_model_that_is_one_kernel_machine_says_what_a_leaf_map_is_of(client, model):
    answer = client.get("/v1/models/prices/leaves")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "fitted by blocks (solver 'blocks')" in answer.json()["detail"]
    assert answer.headers["x-should-retry"] == "false"
    assert "leaves-title" not in client.get("/models/prices").text


def _shown(*arguments, code=0):
    result = CliRunner(env={"COLUMNS": "400"}).invoke(app, ["leaves", *arguments])
    assert result.exit_code == code, result.output
    # the service in this process logs there too
    return "".join(line for line in result.output.splitlines(True) if '"event": "request"' not in line)


@pytest.fixture
def client_of(client, monkeypatch):
    """The package's client and command line ask the service in this process."""

    def answered(request):
        answer = client.get(str(request.url), headers=dict(request.headers))
        return httpx.Response(answer.status_code, headers=dict(answer.headers), content=answer.content)

    made = Client("http://testserver", transport=httpx.MockTransport(answered))
    monkeypatch.setattr("service.commands.session.Client", lambda *_, **__: made)
    return made


def test_client_and_command_show_the_same_leaves(client, many, client_of):
    expected = _pages(client, 200)
    leaves = list(client_of.leaves("many"))
    assert all(isinstance(leaf, Leaf) for leaf in leaves)
    assert [leaf.model_dump() for leaf in leaves] == expected
    assert json.loads(_shown("many", "--json", "--limit", "200")) == expected


def test_the_command_shows_a_line_a_leaf(client, many, client_of):
    expected = _pages(client, 200)
    heads, *lines = _shown("many", "--limit", "3").splitlines()
    assert heads.split() == ["leaf", "rows", "error", "ridge", "rule"]
    assert len(lines) == 3
    for line, leaf in zip(lines, expected, strict=False):
        assert line.split()[:2] == [str(leaf["leaf"]), str(leaf["rows"])]
        assert line.rstrip().endswith(f"{leaf['rule'][-1]['summary']} ({leaf['rule'][-1]['share']:.0%})")


def test_the_command_says_of_one_kernel_machine_that_it_has_none(client, model, client_of):
    assert "fitted by blocks" in _shown("prices", code=2)


def _leaf_rows(page):
    body = page.partition('id="leaves-title"')[2].partition("<tbody>")[2].partition("</tbody>")[0]
    return re.findall(r'<tr><th scope="row" class="number">(\d+)</th><td class="number">([\d\u202f]+)</td>', body)


def test_the_models_page_shows_the_first_cuts_and_the_leaves(client, many):
    expected = _pages(client, 200)
    page = client.get("/models/many").text
    assert _leaf_rows(page) == [(str(leaf["leaf"]), str(leaf["rows"])) for leaf in expected]
    first = expected[0]["rule"][0]
    assert first["summary"] in page.replace("&lt;", "<").replace("&gt;", ">")
    assert "<i>Chur" not in page


def test_the_models_page_goes_on_behind_a_leaf(client, many, monkeypatch):
    monkeypatch.setattr("service.dashboard.learned.LEAVES", 2)
    expected = [(str(leaf["leaf"]), str(leaf["rows"])) for leaf in _pages(client, 200)]
    found, path = [], "/models/many"
    while path is not None:
        page = client.get(path).text
        found += _leaf_rows(page)
        following = re.search(r'<p class="more"><a href="([^"]*leaves=\d+[^"#]*)#leaves-title"', page)
        path = None if following is None else following[1]
    assert found == expected
    assert client.get("/models/many?leaves=x").status_code == 404
    assert client.get("/models/many?leaves=9999").status_code == 422


def test_the_models_page_is_there_without_the_models_file(client, many, context):
    [file] = context.settings.home.rglob("model.safetensors")
    file.unlink()
    context.predictor.forget(many)
    page = client.get("/models/many")
    assert page.status_code == 200
    assert "The model's file is damaged or gone" in page.text
    assert _leaf_rows(page.text) == []


def test_the_card_says_where_the_leaves_are(client, many, model):
    assert f"`GET /v1/models/{many}/leaves`" in client.get("/v1/models/many/card").text
    assert "/leaves`" not in client.get("/v1/models/prices/card").text
