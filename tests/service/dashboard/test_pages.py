"""Pages show what there is, to whom it belongs, as text, and with nothing that a browser would have to trust."""

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from support.every_page import all_pages
from support.processes import REPOSITORY

from service.app import create_app
from service.dashboard.site import STATIC
from service.runtime.context import Context
from service.settings import ServiceSettings
from worker.contracts.keys import Scope
from worker.store import keys

OURS = {"Origin": "http://testserver"}
SPEC = {"iterations": 1, "encoding": "plain", "feature_matrix": "full", "precision": "float32", "exponent": 1}


def test_a_column_that_is_nearly_numeric_is_told_of(client: TestClient) -> None:
    table = "a,y\n" + "\n".join(f"{k},{k}" for k in range(20)) + "\n<i>n.v.</i>,7\n"
    made = client.post("/v1/datasets", content=table, headers={"Content-Type": "text/csv"}).json()
    assert "&lt;i&gt;n.v.&lt;/i&gt;&#39; (1). Where that means missing" in client.get(f"/datasets/{made['id']}").text


def test_a_column_of_names_is_told_of(client: TestClient) -> None:
    table = "day,y\n" + "\n".join(f"2020-01-{k},{k}" for k in range(60)) + "\n"
    made = client.post("/v1/datasets", content=table, headers={"Content-Type": "text/csv"}).json()
    assert "has 60 different texts in 60 rows" in client.get(f"/datasets/{made['id']}").text


@pytest.mark.parametrize(("names", "told"), [("5.1,3.5,2", True), ("0,1,2", False), ("1,2,3", False), ("1,b,2", False)])
def test_a_first_row_that_looks_like_no_names_is_told_of(client: TestClient, names: str, told: bool) -> None:
    body, kind = f"{names}\n4.9,3.0,1\n", {"Content-Type": "text/csv"}
    assert client.post("/v1/datasets", content=body, headers=kind).json()["reading"]["header"] == (not told)
    made = client.post("/v1/datasets?header=true", content=body, headers=kind).json()
    page = client.get(f"/datasets/{made['id']}").text
    assert ("put a row of names before it" in page) == told


def _detailed(things: dict[str, dict[str, Any]]) -> list[str]:
    """Return the pages that are about one thing by its id."""
    return [path for path in all_pages(things) if re.search(r"_0", path)]


@pytest.fixture
def sign_in(context: Context, settings: ServiceSettings) -> Iterator[Callable[..., TestClient]]:
    """Makes browsers that carry a key of a project."""
    opened: list[TestClient] = []

    def make(project: str, *scopes: Scope) -> TestClient:
        _, text = keys.create(context.database, project=project, name="", scopes=scopes, now=context.now())
        browser = TestClient(create_app(settings), follow_redirects=False)
        opened.append(browser.__enter__())
        assert browser.post("/login", data={"key": text}, headers=OURS).status_code == 303
        return browser

    yield make
    for browser in opened:
        browser.__exit__(None, None, None)


def test_every_page_is_there_and_holds_nothing_inline_and_nothing_from_elsewhere(
    client: TestClient, things: dict[str, dict[str, Any]]
) -> None:
    for path in all_pages(things):
        answer = client.get(path)
        assert answer.status_code == 200, path
        page = answer.text
        assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=\"|javascript:", page), path
        assert not re.search(r"(?:src|href|action)=\"(?!/|#)", page), path
        assert not re.search(r"(?:src|href|action)=\"//", page), path
        assert page.count("<h1") == 1, path
        assert answer.headers["cache-control"] == "no-store"
        ids = re.findall(r'\sid="([^"]+)"', page)
        assert len(ids) == len(set(ids)), path


def test_pages_tell_without_scripts_what_was_learned(client: TestClient, things: dict[str, dict[str, Any]]) -> None:
    page = client.get(f"/models/{things['model']['id']}").text
    shares = re.findall(r'<th scope="row" title="[^"]*">(size|city)</th><td class="number">([\d.]+)', page)
    assert {name for name, _ in shares} == {"size", "city"}
    assert sum(float(share) for _, share in shares) == pytest.approx(100, abs=0.2)
    picture = re.search(r'<noscript><img[^>]* src="([^"]+)"', page)
    assert picture is not None
    assert client.get(picture[1], headers={"Accept": "image/*"}).content.startswith(b"\x89PNG")
    assert "validation R²" in client.get("/").text


def test_each_field_of_a_prediction_has_a_place_for_what_is_wrong_with_it(
    client: TestClient, things: dict[str, dict[str, Any]]
) -> None:
    page = client.get(f"/models/{things['model']['id']}").text
    fields = dict(re.findall(r'data-at="(/rows/0/[^"]+)"><label for="([^"]+)"', page))
    assert set(fields) == {"/rows/0/size", "/rows/0/city"}
    for name in fields.values():
        assert re.search(rf'<input id="{name}" aria-describedby="{name}-error"', page)
        assert re.search(rf'<p class="error" id="{name}-error" role="alert" hidden>', page)


def test_a_column_with_a_slash_in_its_name_has_its_place_in_the_form(
    client: TestClient, run_job: Callable[[str], None]
) -> None:
    rows = "".join(f"{index},{index % 3}\n" for index in range(20))
    dataset = client.post("/v1/datasets", content="km/h,y\n" + rows, headers={"Content-Type": "text/csv"}).json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "y", "task": "regression", "model": "odd", "spec": SPEC}
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    answer = client.post("/v1/models/odd/predict", json={"rows": [{"km/h": "fast"}]})
    assert f'data-at="{answer.json()["errors"][0]["pointer"]}"' in client.get("/models/odd").text


def test_a_file_to_predict_offers_the_columns_that_the_model_does_not_read_to_be_kept(
    client: TestClient, run_job: Callable[[str], None]
) -> None:
    rows = "".join(f"K-{index},<i>,{index}.5,{index % 3}\n" for index in range(80))
    answer = client.post("/v1/datasets", content='id,"a ""b""",x,y\n' + rows, headers={"Content-Type": "text/csv"})
    dataset = answer.json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "y", "task": "regression", "model": "ids", "spec": SPEC}
    body["exclude"] = ['a "b"']
    run_job(client.post("/v1/jobs", json=body).json()["id"])
    page = client.get("/models/ids").text
    [form] = re.findall(r"<form[^>]*data-predict-file.*?</form>", page, re.DOTALL)
    assert re.search(
        r'<label for="predict-keep">.*<input id="predict-keep" [^>]*list="predict-keep-names"', form, re.DOTALL
    )
    assert re.findall(r'<option value="([^"]*)"', form) == ["id", "a &#34;b&#34;"]
    client.delete(f"/v1/datasets/{dataset}")
    assert 'id="predict-keep"' in client.get("/models/ids").text


def test_the_form_of_a_job_says_what_each_column_is_and_where_that_is_wrong(client: TestClient) -> None:
    rows = "".join(f"{index}.5,{index % 3}\n" for index in range(20))
    dataset = client.post("/v1/datasets", content="km/h,y\n" + rows, headers={"Content-Type": "text/csv"}).json()["id"]
    page = client.get(f"/jobs/new?dataset={dataset}").text
    [select] = re.findall(r'<select data-type data-column="km/h".*?</select>', page)
    assert re.findall(r'<option value="(\w*)"', select) == ["", "categorical", "boolean", "datetime", "text"]
    body = {"kind": "fit", "dataset": dataset, "target": "y", "task": "regression", "columns": {"km/h": "boolean"}}
    [error] = client.post("/v1/jobs?dry_run=true", json=body).json()["errors"]
    assert f'data-at="{error["pointer"]}"' in page
    body["columns"] = {"km/h": "categorical"}
    job = client.post("/v1/jobs", json=body).json()["id"]
    assert '<option value="categorical" selected>' in client.get(f"/jobs/new?like={job}").text


def test_the_form_of_a_search_holds_the_space_of_the_job_that_it_is_like(
    client: TestClient, things: dict[str, dict[str, Any]]
) -> None:
    fresh = client.get(f"/jobs/new?dataset={things['dataset']['id']}&kind=tune").text
    like = client.get(f"/jobs/new?like={things['tune']['id']}").text
    assert ("data-usual" in fresh, "data-usual" in like) == (True, False)
    space = client.get(f"/v1/jobs/{things['tune']['id']}").json()["request"]["search"]["space"]
    ticked = re.findall(r'data-searched data-pointer="/search/space/(\w+)"[^>]* checked', like)
    assert set(ticked) == set(space) < set(re.findall(r'data-searched data-pointer="/search/space/(\w+)"', fresh))
    assert "data-space" not in client.get(f"/jobs/new?like={things['fit']['id']}").text


def test_every_script_that_is_asked_for_is_there_and_installed(client: TestClient) -> None:
    for file in STATIC.iterdir():
        for name in re.findall(r'"\./([\w.]+)"', file.read_text()):
            answer = client.get(f"/static/{name}")
            assert answer.status_code == 200, (file.name, name)
            assert answer.headers["content-type"].startswith(("text/javascript", "text/css")), name
    patterns = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folder = STATIC.parent
    packed = {path for pattern in patterns["service.dashboard"] for path in folder.glob(pattern)}
    unpacked = {path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert packed == unpacked


def test_another_project_sees_none_of_it(things: dict[str, dict[str, Any]], sign_in: Callable[..., TestClient]) -> None:
    owner, stranger = sign_in("default", Scope.READ), sign_in("stranger", *Scope)
    ours = {one["id"] for one in things.values()}
    for path in all_pages(things):
        answer = stranger.get(path)
        if path in _detailed(things):
            assert answer.status_code == 404, path
            assert "Not here" in answer.text, path
        else:
            assert answer.status_code == 200, path
        assert not any(one in answer.text for one in ours if one not in path), path
        assert owner.get(path).status_code == 200, path


def test_other_projects_queues_are_for_the_scope_admin(
    things: dict[str, dict[str, Any]], sign_in: Callable[..., TestClient]
) -> None:
    assert "1" in _waiting(sign_in("default", Scope.READ).get("/queue").text)["default"]
    assert _waiting(sign_in("stranger", Scope.READ).get("/queue").text) == {}
    assert set(_waiting(sign_in("stranger", Scope.READ, Scope.ADMIN).get("/queue").text)) == {"default"}


def _waiting(page: str) -> dict[str, str]:
    table = page.partition('aria-label="Waiting jobs"')[2]
    return dict(re.findall(r'<th scope="row">(\w+)</th><td class="number">([^<]+)', table))


def test_a_key_that_may_only_read_is_offered_no_change(
    things: dict[str, dict[str, Any]], sign_in: Callable[..., TestClient]
) -> None:
    reader, writer = sign_in("default", Scope.READ), sign_in("default", Scope.READ, Scope.WRITE)
    for path in [path for path in _detailed(things) if "/new" not in path]:
        assert not re.search("data-action|data-change|data-upload", reader.get(path).text), path
    assert "data-change" in writer.get(f"/models/{things['model']['id']}").text
    assert "data-upload" in writer.get("/datasets").text


def test_names_that_hold_markup_are_text(client: TestClient, run_job: Callable[[str], None]) -> None:
    markup = "<img src=x onerror=alert(1)>"
    rows = "".join(f"{index},{'a' if index % 2 else markup},{index % 3}\n" for index in range(20))
    table = f'"{markup}",city,"""><script>alert(1)</script>"\n{rows}'
    answer = client.post("/v1/datasets", params={"name": markup}, content=table, headers={"Content-Type": "text/csv"})
    dataset = answer.json()["id"]
    body = {"kind": "fit", "dataset": dataset, "target": "city", "model": "odd", "spec": SPEC}
    job = client.post("/v1/jobs", json=body).json()["id"]
    run_job(job)
    client.patch("/v1/models/odd", json={"description": markup})
    paths = ["/", "/datasets", f"/datasets/{dataset}", f"/jobs/new?dataset={dataset}", "/jobs", f"/jobs/{job}"]
    for path in [*paths, "/models", "/models/odd", "/compare", f"/compare?ref=odd&ref={job}", f"/models?name={markup}"]:
        page = client.get(path).text
        assert "<img src=x" not in page, path
        assert "<script>" not in page, path


def test_a_model_is_described_tagged_and_promoted(
    client: TestClient, model: dict[str, Any], run_job: Callable[[str], None]
) -> None:
    again = {"kind": "fit", "dataset": model["dataset"], "target": "price", "model": "prices", "spec": SPEC}
    run_job(client.post("/v1/jobs", json=again).json()["id"])
    assert "Make it the default" in client.get("/models/prices@1").text
    assert "Make it the default" not in client.get("/models/prices@2").text
    change = {"description": "of the autumn", "tags": ["team=risk"], "default_version": 1}
    client.patch("/v1/models/prices@1", json=change)
    page = client.get("/models/prices").text
    assert "of the autumn" in page
    assert "Newest as the default" in page
    assert 'href="/models?tag=team%3Drisk"' in page
    tagged = client.get("/models?tag=team%3Drisk").text
    assert ("prices@1" in tagged, "prices@2" in tagged) == (True, False)
    assert "Make it the default" in client.get("/compare?ref=prices@1&ref=prices@2").text


def test_what_is_not_there_is_a_page_that_says_so(client: TestClient) -> None:
    for path in ("/datasets/ds_1", "/jobs/job_1", "/models/none", "/batches/bat_1", "/compare?ref=a&ref=b"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8"), path
        assert "Not here" in answer.text
    assert client.get("/jobs?state=odd").status_code == 404


def test_an_unknown_address_is_a_page_for_browsers_and_a_problem_for_programs(client: TestClient) -> None:
    page = client.get("/nosuch", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is nothing at /nosuch." in page.text
    for path, accept in (
        ("/nosuch", "*/*"),
        ("/nosuch", "application/json, text/html;q=0"),
        ("/nosuch", "image/png"),
        ("/v1/nosuch", "text/html"),
        ("/v1", "text/html"),
    ):
        assert client.get(path, headers={"Accept": accept}).headers["content-type"] == "application/problem+json"


def test_up_to_ten_stand_side_by_side_and_more_are_refused_with_the_bound(
    client: TestClient, things: dict[str, dict[str, Any]], run_job: Callable[[str], None]
) -> None:
    grid = {
        "base": {"kind": "fit", "dataset": things["dataset"]["id"], "target": "price", "spec": SPEC},
        "grid": {"spec.ridge": [0.1 * k for k in range(1, 12)]},
    }
    jobs = [link.rsplit("/", 1)[1] for link in client.post("/v1/batches", json=grid).json()["jobs"]]
    assert client.get("/compare", params={"ref": jobs[:10]}).text.count('<th scope="col" class="given">') == 10
    refused = client.get("/compare", params={"ref": jobs})
    assert refused.status_code == 422
    assert "11 were chosen, and at most 10 can be compared at once" in refused.text
    assert "at most 9" in client.get("/v1/models/prices/compare", params={"with": ["prices"] * 10}).text


def test_a_list_of_jobs_says_the_name_that_each_was_asked_by(
    client: TestClient, things: dict[str, dict[str, Any]]
) -> None:
    waiting = {"kind": "fit", "dataset": things["dataset"]["id"], "target": "price", "model": "tomorrow"}
    job = client.post("/v1/jobs", json=waiting).json()
    assert job["state"] == "queued"
    predicting = client.post("/v1/jobs", json={"kind": "predict", "model": "prices", "dataset": job["dataset"]}).json()
    for path in ("/jobs", "/"):
        page = client.get(path).text
        assert page.count("tomorrow") >= 1, path
        assert "predict with prices@1" in page, path
    assert "<dd>tomorrow</dd>" in client.get(f"/jobs/{job['id']}").text
    assert "<h1>predict with prices@1 " in client.get(f"/jobs/{predicting['id']}").text


def test_a_job_that_measured_nothing_has_no_empty_card(client: TestClient, things: dict[str, dict[str, Any]]) -> None:
    for kind, hidden in (("predict", True), ("fit", False)):
        card = re.search(r'<section class="card live"[^>]*>', client.get(f"/jobs/{things[kind]['id']}").text)
        assert card is not None
        assert card[0].endswith(" hidden>") == hidden, kind


def test_a_text_reaches_the_browser_to_the_last_break(client: TestClient, model: dict[str, Any]) -> None:
    client.patch("/v1/models/prices", json={"description": "\nfirst\r\nlast"})
    page = client.get("/models/prices").text
    # of a text area a parser drops the first line break, and of all text the carriage returns that are written bare
    assert ">\n\nfirst&#13;\nlast</textarea>" in page


def test_pages_of_an_empty_service_say_how_to_begin(client: TestClient) -> None:
    for path, said in {
        "/": "Drop a table",
        "/datasets": "No dataset yet",
        "/jobs": "No job yet",
        "/jobs/new": "Upload one first",
        "/models": "No model yet",
        "/compare": "nothing to compare yet",
        "/batches": "No batch yet",
        "/queue": "Nothing waits",
    }.items():
        assert said in client.get(path).text, path


def test_scripts_write_texts_and_never_markup() -> None:
    for file in Path(STATIC).glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", file.read_text()
        )
