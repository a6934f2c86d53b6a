"""The dashboard in a browser, against the whole service: from a key and a file to what was learned."""

import re
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from support.browsing import KEY, Desk

SEVERE = ("serious", "critical")
PLAIN = {"encoding": "plain", "feature_matrix": "full", "exponent": 1, "refit": False}
DROP = """([place, name, text]) => {
  const carried = new DataTransfer();
  carried.items.add(new File([text], name));
  const dropped = new DragEvent("drop", { dataTransfer: carried, bubbles: true, cancelable: true });
  document.querySelector(place).dispatchEvent(dropped);
}"""
JUDGE = "options => axe.run(document, options).then((found) => found.violations)"
WATCH = """() => {
  const [explorer, live] = ["[data-explorer]", "[data-live]"].map((one) => document.querySelector(one));
  const state = () => document.querySelector("[data-state]").textContent.trim();
  window.seen = [];
  new MutationObserver(() => window.seen.push([explorer.dataset.painted, live.dataset.final, state()]))
    .observe(explorer, { attributes: true, attributeFilter: ["data-painted"] });
}"""


@pytest.fixture(scope="module")
def made(desk: Desk) -> dict[str, str]:
    """One of everything that has a page of its own."""
    system = desk.system
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4))
    dataset = system.upload(X, X[:, 0] * X[:, 1], ["a", "b", "c", "d"])
    common: dict[str, Any] = {"dataset": dataset, "spec": {"iterations": 2, **PLAIN}}
    jobs = {
        "tune": system.submit(**{**common, "kind": "tune", "model": "tuned", "search": {"trials": 3}}),
        "network": system.submit(
            kind="network", dataset=dataset, spec={"steps": 40, "report_every": 20, "hidden": [8, 8]}
        ),
        "fit": system.submit(**common, model="small"),
    }
    answer = system.client.post(
        "/v1/batches",
        json={"base": {"kind": "fit", "target": "y", **common}, "grid": {"spec.ridge": [0.1, 1]}},
    ).json()
    ended = {name: system.wait(job) for name, job in jobs.items()}
    assert {job["state"] for job in ended.values()} == {"succeeded"}
    models = {f"{name}_model": str(ended[name]["model"]) for name in ("tune", "fit")}
    return {"dataset": dataset, "batch": answer["id"], **jobs, **models}


def _table(rows: int, target: bool = True) -> str:
    """Return a table whose target comes of two columns together and of a third one's category."""
    rng = np.random.default_rng(1)
    names = [f"x{index}" for index in range(8)]
    lines = [",".join([*names, "city", *(["price"] if target else [])])]
    for _ in range(rows):
        x = rng.normal(size=8)
        city = ("Bern", "Basel")[int(rng.integers(2))]
        price = [f"{x[0] * x[1] + (city == 'Bern'):.4f}"] if target else []
        lines.append(",".join([*(f"{value:.4f}" for value in x), city, *price]))
    return "\n".join(lines) + "\n"


def test_a_table_that_is_dropped_becomes_a_matrix_to_look_at_and_a_model_to_ask(desk: Desk) -> None:
    page = desk.page()
    _sign_in(page)
    _upload(page)
    _start_a_fit(page)
    _watch_it_learn(page)
    _look_through_the_iterations(page)
    page.get_by_role("link", name="To the model").click()
    _ask_the_model(page)
    _train_the_other_way_and_compare(page)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("/login")
    assert desk.complaints == []
    page.context.close()


def _sign_in(page: Page) -> None:
    page.goto("/datasets")
    expect(page).to_have_url(re.compile(r"/login\?next=/datasets"))
    page.get_by_label("Key").fill("not it")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no key of this service")
    page.get_by_label("Key").fill(KEY)
    page.keyboard.press("Enter")
    page.wait_for_url("/datasets")


def _upload(page: Page) -> None:
    page.wait_for_selector("html[data-ready]")
    page.evaluate(DROP, ["[data-upload]", "notes.txt", "hello"])
    expect(page.locator(".outcome")).to_contain_text(".csv")
    page.evaluate(DROP, ["[data-upload]", "houses.csv", _table(1200)])
    page.wait_for_url("**/datasets/ds_*")
    expect(page.get_by_role("heading", name="houses.csv")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Histogram of x0 from"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("city categorical from texts Basel 606"))).to_be_visible()


def _start_a_fit(page: Page) -> None:
    page.get_by_role("link", name="Train on it").click()
    page.get_by_label("Target", exact=True).select_option("price")
    page.get_by_label("Model name").fill("prices")
    for group in ("Learning the features", "Kernel", "Columns"):
        page.locator("summary", has_text=group).last.click()
    page.get_by_label("Iterations", exact=True).fill("-1")
    page.get_by_role("button", name="Check without starting").click()
    expect(page.locator("#spec-iterations-error")).to_contain_text("greater than or equal to")
    expect(page.get_by_label("Iterations", exact=True)).to_be_focused()
    page.get_by_label("Iterations", exact=True).fill("20")
    page.get_by_label("Feature matrix", exact=True).select_option("full")
    page.get_by_label("Exponent").fill("1")
    page.get_by_label("Encoding").select_option("plain")
    page.get_by_role("button", name="Check without starting").click()
    expect(page.locator("[data-plan]")).to_contain_text(re.compile(r"Encoded columns\s*11.*Memory", re.DOTALL))
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/job_*")


def _watch_it_learn(page: Page) -> None:
    page.evaluate(WATCH)
    page.wait_for_selector('[data-live][data-final="yes"]', timeout=60_000)
    expect(page.get_by_role("heading", name=re.compile("fit price succeeded"))).to_be_visible()
    while_it_ran = [(painted, state) for painted, final, state in page.evaluate("window.seen") if final == "no"]
    assert len({painted for painted, _ in while_it_ran}) > 1, "the matrix changes while the job runs"
    assert "running" in {state for _, state in while_it_ran}
    expect(page.get_by_role("img", name=re.compile("RMSE by iteration: validation from"))).to_be_visible()
    again = page.context.new_page()
    again.goto(page.url)
    told = again.locator("[data-metrics]").inner_text()
    expect(page.locator("[data-metrics]")).to_have_text(re.compile(r"\s*".join(map(re.escape, told.split()))))
    again.close()


def _look_through_the_iterations(page: Page) -> None:
    slider, canvas = page.get_by_label("Iteration", exact=True), page.locator(".heatmap > canvas")
    pictures = []
    for key, painted in (("Home", "0"), ("End", "20")):
        slider.press(key)
        expect(page.locator("[data-explorer]")).to_have_attribute("data-painted", painted)
        pictures.append(canvas.evaluate("one => one.toDataURL()"))
    assert pictures[0] != pictures[1]
    assert "Bern" not in page.locator("[data-bars]").inner_text(), "encoded columns are folded back"
    canvas.press("ArrowRight")
    canvas.press("ArrowRight")
    expect(page.locator(".heatmap .tip")).to_contain_text(re.compile("x[01] × x[01]: "))
    expect(page.locator("#said")).to_contain_text(" × ")


def _ask_the_model(page: Page) -> None:
    page.wait_for_url("**/models/mdl_*")
    page.wait_for_selector("html[data-ready]")
    form = page.locator("form[data-predict]")
    form.get_by_label("x0").fill("much")
    form.get_by_role("button", name="Predict").click()
    expect(form.get_by_role("alert")).to_have_text("'much' is not numeric")
    expect(form.get_by_label("x0")).to_be_focused()
    expect(form.get_by_label("x0")).to_have_attribute("aria-invalid", "true")
    expect(form.get_by_label("x0")).to_have_accessible_description("'much' is not numeric")
    assert _violations(page) == []
    for name, value in {"x0": "1", "x1": "2", "city": "Bern"}.items():
        form.get_by_label(name).fill(value)
    form.get_by_role("button", name="Predict").click()
    expect(form.locator("[data-answer]")).to_contain_text("price: ")
    expect(form.get_by_label("x0")).to_have_accessible_description("")
    assert float(form.locator("[data-answer] strong").inner_text()) == pytest.approx(3, abs=1)
    _ask_why(page)
    page.evaluate(DROP, ["[data-predict-file]", "rows.csv", _table(30, target=False)])
    expect(page.locator("[data-predict-file]")).to_contain_text("30 rows predicted")
    expect(page.locator("[data-predict-file]")).not_to_contain_text("no training row")
    page.evaluate(DROP, ["[data-predict-file]", "rows.csv", _table(30, target=False).replace("Basel", "Rom")])
    expect(page.locator("[data-predict-file]")).to_contain_text("that no training row had: city (")
    page.get_by_label("Columns to keep").fill("town, x3")
    page.get_by_label("Columns to keep").press("Enter")
    expect(page.locator("[data-predict-file] .outcome")).to_contain_text("no column to keep that is called 'town'")
    page.get_by_label("Columns to keep").fill("city, x3")
    page.get_by_label("Columns to keep").press("Enter")
    expect(page.get_by_label("The first answers")).to_contain_text('"city","x3","price"')
    page.get_by_text("Describe and tag it").click()
    page.get_by_label("Tags").fill("no tag")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#tags-error")).to_contain_text("no tag")
    page.get_by_label("Tags").fill("team=risk, autumn")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("link", name="team=risk")).to_be_visible()


def _ask_why(page: Page) -> None:
    predict = page.locator("#predict")
    predict.get_by_role("button", name="Why?").press("Enter")
    expect(predict.get_by_role("heading", name="Why this answer")).to_be_focused()
    changes = predict.get_by_role("table", name="Change of price with each column")
    # the price is x0 times x1, here 1 and 2, and one more in Bern
    for name, change in (("x0", 2), ("x1", 1), ("city", -1)):
        row = changes.locator("tbody tr", has=page.get_by_role("rowheader", name=name, exact=True))
        assert float(row.locator("td").nth(2).inner_text().replace("−", "-")) == pytest.approx(change, abs=0.5)
    near = predict.get_by_role("table", name="The nearest training rows")
    expect(near.get_by_role("row")).to_have_count(1 + 1 + 5)
    expect(near.get_by_role("row", name=re.compile("this row, predicted 0 [23]"))).to_contain_text("Bern")
    assert _violations(page) == []
    _fits_a_phone(page)
    page.locator("form[data-predict]").get_by_role("button", name="Predict").click()
    expect(predict.get_by_role("heading", name="Why this answer")).to_be_hidden()


def _train_the_other_way_and_compare(page: Page) -> None:
    page.get_by_role("link", name="Train with NFA").click()
    page.get_by_text("Learning the features", exact=True).click()
    page.get_by_label("Iterations", exact=True).fill("2")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/jobs/job_*")
    page.wait_for_selector('[data-live][data-final="yes"]', timeout=60_000)
    page.get_by_role("link", name="To the model").click()
    expect(page.get_by_role("heading", name=re.compile("prices@2 default"))).to_be_visible()
    page.get_by_role("link", name="prices@1").click()
    expect(page.locator(".heatmap > canvas")).to_have_count(2)
    expect(page.get_by_text("Cosine between the matrices")).to_contain_text(re.compile(r"0\.\d{3}"))
    expect(page.get_by_role("row", name=re.compile("Update nfa fact"))).to_be_visible()
    page.get_by_role("button", name="Make it the default").click()
    expect(page.get_by_role("heading", name=re.compile("prices@1 fact default"))).to_be_visible()
    # a call that is under way when its key goes leads to the login by itself
    expect(page.locator(".heatmap > canvas")).to_have_count(2)


def test_what_a_job_does_before_anything_is_measured_is_said(desk: Desk) -> None:
    # so many rows that the short runs are not over before the page is there
    X = np.random.default_rng(2).normal(size=(8000, 8))
    page = desk.signed_in()
    job = desk.system.submit(dataset=desk.system.upload(X, X[:, 0] * X[:, 1]), spec={})
    page.goto(f"/jobs/{job}")
    expect(page.locator("[data-stage]")).to_contain_text("choosing between ways to fit")
    desk.system.client.post(f"/v1/jobs/{job}/cancel")
    page.wait_for_selector('[data-live][data-final="yes"]', state="attached")
    assert desk.complaints == []
    page.context.close()


def test_a_search_that_is_watched_to_its_end_shows_what_its_page_says_then(desk: Desk, made: dict[str, str]) -> None:
    search = {"kind": "tune", "dataset": made["dataset"], "search": {"trials": 3}, "spec": {"iterations": 2, **PLAIN}}
    page = desk.signed_in()
    page.goto(f"/jobs/{desk.system.submit(**search)}")
    page.wait_for_selector('[data-live][data-final="yes"]', timeout=60_000)
    expect(page.locator("[data-trials] tbody tr")).to_have_count(3)
    expect(page.get_by_text("The first trial has not ended.")).to_be_hidden()
    assert desk.complaints == []
    page.context.close()


def test_trials_are_a_table_that_sorts_and_names_the_best(desk: Desk, made: dict[str, str]) -> None:
    page = desk.signed_in()
    page.goto(f"/jobs/{made['tune']}")
    page.wait_for_selector("html[data-ready]")
    table = page.locator("[data-trials]")
    expect(table.get_by_role("row", name=re.compile(r"\(best\)"))).to_have_count(1)
    losses = table.get_by_role("columnheader", name="Validation RMSE")
    losses.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(losses).to_have_attribute("aria-sort", "ascending")
    expect(table.locator("tbody tr").first).to_contain_text("(best)")
    page.context.close()


def test_the_space_of_a_search_is_edited_by_keyboard_and_what_is_wrong_is_said_where_it_is(
    desk: Desk, made: dict[str, str]
) -> None:
    page = desk.signed_in()
    page.goto(f"/jobs/new?dataset={made['dataset']}&kind=tune")
    page.wait_for_selector("html[data-ready]")
    page.get_by_label("Target", exact=True).select_option("y")
    page.get_by_role("button", name="Check without starting").press("Enter")
    plan = page.locator("[data-plan]")
    expect(plan).to_contain_text(re.compile(r"What the search tries.*Ridge\s*1e-5 to 10, by logarithm", re.DOTALL))
    ridge = page.get_by_role("group", name="Ridge", exact=True)
    ridge.get_by_label("Low").fill("-1")
    ridge.get_by_label("Log").press("Space")
    page.get_by_role("checkbox", name="Update").press("Space")
    page.get_by_role("checkbox", name="Geometric average").press("Space")
    page.locator("summary", has_text="more options").press("Enter")
    kernel = page.get_by_role("group", name="Kernel", exact=True)
    kernel.get_by_role("checkbox").press("Space")
    kernel.get_by_label("Choices").fill("laplace, round")
    page.get_by_role("checkbox", name="Exponent").press("Space")
    page.get_by_role("button", name="Check without starting").press("Enter")
    expect(ridge.get_by_label("Low")).to_be_focused()
    expect(ridge.get_by_label("Low")).to_have_accessible_description(re.compile("least value.*greater than or equal"))
    expect(kernel.get_by_label("Choices")).to_have_accessible_description(re.compile("'laplace'"))
    assert _violations(page) == []
    _fits_a_phone(page)
    ridge.get_by_label("Given as").select_option("a list")
    ridge.get_by_label("Choices").fill("0.1, 1")
    kernel.get_by_label("Choices").fill("laplace, gaussian")
    page.get_by_label("Validation", exact=True).select_option("cross-validation")
    group = page.get_by_label("Keep together")
    group.select_option("d")
    with page.expect_request("**/v1/jobs?dry_run=true") as sent:
        page.get_by_role("button", name="Check without starting").press("Enter")
    assert sent.value.post_data_json["validation"] == {"group": "d", "folds": 5}
    assert sent.value.post_data_json["search"]["space"] == {
        "bandwidth_factor": {"low": 0.3, "high": 30, "log": True},
        "encoding": {"choices": ["plain", "expanded"]},
        "feature_matrix": {"choices": ["full", "diagonal"]},
        "ridge": {"choices": [0.1, 1]},
        "kernel": {"choices": ["laplace", "gaussian"]},
    }
    expect(plan).to_contain_text(re.compile(r"Kernel\s*laplace, gaussian"))
    page.locator("[data-searched]:checked").evaluate_all("boxes => boxes.forEach((box) => box.click())")
    page.get_by_label("Weights of rows").select_option("d")
    page.get_by_label("Weights of classes").fill("yes=20, no = 1, a=b=.5")
    with page.expect_request("**/v1/jobs?dry_run=true") as sent:
        page.get_by_role("button", name="Check without starting").press("Enter")
    weights = {name: sent.value.post_data_json[name] for name in ("weights", "class_weight")}
    assert weights == {"weights": "d", "class_weight": {"yes": 20, "no": 1, "a=b": 0.5}}
    expect(page.locator("#search-space-error")).to_contain_text("at least 1")
    expect(page.locator("[data-searched]").first).to_be_focused()
    assert desk.complaints == []
    page.context.close()


def test_no_page_keeps_people_out_light_or_dark_or_on_a_phone(desk: Desk, made: dict[str, str]) -> None:
    page = desk.signed_in(color_scheme="light")
    for path in _pages(made):
        page.goto(path, wait_until="load")
        page.wait_for_selector("html[data-ready]")
        _fits_a_phone(page)
        page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        assert _violations(page) == [], path
    assert desk.complaints == []
    page.context.close()


def _fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390, f"{page.url} is wider than a phone"
    page.set_viewport_size({"width": 1280, "height": 800})


def _violations(page: Page) -> list[tuple[str, str, str]]:
    """Return what keeps people out of the page as it stands, in light and in the contrasts of dark."""
    page.evaluate(Axe().axe_script)
    found = []
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        violations = page.evaluate(JUDGE, {"resultTypes": ["violations"], **rules})
        found += [(scheme, one["id"], one["nodes"][0]["html"]) for one in violations if one["impact"] in SEVERE]
    page.emulate_media(color_scheme="light")
    return found


def _pages(made: dict[str, str]) -> list[str]:
    return [
        "/",
        "/datasets",
        f"/datasets/{made['dataset']}",
        "/jobs",
        *(f"/jobs/{made[kind]}" for kind in ("fit", "tune", "network")),
        *(f"/jobs/new?dataset={made['dataset']}&kind={kind}" for kind in ("fit", "tune", "network")),
        "/models",
        f"/models/{made['fit_model']}",
        "/compare",
        f"/compare?ref={made['fit_model']}&ref={made['tune_model']}",
        "/batches",
        f"/batches/{made['batch']}",
        "/queue",
        "/models/none",
        "/login",
    ]


def test_a_browser_without_scripts_reads_the_matrix_as_a_picture(desk: Desk, made: dict[str, str]) -> None:
    page = desk.signed_in(java_script_enabled=False)
    page.goto(f"/models/{made['fit_model']}")
    picture = page.get_by_alt_text("The feature matrix as a heatmap")
    expect(picture).to_be_visible()
    # without scripts the page cannot be asked for the size of the picture; the box of a broken one is a line of text
    box = picture.bounding_box()
    assert box is not None
    assert box["height"] > 200
    page.context.close()
