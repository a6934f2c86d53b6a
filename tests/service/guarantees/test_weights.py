"""Rows and classes have weights: a whole number is so many copies of the row, 0 is none, wherever rows are used."""

import io
import json
import re
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient
from support.inline import fitted_model, run_job

from service.client import flows
from service.jobs import weight_checks
from service.jobs.planning import plan
from service.runtime.context import Context
from worker.contracts.errors import InvalidRequest
from worker.contracts.requests import FitRequest
from worker.estimators import FactRFMClassifier, FactRFMRegressor
from worker.serving.model import ServedModel
from worker.store.files.safetensors_io import unpack

ROWS = 60
SPEC = {"iterations": 2, "encoding": "plain", "feature_matrix": "full", "exponent": 1.3, "ridge": 0.1}
SAME = {"rtol": 1e-8, "atol": 1e-8}
TARGETS = ("y", "kind")


def _table(rows: int = ROWS, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"a": rng.normal(size=rows), "b": rng.integers(0, 6, rows) / 4})
    frame["town"] = rng.choice(["Bern", "Basel", "Chur"], rows)
    frame["gap"] = np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows))
    frame["test"] = rng.random(rows) < 0.3
    frame["w"] = rng.integers(0, 4, rows)
    frame["y"] = frame["a"] ** 2 + (frame["town"] == "Bern") + 0.1 * rng.normal(size=rows)
    frame["kind"] = np.where(frame["y"] > 1, "high", "low")
    return frame


def _copied(frame: pd.DataFrame, weights: Any = None) -> pd.DataFrame:
    """Return the rows as often as their weights say, in another order."""
    rows = np.repeat(np.arange(len(frame)), frame["w"] if weights is None else weights)
    return frame.iloc[np.random.default_rng(1).permutation(rows)].drop(columns="w")


def _upload(client: TestClient, frame: pd.DataFrame) -> str:
    answer = client.post("/v1/datasets", content=frame.to_csv(index=False), headers={"Content-Type": "text/csv"})
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


def _body(client: TestClient, frame: pd.DataFrame, target: str = "y", **more: Any) -> dict[str, Any]:
    other = "kind" if target == "y" else "y"
    body = {"kind": "fit", "dataset": _upload(client, frame), "target": target, "exclude": [other], "spec": SPEC}
    return {**body, "validation": {"column": "test"}, **more}


def _served(client: TestClient, model: dict[str, Any]) -> ServedModel:
    return ServedModel.from_tensors(*unpack(client.get(f"/v1/models/{model['id']}/export").content))


def _answers(client: TestClient, model: dict[str, Any]) -> np.ndarray:
    rows = _table(25, seed=9)[["a", "b", "town", "gap"]]
    answer = client.post(
        f"/v1/models/{model['id']}/predict", content=rows.to_csv(index=False), headers={"Content-Type": "text/csv"}
    ).json()
    return np.array(answer["probabilities"] or answer["predictions"])


def _figures(line: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in line.items() if name.startswith(("train_", "validation_"))}


def _assert_same(client: TestClient, weighted: dict[str, Any], copied: dict[str, Any]) -> None:
    np.testing.assert_allclose(_answers(client, weighted), _answers(client, copied), **SAME)
    assert weighted["metrics"] == pytest.approx(copied["metrics"], rel=1e-8, abs=1e-9)
    assert (weighted["iteration"], weighted["ridge"]) == (copied["iteration"], copied["ridge"])
    assert [column["name"] for column in weighted["features"]] == [column["name"] for column in copied["features"]]
    assert weighted["weightless_rows"] == (_table()["w"] == 0).sum()
    own, other = (client.get(f"/v1/models/{model['id']}/features").json()["importance"] for model in (weighted, copied))
    shares = {one["feature"]: one["share"] for one in other}
    assert {one["feature"]: one["share"] for one in own} == pytest.approx(shares, abs=1e-6)
    own, other = (
        client.get(f"/v1/models/{model['id']}/features/history").json()["items"] for model in (weighted, copied)
    )
    for line, copies in zip(own, other, strict=True):
        assert line["metrics"] == pytest.approx(copies["metrics"], rel=1e-8, abs=1e-9)


WAYS: tuple[dict[str, Any], ...] = ({"spec": {**SPEC, "ridge": "auto"}}, {"validation": None})
"""Rows to validate on are marked, or there are none."""


@pytest.mark.parametrize("target", TARGETS)
def test_a_fit_with_weights_is_one_of_copied_rows(client: TestClient, run_job: Any, target: str) -> None:
    for more in WAYS:
        table = _table().drop(columns=["test"] if "validation" in more else [])
        weighted = fitted_model(client, run_job, _body(client, table, target, weights="w", **more))
        _assert_same(client, weighted, fitted_model(client, run_job, _body(client, _copied(table), target, **more)))
        assert (weighted["weights"], weighted["class_weight"]) == ("w", None)


@pytest.mark.parametrize("told", [True, False])
def test_rows_of_a_validation_dataset_have_the_weights_that_it_tells(
    client: TestClient, run_job: Any, told: bool
) -> None:
    table, held = _table().drop(columns="test"), _table(30, seed=3).drop(columns="test")
    sent = held if told else held.drop(columns="w")
    judges = {"validation": {"dataset": _upload(client, sent)}}
    weighted = fitted_model(client, run_job, _body(client, table, weights="w", **judges))
    copies = {"validation": {"dataset": _upload(client, _copied(held) if told else sent)}}
    _assert_same(client, weighted, fitted_model(client, run_job, _body(client, _copied(table), **copies)))
    planned = client.post("/v1/jobs?dry_run=true", json=_body(client, table, weights="w", **judges)).json()
    assert any("no column 'w': each of its rows counts once" in note for note in planned["remarks"]) is not told


def test_weights_of_classes_multiply_those_of_rows(client: TestClient, run_job: Any) -> None:
    for weights, class_weight, times in (
        ("w", {"high": 3}, {"high": 3, "low": 1}),
        (None, {"low": 2, "high": 1}, {"high": 1, "low": 2}),
    ):
        table = _table() if weights else _table().assign(w=1)
        body = _body(client, table if weights else table.drop(columns="w"), "kind", class_weight=class_weight)
        weighted = fitted_model(client, run_job, {**body, "weights": weights})
        copied = _copied(table, table["w"] * table["kind"].map(times))
        other = fitted_model(client, run_job, _body(client, copied, "kind"))
        np.testing.assert_allclose(_answers(client, weighted), _answers(client, other), **SAME)
        assert weighted["metrics"] == pytest.approx(other["metrics"], rel=1e-8, abs=1e-9)
        assert weighted["class_weight"] == class_weight


@pytest.mark.parametrize("target", TARGETS)
def test_a_fit_with_weights_is_that_of_the_estimator(client: TestClient, run_job: Any, target: str) -> None:
    table = _table().drop(columns="test")
    fields = {} if target == "y" else {"class_weight": "balanced"}
    body = _body(client, table, target, weights="w", validation={"fraction": 0.2}, **fields)
    model = fitted_model(client, run_job, body)
    kind = FactRFMRegressor if target == "y" else FactRFMClassifier
    estimator = kind(**SPEC, **fields).fit(table[["a", "b", "town", "gap"]], table[target], table["w"])
    asked = _table(25, seed=9)[["a", "b", "town", "gap"]]
    expected = estimator.predict(asked) if target == "y" else estimator.predict_proba(asked)
    np.testing.assert_allclose(_answers(client, model), expected, **SAME)
    assert model["metrics"] == pytest.approx(_figures(estimator.history_[model["iteration"]]), rel=1e-8, abs=1e-9)
    assert model["refitted"]


def test_rows_of_weight_0_are_as_if_not_there(client: TestClient, run_job: Any) -> None:
    table, rng = _table(), np.random.default_rng(2)
    table["w"] = rng.choice([0, 1], ROWS)
    odd = table.assign(
        kind=np.where(table["w"] == 0, "never", table["kind"]), town=np.where(table["w"] == 0, "Genf", table["town"])
    )
    for validation in ({"fraction": 0.2}, {"group": "b", "folds": 2}, {"time": "b", "fraction": 0.3}):
        there = table[table["w"] == 1].drop(columns="w")
        odd, there = (frame.drop(columns="test", errors="ignore") for frame in (odd, there))
        weighted = fitted_model(client, run_job, _body(client, odd, "kind", weights="w", validation=validation))
        absent = fitted_model(client, run_job, _body(client, there, "kind", validation=validation))
        np.testing.assert_allclose(_answers(client, weighted), _answers(client, absent), **SAME)
        assert weighted["classes"] == ["high", "low"]
        assert weighted["training_rows"] == absent["training_rows"]
        assert weighted["weightless_rows"] == (table["w"] == 0).sum()
        if weighted["validation"] is not None:
            assert weighted["validation"]["mean"] == pytest.approx(absent["validation"]["mean"])


def test_a_class_of_weight_0_is_as_if_not_there(client: TestClient, run_job: Any) -> None:
    table = _table().drop(columns=["test", "w"])
    table.loc[:5, "kind"] = "odd"
    held = table.head(30)
    body = _body(client, table, "kind", validation={"dataset": _upload(client, held)}, class_weight={"odd": 0})
    weighted = fitted_model(client, run_job, body)
    known = {"validation": {"dataset": _upload(client, held[held["kind"] != "odd"])}}
    absent = fitted_model(client, run_job, _body(client, table[table["kind"] != "odd"], "kind", **known))
    assert weighted["classes"] == ["high", "low"]
    assert weighted["weightless_rows"] == 6
    np.testing.assert_allclose(_answers(client, weighted), _answers(client, absent), **SAME)
    assert weighted["metrics"] == pytest.approx(absent["metrics"])


@pytest.mark.parametrize("kind", ["fit", "tune"])
def test_each_fold_takes_the_weights_of_its_rows(client: TestClient, context: Context, kind: str) -> None:
    table = _table().drop(columns="test")
    table["patient"] = np.arange(ROWS) % 4
    # as many rows in every group, copied or not, and in the same order, so that the folds are the same
    table["w"] = 1 + (np.arange(ROWS) // 4) % 3
    copies = table.loc[np.repeat(np.arange(ROWS), table["w"])].drop(columns="w")
    more: dict[str, Any] = {"kind": kind, "validation": {"group": "patient", "folds": 2}}
    if kind == "tune":
        more["search"] = {"trials": 2, "space": {"ridge": {"choices": [0.1, 1]}}}
    copied = fitted_model(client, partial(run_job, context), _body(client, copies, **more))
    # folds of a fit are parts where they take longer
    for part_seconds in (None, 0.0) if kind == "fit" else (None,):
        run = partial(run_job, context, part_seconds=part_seconds)
        weighted = fitted_model(client, run, _body(client, table, weights="w", **more))
        np.testing.assert_allclose(_answers(client, weighted), _answers(client, copied), **SAME)
        assert weighted["validation"]["mean"] == pytest.approx(copied["validation"]["mean"], rel=1e-8)
        assert weighted["validation"]["folds"][0] == pytest.approx(copied["validation"]["folds"][0], rel=1e-8)


def test_short_runs_that_choose_take_weights(client: TestClient, run_job: Any) -> None:
    """Rows of the smallest weight that there is say nothing, though there are many and they are all wrong."""
    table = _table(150)
    wrong = table.sample(300, replace=True, random_state=0)
    wrong["y"] = np.random.default_rng(4).normal(size=300) * 50
    table = pd.concat([table.assign(w=1.0), wrong.assign(w=1e-9)])
    body = _body(client, table, validation={"fraction": 0.2}, weights="w", spec={"iterations": 1})
    fitted = fitted_model(client, run_job, body)
    assert min(run["loss"] for run in fitted["choices"]) < 0.5
    searched = fitted_model(client, run_job, {**body, "kind": "tune", "search": {"trials": 1}})
    [first] = client.get(f"/v1/jobs/{searched['job']}/result").json()["trials"]
    chosen = {name: fitted["spec"][name] for name in ("ridge", "exponent", "feature_matrix", "encoding")}
    assert chosen.items() <= first["params"].items()
    assert searched["metrics"]["validation_r2"] > 0.5


def test_predictions_need_no_weights_and_ignore_them(client: TestClient, run_job: Any) -> None:
    table = _table()
    model = fitted_model(client, run_job, _body(client, table, weights="w"))
    assert "w" not in [column["name"] for column in model["features"]]
    rows = table.head(5)
    headers = {"Content-Type": "text/csv"}
    for sent in (rows, rows.drop(columns=["w", "y"]), rows.assign(w="no weight", y="no target")):
        content = sent.to_csv(index=False)
        answer = client.post(f"/v1/models/{model['id']}/predict", content=content, headers=headers)
        assert answer.status_code == 200, answer.text
    answer = client.post("/v1/datasets", content=rows.assign(w="x").to_csv(index=False), headers=headers).json()
    job = client.post("/v1/jobs", json={"kind": "predict", "model": model["id"], "dataset": answer["id"]}).json()
    run_job(job["id"])
    assert client.get(f"/v1/jobs/{job['id']}").json()["state"] == "succeeded"


def test_the_card_says_the_weights_and_how_to_make_the_model_again(client: TestClient, run_job: Any) -> None:
    body = _body(client, _table(), "kind", weights="w", class_weight={"high": 2})
    model = fitted_model(client, run_job, body)
    card = client.get(f"/v1/models/{model['id']}/card").text
    assert "Rows have the weights of column w" in card
    assert "high 2" in card
    assert '"weights": "w"' in card
    assert '"class_weight": {' in card
    assert f"{model['weightless_rows']} rows of weight 0" in card


def test_jobs_of_before_are_stored_as_they_were(client: TestClient) -> None:
    plain = client.post("/v1/jobs", json=_body(client, _table())).json()
    assert not {"weights", "class_weight"} & plain["request"].keys()
    nulls = client.post("/v1/jobs", json=_body(client, _table(), weights=None, class_weight=None)).json()
    assert {**nulls["request"], "model": ""} == {**plain["request"], "model": ""}


def _wrong(w: Any) -> pd.DataFrame:
    return _table(20).assign(w=w)


BAD: dict[str, tuple[Any, dict[str, Any], str, tuple[str, ...]]] = {
    "unknown": (1, {"weights": "v"}, "/weights", ("no column 'v'",)),
    "target": (1, {"weights": "y"}, "/weights", ("'y'", "target")),
    "texts": ("many", {"weights": "town"}, "/weights", ("'town'", "categorical")),
    "booleans": (1, {"weights": "test", "validation": None}, "/weights", ("'test'", "boolean")),
    "a feature too": (1, {"weights": "w", "features": ["a", "w"]}, "/features/1", ("'w'", "weights")),
    "negative": ([1.0] * 12 + [-2.5] + [1.0] * 7, {"weights": "w"}, "/weights", ("-2.5", "row 13", "at least 0")),
    "missing": ([1] * 6 + [None] + [1] * 13, {"weights": "w"}, "/weights", ("'w'", "row 7")),
    "infinite": ([1] * 19 + [np.inf], {"weights": "w"}, "/weights", ("'w'",)),
    "huge": ([1] * 19 + [1e300], {"weights": "w"}, "/weights", ("1e+300",)),
    "all 0": (0, {"weights": "w"}, "/weights", ("'w'", "0")),
    "empty name": (1, {"weights": ""}, "/weights", ()),
    "a number": (1, {"weights": 3}, "/weights", ()),
    "classes of a regression": (1, {"class_weight": "balanced"}, "/class_weight", ("regression",)),
    "labels of a regression": (1, {"class_weight": {"high": 2}}, "/class_weight", ("regression",)),
    "another word": (1, {"target": "kind", "class_weight": "equal"}, "/class_weight", ("balanced",)),
    "unknown label": (1, {"target": "kind", "class_weight": {"hihg": 2}}, "/class_weight/hihg", ("mean 'high'",)),
    "a negative class": (1, {"target": "kind", "class_weight": {"low": -1}}, "/class_weight/low", ("-1",)),
    "no class": (1, {"target": "kind", "class_weight": {}}, "/class_weight", ()),
    "one class left": (1, {"target": "kind", "class_weight": {"low": 0}}, "/class_weight", ("two classes",)),
    "a label twice": (1, {"target": "test", "class_weight": {"true": 2, "True": 3}}, "/class_weight/True", ("same",)),
    "by blocks": (1, {"weights": "w", "spec": {"solver": "blocks"}}, "/spec/solver", ("'blocks'", "weights")),
    "by gradients": (1, {"weights": "w", "spec": {"solver": "cg"}}, "/spec/solver", ("'cg'", "weights")),
    "classes by blocks": (
        1, {"target": "kind", "class_weight": "balanced", "spec": {"solver": "blocks"}}, "/spec/solver", ("'blocks'",)
    ),
    "network": (1, {"kind": "network", "weights": "w", "spec": {}}, "/weights", ("network",)),
    "classes of a network": (
        1, {"kind": "network", "target": "kind", "class_weight": "balanced", "spec": {}}, "/class_weight", ("network",)
    ),
}  # fmt: skip


def test_wrong_weights_are_refused_before_the_job(client: TestClient) -> None:
    for case, (w, fields, pointer, says) in BAD.items():
        validation = {"validation": {"fraction": 0.2}}
        answer = client.post("/v1/jobs", json={**_body(client, _wrong(w)), **validation, **fields})
        assert answer.status_code == 422, (case, answer.text)
        errors = [error for error in answer.json()["errors"] if error["pointer"] == pointer]
        assert errors, (case, answer.text)
        assert all(word in errors[0]["message"] for word in says), (case, errors)


@pytest.mark.parametrize("kind", ["fit", "tune"])
def test_wrong_weights_of_a_validation_dataset_are_refused(client: TestClient, kind: str) -> None:
    for w in (-1, "many", np.inf):
        other = _upload(client, _wrong([1] * 19 + [w]))
        body = {**_body(client, _wrong(1), weights="w", validation={"dataset": other}), "kind": kind}
        answer = client.post("/v1/jobs", json=body)
        assert answer.status_code == 422, answer.text
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/validation/dataset"]


def _declared(client: TestClient, frame: pd.DataFrame, name: str) -> str:
    """Upload a table whose column ``name`` is declared as categories."""
    content = io.BytesIO()
    frame.assign(**{name: frame[name].astype(str).astype("category")}).to_parquet(content)
    headers = {"Content-Type": "application/vnd.apache.parquet"}
    return str(client.post("/v1/datasets", content=content.getvalue(), headers=headers).json()["id"])


def test_texts_that_are_weights_are_read_so_and_the_job_names_a_wrong_one(client: TestClient, run_job: Any) -> None:
    table = _table()
    plain = fitted_model(client, run_job, _body(client, table, weights="w"))
    body = _body(client, table, weights="w", columns={"w": "numeric"})
    same = fitted_model(client, run_job, {**body, "dataset": _declared(client, table, "w")})
    np.testing.assert_array_equal(_answers(client, same), _answers(client, plain))
    refused = client.post("/v1/jobs", json={**body, "dataset": _declared(client, table, "w"), "columns": {}})
    assert refused.json()["errors"][0]["pointer"] == "/weights"
    table["w"] = table["w"].astype(object)
    for wrong in ("-2", "many"):
        table.loc[7, "w"] = wrong
        answer = client.post("/v1/jobs", json={**body, "dataset": _declared(client, table, "w")})
        if answer.status_code == 422:
            error = answer.json()["errors"][0]
            assert (error["pointer"], wrong) == ("/columns/w", "many")
            continue
        with pytest.raises(InvalidRequest, match=r"column 'w' has the weight -2 in row 8; give each row a number"):
            run_job(answer.json()["id"])


def test_what_is_not_looked_at_before_a_long_job_fails_it_with_a_reason(
    client: TestClient, run_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_checks, "MAX_CELLS", 10)
    for label, says in (("hihg", "no label 'hihg'; did you mean 'high'"), ("high", None)):
        answer = client.post("/v1/jobs", json=_body(client, _table(), "kind", class_weight={label: 2}))
        assert answer.status_code == 202
        if says is None:
            run_job(answer.json()["id"])
        else:
            with pytest.raises(InvalidRequest, match=says):
                run_job(answer.json()["id"])


def test_a_row_without_a_target_needs_no_weight(client: TestClient, run_job: Any) -> None:
    table = _table()
    table.loc[3:9, ["y", "w"]] = None
    plain = fitted_model(client, run_job, _body(client, table.drop(index=range(3, 10)), weights="w"))
    model = fitted_model(client, run_job, _body(client, table, weights="w", columns={"w": "ignore"}))
    np.testing.assert_array_equal(_answers(client, model), _answers(client, plain))
    assert model["dropped_rows"] == 7
    table.loc[20, "w"] = None
    answer = client.post("/v1/jobs", json=_body(client, table, weights="w"))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/weights")


@pytest.mark.parametrize("target", TARGETS)
def test_a_weight_that_the_validation_dataset_lacks_is_one_of_it(client: TestClient, run_job: Any, target: str) -> None:
    table = _table().drop(columns="test")
    held = table.head(30).copy()
    held.loc[5, "w"], held.loc[9, target] = None, None
    judges = {"validation": {"dataset": _upload(client, held)}}
    answer = client.post("/v1/jobs", json=_body(client, table, target, weights="w", **judges))
    with pytest.raises(InvalidRequest, match="column 'w' has no weight in row 6") as refused:
        run_job(answer.json()["id"])
    assert [error.pointer for error in refused.value.errors] == ["/validation/dataset"]


def test_too_few_rows_of_a_weight_above_0_are_refused(client: TestClient, run_job: Any) -> None:
    few = _body(client, _table().assign(w=[1, 1] + [0] * (ROWS - 2)), weights="w", validation={"fraction": 0.2})
    alike = _table().assign(w=lambda frame: (frame["kind"] == "low") * 1)
    for body, says in ((few, "2 rows, and 58 of weight 0"), (_body(client, alike, "kind", weights="w"), "one value")):
        with pytest.raises(InvalidRequest, match=says):
            run_job(client.post("/v1/jobs", json=body).json()["id"])


@pytest.mark.parametrize("key", ["1", "1.0"])
def test_labels_that_are_numbers_are_named_by_their_text(client: TestClient, run_job: Any, key: str) -> None:
    table = _table().assign(kind=lambda frame: (frame["y"] > 1).astype(float)).drop(columns="w")
    more = {"task": "classification", "class_weight": {key: 2}}
    weighted = fitted_model(client, run_job, _body(client, table, "kind", **more))
    copied = _copied(table.assign(w=1), 1 + table["kind"].astype(int))
    other = fitted_model(client, run_job, _body(client, copied, "kind", task="classification"))
    np.testing.assert_allclose(_answers(client, weighted), _answers(client, other), **SAME)
    assert weighted["classes"] == [0, 1]


def test_a_solver_that_is_open_never_becomes_blocks(client: TestClient, context: Context) -> None:
    settings = context.settings.model_copy(update={"blocks_rows": 30})
    for fields, solver in (({"weights": "w"}, "auto"), ({}, "blocks")):
        request = FitRequest(**_body(client, _table(), **fields))
        planned = plan(replace(context, settings=settings), request).dry_run
        assert planned.request["spec"]["solver"] == solver
        assert any("solved at once" in note for note in planned.remarks) is (solver == "auto")


def test_the_form_of_a_job_repeats_its_weights_and_the_page_of_a_model_says_them(
    client: TestClient, run_job: Any
) -> None:
    model = fitted_model(client, run_job, _body(client, _table(), "kind", weights="w", class_weight={"high": 2}))
    form = client.get(f"/jobs/new?like={model['job']}").text
    assert re.search(r'data-pointer="/weights".*<option value="w" selected>', form)
    assert re.search(r'data-pointer="/class_weight"[^>]* value="high=2"', form)
    page = client.get(f"/models/{model['id']}").text
    assert "<dt>Weights of rows</dt><dd>w</dd>" in page
    assert "<dt>Weights of classes</dt><dd>high=2</dd>" in page
    network = client.get(f"/jobs/new?dataset={model['dataset']}&kind=network").text
    assert "/weights" not in network


def test_labels_of_numpy_are_labels_of_a_request() -> None:
    options = {"class_weight": dict(zip(np.unique([3, 1]), [0.5, 2.0], strict=True)), "weights": "w"}
    flow = flows.train(FitRequest, "ds_01jd0000000000000000000000", "y", options, None, None)
    assert json.loads(json.dumps(next(flow).json))["class_weight"] == {"1": 0.5, "3": 2.0}
