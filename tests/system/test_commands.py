"""The command line against the real system, as a person would type it."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from support.processes import REPOSITORY, System

FAST = ["--set", "iterations=1", "--set", "encoding=plain", "--set", "feature_matrix=full", "--set", "exponent=1"]


class Terminal:
    """Runs ``factrfm`` with the environment of a person who has named the service once."""

    def __init__(self, system: System, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "PYTHONPATH": str(REPOSITORY),
            "FACTRFM_URL": f"http://127.0.0.1:{system.port}",
            "COLUMNS": "200",
        }

    def __call__(self, *arguments: str, code: int = 0, given: bytes = b"", **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments],
            input=given,
            capture_output=True,
            cwd=self.folder,
            env=self.environment | environment,
            timeout=100,
        )
        self.errors = done.stderr.decode()
        assert done.returncode == code, (done.returncode, done.stdout.decode(), self.errors)
        assert "Traceback" not in self.errors
        return done.stdout.decode()

    def answered(self, keys: bytes, *arguments: str) -> int:
        """Run a command on a terminal where ``keys`` are typed, and return its exit code."""
        person, screen = pty.openpty()
        os.write(person, keys)
        done = subprocess.run(
            [sys.executable, "-m", "service.cli", *arguments],
            stdin=screen,
            capture_output=True,
            cwd=self.folder,
            env=self.environment,
            timeout=100,
        )
        os.close(person)
        os.close(screen)
        self.errors = done.stderr.decode()
        return done.returncode


@pytest.fixture(scope="module")
def terminal(shared_system: System, tmp_path_factory: pytest.TempPathFactory) -> Terminal:
    folder = tmp_path_factory.mktemp("person")
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"rooms": rng.integers(1, 9, 90), "city": rng.choice(["Bern", "Chur"], 90)})
    frame["price"] = 100.5 * frame["rooms"] + 50 * (frame["city"] == "Bern")
    frame.to_csv(folder / "houses.csv", index=False)
    frame.drop(columns="price").head(5).to_csv(folder / "new.csv", index=False)
    return Terminal(shared_system, folder)


@pytest.fixture(scope="module")
def trained(terminal: Terminal) -> dict[str, object]:
    """A model named houses, made by the command line."""
    made = terminal("fit", "houses.csv", "-t", "price", "-m", "houses", *FAST, "--out", "houses.safetensors", "--json")
    return dict(json.loads(made))


def test_a_file_goes_in_and_a_model_comes_out(terminal: Terminal, trained: dict[str, object]) -> None:
    assert (trained["name"], trained["task"]) == ("houses", "regression")
    assert (terminal.folder / "houses.safetensors").stat().st_size == trained["bytes"]
    assert "houses@1" in terminal("models", "houses")
    assert json.loads(terminal("models", "houses", "--json"))[0]["id"] == trained["id"]


def test_predictions_go_through_pipes_and_files(terminal: Terminal, trained: dict[str, object]) -> None:
    rows = (terminal.folder / "new.csv").read_bytes()
    piped = terminal("predict", "houses", given=rows)
    assert piped == terminal("predict", "houses", "new.csv")
    assert len(piped.splitlines()) == 6
    terminal("predict", "houses", "new.csv", "-o", "answers.parquet")
    assert pq.read_table(terminal.folder / "answers.parquet").column_names == ["price"]
    assert terminal("predict", "houses", given=rows.replace(b"Bern", b"Rom")) != piped
    assert "rows hold categories that no training row had: city (" in terminal.errors
    by_job = terminal("predict", "houses", "new.csv", "--job")
    assert np.allclose(_numbers(by_job), _numbers(piped))
    (terminal.folder / "odd.csv").write_bytes(rows.replace(b"Bern", b"Rom"))
    terminal("predict", "houses", "odd.csv", "--job")
    assert "rows hold categories that no training row had: city (" in terminal.errors
    assert len(json.loads(terminal("predict", "houses", "new.csv", "--json"))) == 5


def test_what_was_learned_is_shown_and_drawn(terminal: Terminal, trained: dict[str, object]) -> None:
    shown = terminal("features", "houses", "--png", "M.png")
    assert "rooms" in shown
    assert "effective rank" in shown
    assert (terminal.folder / "M.png").read_bytes().startswith(b"\x89PNG")
    terminal("export", "houses")
    assert (terminal.folder / "houses-1.safetensors").exists()
    terminal("export", "houses", "--format", "onnx")
    terminal("export", "houses", "-o", "own.onnx")
    assert (terminal.folder / "own.onnx").read_bytes() == (terminal.folder / "houses-1.onnx").read_bytes()
    terminal("export", "houses", "-o", "own.onnx", "--format", "safetensors", code=2)
    terminal("features", "houses", "--png", "own.svg", code=2)
    terminal("features", "houses", "--iteration", "1", code=2)
    assert (terminal.folder / "houses-1.onnx").exists()


def test_what_was_not_learned_and_what_validation_rows_also_chose_are_said(terminal: Terminal) -> None:
    told = terminal("fit", "houses.csv", "-t", "price", "-m", "unlearned", *FAST, "--update", "none")
    assert re.search(r"validation rows +also chose .*ridge", told)
    assert re.search(r"validation rows +also chose .*ridge", terminal("describe", "unlearned"))
    assert "(rows also chose)" in terminal("models", "unlearned")
    assert "share of distance" in terminal("features", "unlearned")
    assert "learned nothing of its columns" in terminal.errors
    assert "rows also chose" in terminal("compare", "unlearned", "unlearned@1")
    assert "learned nothing of its columns" in terminal.errors


def test_which_rows_chose_the_iteration_is_said(terminal: Terminal) -> None:
    terminal("fit", "houses.csv", "-t", "price", "-m", "left-out", *FAST, "--validation", "none")
    told = " ".join(terminal("describe", "left-out").split())
    assert re.search(r"iteration Iteration \d of \d was chosen: it has the least mean squared error", told)
    assert "each left out of the solve in turn" in told
    assert "rows left out also chose ridge, iteration" in told
    assert re.search(r"leave-one-out rmse .*\(rows also chose\)", " ".join(terminal("models", "left-out").split()))
    assert re.search(r"rows left out +left-out@1", terminal("compare", "left-out", "left-out@1"))


def test_weights_of_rows_and_classes_are_said(terminal: Terminal) -> None:
    rows = [f"{k % 7},{['yes', 'no', 'no'][k % 3]},{k % 4}" for k in range(40)]
    (terminal.folder / "weighed.csv").write_text("\n".join(["a,kind,count", *rows]) + "\n")
    weighed = ("fit", "weighed.csv", "-t", "kind", "--weights", "count", *FAST)
    told = terminal(*weighed, "--class-weight", "yes=2")
    assert re.search(r"weights +count", told)
    assert re.search(r"class weights +yes 2; others 1", told)
    assert re.search(r"rows of weight 0 +10", told)
    terminal(*weighed, "--class-weight", "maybe=2", code=2)
    assert "no label 'maybe'" in terminal.errors


def test_of_what_a_request_says_of_a_column_nothing_warns(terminal: Terminal) -> None:
    (terminal.folder / "named.csv").write_text(
        "\n".join(["id,a,y", *(f"K-{k:04d},{k % 7},{k}" for k in range(60))]) + "\n"
    )
    fit = ("fit", "named.csv", "-t", "y", *FAST, "--no-wait")
    terminal(*fit)
    assert "'id' has 60 different texts" in terminal.errors
    terminal(*fit, "--column", "id=categorical")
    assert "different texts" not in terminal.errors


def test_what_is_deleted_is_gone_and_nothing_where_a_version_is_not_named(terminal: Terminal) -> None:
    made = json.loads(terminal("fit", "houses.csv", "-t", "price", "-m", "passing", *FAST, "--json"))
    terminal("delete", made["job"], "passing", code=2)
    assert "'passing' names no version of a model" in terminal.errors
    terminal("delete", "--yes", "passing@1", "passing@2", code=2)
    assert "passing@1 is deleted" in terminal.errors
    assert "passing" not in terminal("models")
    assert json.loads(terminal("delete", made["job"], "--yes", "--json")) == [made["job"]]
    terminal("jobs", made["job"], code=2)


def test_delete_asks_first_and_refuses_where_nobody_can_answer(terminal: Terminal) -> None:
    made = json.loads(terminal("fit", "houses.csv", "-t", "price", "-m", "asked", *FAST, "--json"))
    terminal("delete", made["job"], "asked@1", code=2)
    assert "no terminal to ask on; give --yes" in terminal.errors
    assert "asked@1" in terminal("models")
    assert terminal.answered(b"n\n", "delete", "asked@1") == 1
    assert "Delete asked@1? There is no way back." in terminal.errors
    assert "asked@1" in terminal("models")
    assert terminal.answered(b"y\n", "delete", "asked@1") == 0
    assert "asked@1" not in terminal("models")


def test_predictions_are_explained(terminal: Terminal, trained: dict[str, object]) -> None:
    shown = terminal("explain", "houses", "new.csv", "--neighbours", "2")
    assert shown.count("rooms") == 5
    assert "near row" in shown
    found = json.loads(terminal("explain", "houses", "new.csv", "--json"))
    assert [len(one["neighbours"]) for one in found["items"]] == [3] * 5


def test_models_are_described_promoted_and_compared(terminal: Terminal, trained: dict[str, object]) -> None:
    told = terminal("describe", "houses", "--text", "rents", "--tag", "prod", "--tag", "old")
    assert re.search(r"description +rents", told)
    assert re.search(r"predicts +price", told)
    assert json.loads(terminal("describe", "houses", "--untag", "old", "--json"))["tags"] == ["prod"]
    terminal("fit", "houses.csv", "-t", "price", *FAST, "--model", "houses", "--set", "ridge=1")
    assert "stands for version 1" in terminal("promote", "houses@1")
    assert json.loads(terminal("describe", "houses", "--json"))["version"] == 1
    terminal("promote", "houses", code=2)
    shown = terminal("compare", "houses@1", "houses@2")
    assert "ridge" in shown
    assert "cosine" in shown
    terminal("compare", "houses", code=2)
    terminal("promote", "houses", "--newest")
    assert json.loads(terminal("describe", "houses", "--json"))["version"] == 2


def test_jobs_are_submitted_watched_and_cancelled(terminal: Terminal, trained: dict[str, object]) -> None:
    job = json.loads(terminal("fit", "houses.csv", "-t", "price", *FAST, "--no-wait", "--json"))["id"]
    events = [json.loads(line) for line in terminal("watch", job, "--json").splitlines()]
    assert events[-1]["data"]["state"] == "succeeded"
    assert job in terminal("jobs", "--kind", "fit")
    assert json.loads(terminal("jobs", job, "--json"))["state"] == "succeeded"
    terminal("cancel", job, code=2)
    assert "has ended" in terminal.errors
    (terminal.folder / "jobs.yaml").write_text(
        "base: {kind: fit, dataset: "
        + str(trained["dataset"])
        + ", target: price, spec: {iterations: 0, kernel: laplace}}\ngrid: {spec.ridge: [0.1, 1]}\n"
    )
    batch = json.loads(terminal("batch", "jobs.yaml", "--wait", "--json"))
    assert (batch["total"], batch["counts"]["succeeded"]) == (2, 2)


def test_datasets_are_listed_and_shown(terminal: Terminal, trained: dict[str, object]) -> None:
    (terminal.folder / "small.csv").write_text("a,b\n1,2\n3,4\n")
    made = json.loads(terminal("upload", "small.csv", "--json"))[0]
    listed = [one["id"] for one in json.loads(terminal("datasets", "--json"))]
    assert listed[0] == made["id"]
    assert trained["dataset"] in listed[1:]
    heads, row = terminal("datasets", "--limit", "1").splitlines()
    assert heads.split() == ["id", "name", "rows", "columns", "created"]
    assert row.split()[:4] == [made["id"], "small", "2", "2"]
    assert row.split()[4] == made["created_at"].partition("T")[0]
    assert json.loads(terminal("datasets", made["id"], "--json")) == made
    shown = terminal("datasets", made["id"])
    for column in made["columns"]:
        assert re.search(rf"{re.escape(column['name'])} +{column['type']} +{column['missing']} ", shown), shown
    terminal("datasets", "ds_nobody", code=2)
    terminal("datasets", "--limit", "0", code=2)


def test_a_column_that_is_nearly_numeric_is_told_of(terminal: Terminal) -> None:
    numbers = "\n".join(f"{k},{k}" for k in range(20))
    (terminal.folder / "nearly.csv").write_text(f"a,y\n{numbers}\nn.v.,7\n")
    made = json.loads(terminal("upload", "nearly.csv", "--json"))[0]
    assert "'a' is read as categories" in terminal.errors
    assert "'n.v.' (1)" in terminal.errors
    terminal("datasets", made["id"])
    assert "'n.v.' (1)" in terminal.errors
    terminal("fit", "nearly.csv", "-t", "y", *FAST)
    assert "'n.v.' (1)" in terminal.errors
    terminal("upload", "houses.csv")
    assert terminal.errors == ""


def test_the_trials_of_a_search_are_shown_the_best_first(terminal: Terminal, trained: dict[str, object]) -> None:
    (terminal.folder / "space.yaml").write_text("ridge: {choices: [0.001, 10000, 100000000]}\n")
    made = terminal("tune", "houses.csv", "-t", "price", *FAST, "--trials", "4", "--space", "space.yaml", "--json")
    job = json.loads(made)["job"]
    found = json.loads(terminal("trials", job, "--json"))
    heads, *rows = [line.split() for line in terminal("trials", job).splitlines()]
    assert "validation rows also chose" in terminal.errors
    assert heads[:4] == ["trial", "state", "validation", "rmse"]
    assert sorted(int(row[0]) for row in rows) == [1, 2, 3, 4]
    assert int(rows[0][0]) == found["best"]
    complete = [float(row[2]) for row in rows if row[1] == "complete"]
    assert complete == sorted(complete)
    states = [row[1] for row in rows]
    assert states == sorted(states, key=["complete", "pruned", "failed"].index)
    assert any("ridge=" in word for row in rows for word in row)
    terminal("trials", str(trained["job"]), code=2)
    assert "is a job of kind 'fit'; trials are of a job of kind 'tune'" in terminal.errors
    terminal("trials", "job_nobody", code=2)


def test_the_trials_of_a_running_search_are_those_that_have_ended(terminal: Terminal) -> None:
    made = terminal("tune", "houses.csv", "-t", "price", *FAST, "--trials", "500", "--no-wait", "--json")
    job = json.loads(made)["id"]
    terminal("trials", job)
    assert re.search(r"the search is (queued|running): \d+ of 500 trials have ended", terminal.errors)
    terminal("cancel", job)
    terminal("watch", job, code=3)
    found = json.loads(terminal("trials", job, "--json"))
    assert f"the search is cancelled: {len(found['trials'])} of 500 trials have ended" in terminal.errors
    assert found["metric"] == "validation_rmse"


def test_a_network_is_trained_and_its_report_shown(terminal: Terminal, trained: dict[str, object]) -> None:
    (terminal.folder / "network.yaml").write_text("hidden: [8, 4]\nsteps: 20\nreport_every: 10\n")
    shown = terminal("network", "houses.csv", "-t", "price", "--spec", "network.yaml", "--out", "report.json")
    report = json.loads((terminal.folder / "report.json").read_text())
    assert [step["step"] for step in report["steps"]] == [0, 10, 20]
    assert "step 20 of 20, regression, " in shown
    layers = [line.split() for line in shown.splitlines() if "→" in line]
    inputs = str(len(report["features"]))
    assert [row[:4] for row in layers] == [["1", inputs, "→", "8"], ["2", "8", "→", "4"], ["3", "4", "→", "1"]]
    assert float(layers[0][4]) == pytest.approx(report["steps"][-1]["layers"][0]["fact"], abs=1e-3)
    flags = ["--hidden", "5", "--hidden", "6", "--steps", "3", "--weight-decay", "0.1", "--activation", "tanh"]
    job = json.loads(terminal("network", "houses.csv", "-t", "price", *flags, "--no-wait", "--json"))
    assert job["request"]["spec"]["hidden"] == [5, 6]
    terminal("watch", job["id"])
    assert json.loads(terminal("report", job["id"], "--json"))["spec"]["activation"] == "tanh"
    assert "5 → 6" in terminal("report", job["id"])
    terminal("report", str(trained["job"]), code=2)
    terminal("network", "houses.csv", "-t", "price", "--validation", "5", code=2)
    assert "not folds" in terminal.errors
    terminal("network", "houses.csv", "-t", "price", "--set", "hidden=[]", code=2)


def test_a_name_that_looks_like_a_path_is_asked_for_as_a_name(terminal: Terminal, trained: dict[str, object]) -> None:
    for name in ("../models/houses", "..", "houses/../houses", "houses?"):
        terminal("features", name, code=2)
        assert "(404" not in terminal.errors
        assert terminal.errors.strip()
    terminal("features", "", code=2)
    assert terminal.errors == "the model is empty; it must be an id or a name\n"
    terminal("watch", "", code=2)
    assert terminal.errors.endswith("the job is empty; it must be an id\n")


def test_how_a_command_ends_is_told_by_its_exit_code(terminal: Terminal, trained: dict[str, object]) -> None:
    terminal("fit", "missing.csv", "-t", "price", code=1)
    assert "missing.csv" in terminal.errors
    terminal("fit", "houses.csv", "-t", "prize", code=2)
    assert "prize" in terminal.errors
    terminal("fit", "houses.csv", "-t", "price", "--set", "ridge=-1", code=2)
    assert "ridge" in terminal.errors
    terminal("fit", "houses.csv", "-t", "price", "--set", "ridge", code=2)
    terminal("fit", "houses.csv", "-t", "price", "--validation", "1.5", code=2)
    terminal("predict", "nobody", "new.csv", code=2)
    terminal("predict", "houses", "new.csv", "--probabilities", code=2)
    terminal("predict", "houses", "new.csv", "--probabilities", "--job", code=2)
    terminal("predict", "houses", given=b"rooms\n1\n", code=2)
    assert "city" in terminal.errors
    slow = ["--set", "iterations=500", "--set", "kernel=laplace", "--set", "ridge=0.1", "--set", "patience=500"]
    terminal("fit", "houses.csv", "-t", "price", *slow, "--timeout", "0.1", code=4)
    job = terminal.errors.partition("job_")[2].partition(" ")[0]
    terminal("cancel", f"job_{job}")
    terminal("watch", f"job_{job}", code=3)
    terminal("models", code=1, FACTRFM_URL="http://127.0.0.1:9")
    assert "did not answer" in terminal.errors
    terminal("models", code=2, FACTRFM_URL="nonsense")


def test_a_profile_names_the_service(terminal: Terminal, trained: dict[str, object]) -> None:
    path = terminal.folder / ".config" / "factrfm" / "profiles.toml"
    path.parent.mkdir(parents=True)
    path.write_text(f'[lab]\nurl = "{terminal.environment["FACTRFM_URL"]}"\n')
    assert "houses@1" in terminal("models", "--profile", "lab", FACTRFM_URL="")
    terminal("models", "--profile", "home", FACTRFM_URL="", code=2)
    assert "it has lab" in terminal.errors


def test_the_doctor_tells_what_works_and_what_does_not(terminal: Terminal, shared_system: System) -> None:
    home = {"FACTRFM_HOME": str(shared_system.home)}
    found = {one["what"]: one["ok"] for one in json.loads(terminal("doctor", "--json", **home))}
    assert set(found.values()) == {True}, found
    told = terminal("doctor", code=1, FACTRFM_URL="http://127.0.0.1:9", FACTRFM_DEVICE="cuda:7", **home)
    assert "BAD device" in told
    assert "BAD service" in told


def test_the_doctor_makes_nothing(terminal: Terminal, tmp_path: Path) -> None:
    home = tmp_path / "not" / "there"
    told = terminal("doctor", "--here", FACTRFM_HOME=str(home))
    assert f"{home} is not there yet; the first start makes it" in told
    assert not home.parent.exists()


@pytest.mark.parametrize("kind", ["under a file", "a broken link", "too long"])
def test_the_doctor_tells_of_a_home_that_cannot_be(terminal: Terminal, tmp_path: Path, kind: str) -> None:
    home = tmp_path / ("x" * 300)
    if kind == "under a file":
        (tmp_path / "file").write_bytes(b"")
        home = tmp_path / "file" / "home"
    elif kind == "a broken link":
        home = tmp_path / "link"
        home.symlink_to(tmp_path / "nowhere")
    told = terminal("doctor", "--here", code=1, FACTRFM_HOME=str(home))
    assert "BAD folders" in told
    assert "device" in told


def test_keys_are_looked_for_where_a_service_is(terminal: Terminal, tmp_path: Path) -> None:
    home = tmp_path / "none"
    terminal("keys", "list", code=2, FACTRFM_HOME=str(home))
    assert "FACTRFM_HOME" in terminal.errors
    assert not home.exists()
    terminal("keys", "create", "first", FACTRFM_HOME=str(home))
    assert str(home / "factrfm.db") in terminal.errors
    assert "first" in terminal("keys", "list", FACTRFM_HOME=str(home))


def test_the_address_of_a_call_is_not_that_of_the_service(terminal: Terminal, shared_system: System) -> None:
    terminal("models", "--url", f"{terminal.environment['FACTRFM_URL']}/v1", code=2)
    assert "without /v1" in terminal.errors
    terminal("models", "--url", terminal.environment["FACTRFM_URL"].replace("http:", "https:"), code=1)
    assert "try http://" in terminal.errors


def _numbers(csv: str) -> list[float]:
    return [float(line.strip('"')) for line in csv.splitlines()[1:]]
