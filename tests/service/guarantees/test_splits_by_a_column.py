"""Groups, moments and marks split rows: nothing of a group, of the future or of marked rows trains what they judge."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from starlette.testclient import TestClient

from worker.runs.blocks import streamed_rows
from worker.serving.model import ServedModel
from worker.store.files.safetensors_io import unpack

ROWS = 260
SPEC = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "exponent": 1, "refit": False}
BLOCKS = {**SPEC, "solver": "blocks", "blocks": {"rows": 100, "learn": 2, "leaf": 100}}


def _table(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.uniform(-1, 1, (rows, 2)), columns=list("ab"))
    frame["team"] = rng.choice(["red", "green", "blue", "", "white", "black"], rows)
    days = rng.integers(0, 60, rows)
    frame["day"] = pd.Series(np.datetime64("2025-12-01") + days).dt.strftime("%Y-%m-%d")
    frame["hour"] = days * 24.0
    frame["test"] = np.where(rng.random(rows) < 0.3, "true", "false")
    frame["y"] = np.round(np.sin(3 * frame["a"]) + frame["b"], 6)
    frame["kind"] = np.where(frame["y"] > 0, "high", "low")
    frame["y"] = frame["y"].astype(str)
    frame.loc[rng.permutation(rows)[:20], ["y", "kind"]] = ""
    return frame


def _upload(client: TestClient, frame: pd.DataFrame) -> str:
    answer = client.post("/v1/datasets", content=frame.to_csv(index=False), headers={"Content-Type": "text/csv"})
    assert answer.status_code in (200, 201), answer.text
    return str(answer.json()["id"])


def _trained(client: TestClient, run_job: Any, body: dict[str, Any]) -> tuple[dict[str, Any], set[int]]:
    """Return the model, and the numbers of the rows that have trained it."""
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    run_job(answer.json()["id"])
    job = client.get(f"/v1/jobs/{answer.json()['id']}").json()
    assert job["state"] == "succeeded", job["error"]
    served = ServedModel.from_tensors(*unpack(client.get(f"/v1/models/{job['model']}/export").content))
    assert served.origin is not None
    return client.get(f"/v1/models/{job['model']}").json(), set(served.origin.numbers.tolist())


WAYS = {
    "group": {"group": "team", "fraction": 0.3},
    "text of time": {"time": "day", "fraction": 0.2},
    "number of time": {"time": "hour", "fraction": 0.2},
    "marks": {"column": "test"},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("target", "spec"), [("y", SPEC), ("kind", BLOCKS)], ids=["at once", "by blocks"])
def test_no_row_that_judges_is_of_what_trains(
    client: TestClient, run_job: Any, monkeypatch: pytest.MonkeyPatch, way: str, target: str, spec: dict[str, Any]
) -> None:
    monkeypatch.setattr(streamed_rows, "ROW_GROUP", 37)
    table, validation = _table(), WAYS[way]
    other = "kind" if target == "y" else "y"
    body = {"kind": "fit", "dataset": _upload(client, table), "target": target, "exclude": [other], "spec": spec}
    model, trained = _trained(client, run_job, {**body, "validation": validation})
    told = table.index[table[target] != ""]
    judging = set(told) - trained
    assert trained <= set(told)
    trains, judges = table.loc[sorted(trained)], table.loc[sorted(judging)]
    features = {column["name"] for column in model["features"]}
    if way == "group":
        assert not set(trains["team"]) & set(judges["team"])
        assert "team" not in features
    elif way == "marks":
        assert set(judges["test"]) == {"true"}
        assert set(trains["test"]) == {"false"}
        assert "test" not in features
    else:
        assert trains[validation["time"]].max() < judges[validation["time"]].min()
        assert validation["time"] in features
    if way != "marks":
        assert abs(len(judging) / len(told) - float(validation["fraction"])) < 0.12
    assert model["dropped_rows"] == 20
    assert any(name.startswith("validation_") for name in model["metrics"])


@pytest.mark.parametrize("spec", [SPEC, BLOCKS], ids=["at once", "by blocks"])
@pytest.mark.parametrize("written", ["%d.%m.%Y", "%m/%d/%Y", "%Y-%m-%dT%H:%M:%S+02:00"])
def test_the_latest_rows_judge_however_times_are_written_and_whether_or_not_they_are_learned_from(
    client: TestClient, run_job: Any, written: str, spec: dict[str, Any]
) -> None:
    table = _table()
    days = pd.to_datetime(table["day"])
    dataset = _upload(client, table.assign(day=days.dt.strftime(written)))
    body = {"kind": "fit", "dataset": dataset, "target": "y", "spec": spec}
    for unread in (["kind"], ["kind", "day"]):
        validation = {"time": "day", "fraction": 0.2}
        _, trained = _trained(client, run_job, {**body, "exclude": unread, "validation": validation})
        judging = set(table.index[table["y"] != ""]) - trained
        assert days[sorted(trained)].max() < days[sorted(judging)].min()


def test_marked_rows_do_not_join_the_last_solve_and_rows_of_groups_do(client: TestClient, run_job: Any) -> None:
    body = {"kind": "fit", "dataset": _upload(client, _table()), "target": "y", "exclude": ["kind"]}
    spec = {**SPEC, "refit": True}
    for way, refitted in (("marks", False), ("group", True), ("text of time", True)):
        model, trained = _trained(client, run_job, {**body, "spec": spec, "validation": WAYS[way]})
        assert model["refitted"] is refitted
        assert (len(trained) == ROWS - 20) is refitted


@pytest.mark.parametrize("kind", ["fit", "tune"])
def test_the_model_has_the_figures_of_every_fold_of_groups(client: TestClient, run_job: Any, kind: str) -> None:
    body = {"kind": kind, "dataset": _upload(client, _table()), "target": "y", "exclude": ["kind"], "spec": SPEC}
    search = {"search": {"trials": 1}} if kind == "tune" else {}
    model, _ = _trained(client, run_job, {**body, **search, "validation": {"group": "team", "folds": 3}})
    figures = model["validation"]
    assert len(figures["folds"]) == 3
    for name, mean in figures["mean"].items():
        values = [fold[name] for fold in figures["folds"]]
        assert mean == pytest.approx(np.mean(values))
        assert figures["deviation"][name] == pytest.approx(np.std(values, ddof=1))
    assert {"validation_rmse", "validation_r2"} <= figures["mean"].keys()
    assert "| validation_rmse" in client.get(f"/v1/models/{model['id']}/card").text.split("Of 3 folds")[1]


def test_a_model_without_folds_has_no_figures_of_them(client: TestClient, model: dict[str, Any]) -> None:
    assert model["validation"] is None


def test_a_network_is_measured_on_marked_rows(client: TestClient, run_job: Any) -> None:
    body = {"kind": "network", "dataset": _upload(client, _table()), "target": "y", "exclude": ["kind"]}
    spec = {"hidden": [3], "steps": 5}
    job = client.post("/v1/jobs", json={**body, "spec": spec, "validation": WAYS["marks"]}).json()["id"]
    run_job(job)
    report = client.get(f"/v1/jobs/{job}/result").json()
    table = _table()
    assert report["rows"] == ((table["test"] == "false") & (table["y"] != "")).sum()
    assert "test" not in {name.split("=")[0] for name in report["features"]}


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "unknown column": ({"group": "tean", "fraction": 0.2}, {}, "/validation/group", "'tean'"),
    "group without a share": ({"group": "team"}, {}, "/validation", "fraction or folds with group"),
    "time with folds": ({"time": "day", "folds": 3}, {}, "/validation", "fraction with time"),
    "time and group": ({"time": "day", "group": "team", "fraction": 0.2}, {}, "/validation", "fraction with time"),
    "column and share": ({"column": "test", "fraction": 0.2}, {}, "/validation", "exactly one"),
    "group of a dataset": ({"group": "team", "dataset": "ds_01jd0000000000000000000000"}, {}, "/validation", "group"),
    "target": ({"group": "y", "fraction": 0.2}, {}, "/validation/group", "the target"),
    "feature": ({"group": "team", "fraction": 0.2}, {"features": ["a", "team"]}, "/features/1", "splits the rows"),
    "marks feature": ({"column": "test"}, {"features": ["test", "a"]}, "/features/0", "splits the rows"),
    "few groups": ({"group": "team", "folds": 9}, {}, "/validation/group", "6 groups; at least 9"),
    "one group": ({"group": "same", "fraction": 0.5}, {}, "/validation/group", "1 groups; at least 2"),
    "no time": (
        {"time": "gap", "fraction": 0.2},
        {},
        "/validation/time",
        "30 rows without a time, the first in row 31",
    ),
    "no date": ({"time": "word", "fraction": 0.2}, {}, "/validation/time", "'x', which is no time"),
    "one time": ({"time": "same", "fraction": 0.2}, {}, "/validation/time", "one time only"),
    "truth as time": ({"time": "test", "fraction": 0.2}, {}, "/validation/time", "boolean"),
    "words as marks": ({"column": "word"}, {}, "/validation/column", "true and false"),
    "numbers as marks": ({"column": "hour"}, {}, "/validation/column", "true and false"),
    "no mark": ({"column": "never"}, {}, "/validation/column", "no row"),
    "all marked": ({"column": "always"}, {}, "/validation/column", "every row"),
    "by blocks": ({"group": "team", "folds": 3}, {"spec": BLOCKS}, "", "not on folds"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_split_that_cannot_be_is_refused_at_its_place(client: TestClient, name: str) -> None:
    validation, changes, pointer, words = BAD[name]
    frame = _table(60).assign(same="one", word="x", never="false", always=1, gap=[*range(30), *[""] * 30])
    frame.loc[3, "word"] = "y"
    body = {"kind": "fit", "dataset": _upload(client, frame), "target": "y", "validation": validation, **changes}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 422, answer.text
    [error] = answer.json()["errors"]
    assert error["pointer"] == pointer
    assert words in error["message"]


@pytest.mark.parametrize(
    ("column", "validation", "words"),
    [
        (["2026-01-01", "2026-01-02", "nonsense"], {"time": "s", "fraction": 0.3}, "'nonsense' in row 183"),
        (["2026-01-01", "2026-01-02", ""], {"time": "s", "fraction": 0.3}, "no time in row 183"),
        (["true", "true", ""], {"column": "s"}, "every row"),
        (["a", "a", "b"], {"group": "s", "fraction": 0.3}, "1 groups"),
    ],
)
def test_what_only_the_rows_tell_is_said_of_their_column(
    client: TestClient, run_job: Any, column: list[str], validation: dict[str, Any], words: str
) -> None:
    """Statistics do not tell of rare cells, nor of those beside a target."""
    later = [f"2026-03-{day % 28 + 1:02} 0{day // 28}:00" for day in range(60)]
    cells = [*column[:2] * 91, column[2], *(later * 2 if "time" in validation else [column[2]] * 120)]
    frame = pd.DataFrame({"a": range(303), "s": cells, "y": [str(row / 2) for row in range(303)]})
    frame.loc[range(182, 303) if "time" not in validation else [5], "y"] = ""
    body = {"kind": "fit", "dataset": _upload(client, frame), "target": "y", "validation": validation, "spec": SPEC}
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    with pytest.raises(Exception, match=words) as raised:
        run_job(answer.json()["id"])
    assert type(raised.value).__name__ == "InvalidRequest"


@pytest.mark.parametrize("way", WAYS)
def test_the_form_of_a_job_like_another_splits_alike(client: TestClient, way: str) -> None:
    body = {"kind": "fit", "dataset": _upload(client, _table(60)), "target": "y", "missing_target": "drop"}
    job = client.post("/v1/jobs", json={**body, "validation": WAYS[way]}).json()
    page = client.get(f"/jobs/new?like={job['id']}").text
    [(by, column)] = [(name, given) for name, given in WAYS[way].items() if name != "fraction"]
    shown = page.split(f'id="validation-{by}"')[1].split("</select>")[0]
    assert f'<option selected value="{column}">' in shown
    assert f'<option value="{"fraction" if by == "group" else by}" selected>' in page
    assert client.get(f"/jobs/{job['id']}").status_code == 200
