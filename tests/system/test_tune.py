"""A search over specs through the whole system: seen while it runs, killed, cancelled."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from support.processes import System, wait_until

Start = Callable[..., System]
SEARCH: dict[str, Any] = {"trials": 9, "seed": 4}
SPEC = {"iterations": 3}


def _table(system: System, rows: int = 1500) -> str:
    """Upload a table on which a trial takes a few tenths of a second."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(rows, 20))
    return system.upload(X, X[:, 0] * X[:, 1] + 0.1 * rng.normal(size=rows))


def _submit(system: System, dataset: str, **body: Any) -> str:
    return system.submit(**{"kind": "tune", "dataset": dataset, "spec": SPEC, "search": SEARCH, **body})


def _trials(system: System, job: str) -> list[dict[str, Any]]:
    return [event["data"] for event in system.events(job) if event["type"] == "trial"]


def _wait_for_trials(system: System, job: str, count: int) -> None:
    wait_until(lambda: len(_trials(system, job)) >= count, 60, f"{count} trials of {job}")


def _result(system: System, job: str) -> dict[str, Any]:
    answer = system.client.get(f"/v1/jobs/{job}/result")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    return dict(answer.json())


def _untimed(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in trial.items() if "seconds" not in name} for trial in trials]


def test_the_best_trial_becomes_the_model_and_every_trial_is_kept(shared_system: System) -> None:
    dataset = _table(shared_system, 300)
    job = _submit(shared_system, dataset, model="tuned")
    ended = shared_system.wait(job)
    assert ended["state"] == "succeeded", ended
    result = _result(shared_system, job)
    trials = result["trials"]
    assert [trial["trial"] for trial in trials] == list(range(1, 10))
    told = sorted(_trials(shared_system, job), key=lambda trial: trial["trial"])
    assert _untimed(trials) == _untimed(told)
    complete = [trial for trial in trials if trial["state"] == "complete"]
    best = min(complete, key=lambda trial: min(trial["losses"]))
    assert result["best"] == best["trial"]
    model = shared_system.client.get("/v1/models/tuned").json()
    assert model["job"] == job
    assert model["spec"] == result["spec"]
    assert model["metrics"] == best["metrics"] == result["metrics"] == ended["metrics"]
    assert model["iteration"] == best["iteration"]
    assert best["metrics"][result["metric"]] <= trials[0]["metrics"][result["metric"]]
    fitted = shared_system.wait(shared_system.submit(dataset=dataset, spec=SPEC, model="untuned"))
    assert fitted["state"] == "succeeded", fitted
    chosen = shared_system.client.get("/v1/models/untuned").json()
    assert chosen["choices"], "it had a choice"
    first = trials[0]["params"]
    assert first == {name: chosen["spec"][name] for name in first}, "the first trial is what a fit chooses"
    assert len({str(trial["params"]) for trial in trials}) == 9
    assert shared_system.client.delete(f"/v1/jobs/{job}").status_code == 204
    assert len(shared_system.predict("tuned", np.zeros((2, 20)))["predictions"]) == 2


def test_a_killed_worker_loses_no_trial_and_the_result_is_the_same(
    start_system: Start, empty_database_url: str
) -> None:
    system = start_system(empty_database_url, workers=1)
    dataset = _table(system)
    undisturbed = _submit(system, dataset)
    first = system.wait(undisturbed)
    assert first["state"] == "succeeded", first
    job = _submit(system, dataset)
    _wait_for_trials(system, job, 4)
    running = system.job(job)
    assert running["state"] == "running"
    assert running["progress"]["trial"] >= 4
    assert 0 < running["progress"]["fraction"] < 1
    assert "validation_rmse" in running["metrics"]
    system.workers[0].kill()
    system.start_worker()
    ended = system.wait(job)
    assert ended["state"] == "succeeded", ended
    attempts = [part["attempt"] for part in system.client.get(f"/v1/jobs/{job}/parts").json()["items"]]
    *once, last = sorted(attempts)
    assert (ended["attempt"], set(once), last) == (1, {1}, 2), "the part that was lost is done again alone"
    assert sorted(trial["trial"] for trial in _trials(system, job)) == list(range(1, 10)), "no trial is told twice"
    found, expected = _result(system, job), _result(system, undisturbed)
    assert _untimed(found.pop("trials")) == _untimed(expected.pop("trials"))
    assert found == expected
    probe = np.random.default_rng(2).normal(size=(20, 20))
    models = [system.job(one)["model"] for one in (job, undisturbed)]
    assert system.predict(models[0], probe)["predictions"] == system.predict(models[1], probe)["predictions"]


def test_a_search_is_cancelled_and_goes_on_when_it_is_retried(start_system: Start) -> None:
    system = start_system()
    job = _submit(system, _table(system))
    _wait_for_trials(system, job, 2)
    assert system.client.post(f"/v1/jobs/{job}/cancel").status_code == 202
    assert system.wait(job, 5)["state"] == "cancelled"
    assert system.client.get(f"/v1/jobs/{job}/result").status_code == 409
    assert len(_trials(system, job)) >= 2, "the trials stay to be seen"
    assert system.client.post(f"/v1/jobs/{job}/retry").status_code == 202
    assert system.wait(job)["state"] == "succeeded"
    assert sorted(trial["trial"] for trial in _trials(system, job)) == list(range(1, 10))


@pytest.mark.parametrize("validation", [{"folds": 3}, {"dataset": None}])
def test_every_way_of_validating_compares_trials(shared_system: System, validation: dict[str, Any]) -> None:
    dataset = _table(shared_system, 200)
    if "dataset" in validation:
        validation = {"dataset": _table(shared_system, 90)}
    search = {"trials": 4, "space": {"ridge": {"low": 0.001, "high": 10, "log": True}}}
    job = shared_system.wait(_submit(shared_system, dataset, validation=validation, search=search))
    assert job["state"] == "succeeded", job
    assert shared_system.client.get(f"/v1/models/{job['model']}").json()["training_rows"] == 200
    for trial in _result(shared_system, job["id"])["trials"]:
        assert "validation_rmse" in trial["metrics"]
        assert len(trial["losses"]) == trial["iterations"] + 1


def test_a_batch_holds_searches(shared_system: System) -> None:
    body = {"kind": "tune", "dataset": _table(shared_system, 60), "target": "y", "search": {"trials": 2}}
    grid = {"search.seed": [1, 2], "spec.kernel": ["laplace"]}
    answer = shared_system.client.post("/v1/batches", json={"base": body, "grid": grid})
    assert answer.status_code == 202, answer.text
    ended = [shared_system.wait(link.rsplit("/", 1)[-1]) for link in answer.json()["jobs"]]
    assert [job["state"] for job in ended] == ["succeeded"] * 2
    second = [_result(shared_system, job["id"])["trials"][1]["params"] for job in ended]
    assert second[0] != second[1]


def test_a_trial_that_cannot_run_is_a_failed_trial_and_only_all_of_them_a_failed_job(start_system: Start) -> None:
    system = start_system(memory_bytes="1000000")
    job = system.wait(_submit(system, _table(system), search={"trials": 2}))
    assert (job["state"], job["error"]["type"]) == ("failed", "no_trial_succeeded")
    assert "GiB" in job["error"]["detail"]
    assert [trial["state"] for trial in _trials(system, job["id"])] == ["failed", "failed"]


def test_a_search_on_few_rows_computes_as_a_fit_does(shared_system: System) -> None:
    dataset = _table(shared_system, 80)
    space = {"ridge": {"choices": [0.1]}}
    spec = {"iterations": 1, "encoding": "plain", "exponent": 1.0, "feature_matrix": "full", "ridge": 0.1}
    searched = shared_system.wait(
        _submit(shared_system, dataset, spec=spec, search={"trials": 1, "space": space}, model="searched")
    )
    fitted = shared_system.wait(shared_system.submit(dataset=dataset, spec=spec, model="fitted"))
    models = [shared_system.client.get(f"/v1/models/{job['model']}").json() for job in (searched, fitted)]
    assert [model["spec"]["precision"] for model in models] == ["float64", "float64"]
    assert models[0]["metrics"] == models[1]["metrics"]
