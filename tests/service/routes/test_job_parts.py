import pytest
from support.inline import run_job, run_once


@pytest.fixture
def job(client, dataset):
    body = {
        "kind": "tune",
        "dataset": dataset,
        "target": "price",
        "spec": {"iterations": 1},
        "search": {"trials": 12},
    }
    answer = client.post("/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def test_parts_are_listed_with_their_states_and_workers(client, context, job):
    url = f"/v1/jobs/{job}/parts"
    assert client.get(url).json() == {"items": [], "next": None}
    first, *_ = run_once(context, job)
    run_once(context, first)
    items = client.get(url).json()["items"]
    assert [(part["round"], part["number"], part["kind"]) for part in items] == [(1, n, "trial") for n in range(10)]
    assert [part["state"] for part in items] == ["succeeded", *["queued"] * 9]
    assert (items[0]["worker"], items[0]["attempt"]) == ("test", 1)
    assert items[0]["seconds"] >= 0
    assert [part["number"] for part in client.get(f"{url}?state=succeeded").json()["items"]] == [0]
    progress = client.get(f"/v1/jobs/{job}").json()["progress"]["parts"]
    assert (progress["done"], progress["running"], progress["total"]) == (1, 0, 10)


def test_parts_come_page_by_page(client, context, job):
    run_job(context, job)
    found, after = [], ""
    while after is not None:
        page = client.get(f"/v1/jobs/{job}/parts?limit=5{after and f'&after={after}'}").json()
        found += [(part["round"], part["number"]) for part in page["items"]]
        after = page["next"]
    assert found == [(1, number) for number in range(10)] + [(2, 0), (2, 1)]
    assert client.get(f"/v1/jobs/{job}").json()["progress"].get("parts") is None


@pytest.mark.parametrize("after", ["1", "x.y", "1.2.3", "-1.0", "99999.1"])
def test_a_place_that_is_none_is_refused(client, job, after):
    answer = client.get(f"/v1/jobs/{job}/parts?after={after}")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "query:after")


def test_a_part_is_no_job_of_its_own(client, context, job):
    [part, *_] = run_once(context, job)
    assert client.get(f"/v1/jobs/{part}").status_code == 404
    assert client.post(f"/v1/jobs/{part}/cancel").status_code == 404
    assert client.delete(f"/v1/jobs/{part}").status_code == 404
    assert client.get("/v1/jobs/job_01jd0000000000000000000000/parts").status_code == 404
    assert [item["id"] for item in client.get("/v1/jobs?state=running").json()["items"]] == [job]


def test_the_job_page_draws_its_parts(client, context, job):
    for part in run_once(context, job)[:3]:
        run_once(context, part)
    page = client.get(f"/jobs/{job}").text
    assert page.count('class="piece succeeded"') == 3
    assert page.count('class="piece queued"') == 7
