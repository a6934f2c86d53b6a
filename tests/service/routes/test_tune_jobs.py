import pytest
from sqlalchemy import delete
from support.inline import run_job, run_once

from worker.store.schema.tables import JobRow


@pytest.fixture
def body(dataset):
    spec = {"iterations": 1}
    return {"kind": "tune", "dataset": dataset, "target": "price", "spec": spec, "search": {"trials": 3}}


def _submit(client, body):
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def test_a_search_is_accepted_with_its_space_resolved(client, body):
    answer = client.post("/v1/jobs", json={**body, "spec": {"ridge": 0.1}, "search": {}})
    assert answer.status_code == 202, answer.text
    search = answer.json()["request"]["search"]
    assert (answer.json()["kind"], search["trials"], search["seed"]) == ("tune", 30, 0)
    assert "ridge" not in search["space"], "what the spec names is fixed"
    assert search["space"]["bandwidth_factor"]["log"] is True


def test_a_dry_run_estimates_the_most_expensive_trial(client, body):
    def estimate(**changes):
        answer = client.post("/v1/jobs?dry_run=true", json={**body, **changes})
        assert answer.status_code == 200, answer.text
        return answer.json()["estimate"]

    spec = {"precision": "float32", "ridge": 0.1, "exponent": 1.3}
    one = estimate(spec=spec, search={"trials": 1, "space": {"exponent": {"low": 1, "high": 2}}})
    double = estimate(spec=spec, search={"trials": 1, "space": {"precision": {"choices": ["float32", "float64"]}}})
    assert double["bytes"] > one["bytes"]
    long = estimate(spec=spec, search={"trials": 1, "space": {"iterations": {"low": 1, "high": 40}}})
    assert long["flops"] > 5 * one["flops"]

    def width(encoding):
        found = client.post("/v1/jobs?dry_run=true", json={**body, "spec": {"encoding": encoding}})
        return found.json()["encoded_columns"]

    assert width("auto") == width("plain") + 9, "a trial may expand the column of sizes"
    held = client.post("/v1/jobs?dry_run=true", json={**body, "search": {"space": {"exponent": {"low": 1, "high": 2}}}})
    assert held.json()["encoded_columns"] == width("plain"), "no trial does"
    assert held.json()["request"]["spec"]["encoding"] == "plain"
    named = {"encoding": "plain", "exponent": 1.3, "feature_matrix": "full"}
    seven = estimate(search={"trials": 7}, spec=named)["flops"]
    assert seven == 2 * estimate(spec=named)["flops"], "the best is fitted once more"
    assert 5 * estimate(search={"trials": 7})["flops"] == pytest.approx(9 * estimate()["flops"]), "short runs go first"
    assert estimate(validation={"folds": 4})["bytes"] > estimate()["bytes"]
    assert client.get("/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"validation": None}, "/validation", "give a fraction, a dataset or folds"),
        ({"search": {"trials": 0}}, "/search/trials", "greater than or equal to 1"),
        ({"search": {"space": {}}}, "/search/space", "at least 1"),
        ({"search": {"space": {"rigde": {"choices": [1]}}}}, "/search/space/rigde", "no option 'rigde'"),
        ({"search": {"space": {"ridge": {"choices": []}}}}, "/search/space/ridge/choices", "at least 1"),
        ({"search": {"space": {"ridge": {"choices": [{}]}}}}, "/search/space/ridge/choices/0", "valid"),
        ({"search": {"space": {"ridge": {"low": 2, "high": 1}}}}, "/search/space/ridge", "low must not be above high"),
        ({"search": {"space": {"ridge": {"low": 0, "high": 1, "step": 1e-300}}}}, "/search/space/ridge", "1,000,000th"),
        ({"search": {"space": {"ridge": {"low": -1, "high": 1}}}}, "/search/space/ridge/low", "greater than or equal"),
        ({"search": {"space": {"ridge": {"low": 1, "hihg": 2}}}}, "/search/space/ridge/hihg", "did you mean 'high'"),
        ({"search": {"space": {"kernel": {"choices": ["round"]}}}}, "/search/space/kernel/choices/0", "laplace"),
        ({"search": {"space": {"seed": {"choices": [1]}}}}, "/search/space/seed", "splits the rows"),
        ({"search": {"space": 3}}, "/search/space", "dictionary"),
        ({"target": "nothing"}, "/target", "no column"),
        ({"spec": {"ridge": -1}}, "/spec/ridge", "greater than or equal"),
    ],
)
def test_a_search_that_cannot_be_is_refused_with_its_place(client, body, change, pointer, words):
    answer = client.post("/v1/jobs", json={**body, **change})
    assert answer.status_code == 422, answer.text
    found = {one["pointer"]: one["message"] for one in answer.json()["errors"]}
    assert words in found[pointer]
    batch = client.post("/v1/batches", json=[body, {**body, **change}])
    assert batch.status_code == 422
    assert batch.json()["errors"][0]["pointer"].startswith(f"/1{pointer}")


def test_a_fit_takes_no_search(client, body):
    answer = client.post("/v1/jobs", json={**body, "kind": "fit"})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/search")


def test_the_trials_are_the_result_and_go_with_the_job(client, body, context):
    job = _submit(client, {**body, "model": "tuned"})
    url = f"/v1/jobs/{job}/result"
    assert client.get(url).status_code == 409
    run_job(context, job)
    result = client.get(url)
    assert (result.status_code, result.headers["content-type"]) == (200, "application/json")
    assert [trial["trial"] for trial in result.json()["trials"]] == [1, 2, 3]
    assert client.get(url, headers={"If-None-Match": result.headers["etag"]}).status_code == 304
    assert client.get("/v1/models/tuned").json()["spec"] == result.json()["spec"]
    assert [one["id"] for one in client.get("/v1/jobs?kind=tune").json()["items"]] == [job]
    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.get("/v1/models/tuned").status_code == 200
    kept = context.settings.home.rglob("trials*.json")
    assert not list(kept), "the job's files are gone"


@pytest.mark.parametrize("target", ["price", "city"])
def test_the_best_trial_has_the_least_of_the_metric_that_is_named(client, context, body, target):
    job = _submit(client, {**body, "target": target, "search": {"trials": 6}})
    run_job(context, job)
    result = client.get(f"/v1/jobs/{job}/result").json()
    complete = [trial for trial in result["trials"] if trial["state"] == "complete"]
    least = min(trial["metrics"][result["metric"]] for trial in complete)
    assert result["metrics"][result["metric"]] == pytest.approx(least)


@pytest.mark.parametrize("target", ["price", "city"])
def test_a_running_search_shows_the_trials_so_far_as_its_result_will(client, context, body, target):
    job = _submit(client, {**body, "target": target})
    before = client.get(f"/v1/jobs/{job}/trials").json()
    assert (before["trials"], before["best"], before["metrics"]) == ([], None, {})
    parts = run_once(context, job)
    # in another order than they are counted
    ended = []
    for part in reversed(parts):
        ready = run_once(context, part)
        shown = client.get(f"/v1/jobs/{job}").json()
        assert (shown["state"], shown["attempt"]) == ("running", 1)
        trials = [trial["trial"] for trial in client.get(f"/v1/jobs/{job}/trials").json()["trials"]]
        assert trials == sorted(trials)
        assert len(trials) == len(ended) + 1
        assert set(trials) > set(ended)
        ended = trials
    assert ended == [1, 2, 3]
    last = client.get(f"/v1/jobs/{job}/trials").json()
    page = client.get(f"/jobs/{job}").text
    assert page.count('<span class="state complete"') + page.count('<span class="state pruned"') == 3
    assert ready == [job]
    run_job(context, job)
    result = client.get(f"/v1/jobs/{job}/result").json()
    for shown in (last, client.get(f"/v1/jobs/{job}/trials").json()):
        assert shown == {name: value for name, value in result.items() if name != "spec"}


def test_trials_of_a_search_that_began_afresh_are_not_shown_twice(client, context, body):
    job = _submit(client, body)
    for part in run_once(context, job):
        run_once(context, part)
    with context.database.transaction() as session:
        session.execute(delete(JobRow).where(JobRow.parent_id == job))
    [first, *_] = run_once(context, job)
    run_once(context, first)
    [trial] = client.get(f"/v1/jobs/{job}/trials").json()["trials"]
    assert client.get(f"/jobs/{job}").text.count(f'<th scope="row" class="number" data-value="{trial["trial"]}">') == 1


def test_only_a_search_has_trials(client, body, model):
    answer = client.get(f"/v1/jobs/{model['job']}/trials")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "is a fit: only a search" in answer.json()["detail"]
    assert client.get("/v1/jobs/job_01jd0000000000000000000000/trials").status_code == 404
