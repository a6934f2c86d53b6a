"""Names and values of 200 characters without a break stay inside of what holds them, on a phone and on a screen."""

from typing import Any

import httpx
import pytest
from playwright.sync_api import Page
from support.browsing import Desk
from support.processes import FINAL, wait_until

LONG = 200
CSV = {"Content-Type": "text/csv"}
WIDTHS = (360, 1280)
BOOLEANS = ("false", "true")
PLAIN = {"encoding": "plain", "feature_matrix": "full", "exponent": 1, "iterations": 1}
OVERFLOWING = """() => {
  const wide = [];
  const shown = (one) => one.checkVisibility() && !one.closest(".unseen, .skip, svg, datalist, option");
  const named = (one) => `${one.tagName.toLowerCase()}.${one.className} in ${one.parentElement.className}`;
  const holds = (one) => getComputedStyle(one).overflowX !== "visible";
  if (document.documentElement.scrollWidth > innerWidth) wide.push("the page");
  for (const one of document.body.querySelectorAll("*")) {
    if (!shown(one)) continue;
    const style = getComputedStyle(one);
    const box = one.getBoundingClientRect();
    if (style.position === "absolute") {
      if (box.right > innerWidth + 1 || box.left < -1) wide.push(`${named(one)} is outside of the window`);
      continue;
    }
    const parent = one.parentElement.getBoundingClientRect();
    const outside = box.right > parent.right + 1 || box.left < parent.left - 1;
    if (outside && !holds(one.parentElement)) wide.push(`${named(one)} is outside`);
    if (!holds(one) && style.display !== "inline" && one.scrollWidth > one.clientWidth + 1 && one.clientWidth)
      wide.push(`${named(one)} holds more than it is wide`);
    const region = one.closest(".scroll");
    if (region && /^T[HD]$/.test(one.tagName) && one.colSpan === 1 && box.width > region.clientWidth + 1)
      wide.push(`${named(one)} is wider than what it scrolls in`);
  }
  for (const list of document.querySelectorAll(".scroll.list"))
    if (innerWidth < 640 && list.scrollWidth > list.clientWidth + 1) wide.push("a list scrolls sideways");
  return [...new Set(wide)].slice(0, 12);
}"""


def long(letter: str) -> str:
    return letter * LONG


def fill(client: httpx.Client) -> dict[str, str]:
    """Make one of everything whose names are as long as they may be, and return the pages by what they show."""
    names = [long("n"), long("c"), long("b"), "short"]
    rows = [
        ",".join([f"{index % 13}.{index}", long("vw"[index % 2]), BOOLEANS[index % 3 > 0], str(index), str(index % 13)])
        for index in range(60)
    ]
    table = ",".join([*names, long("t")]) + "\n" + "\n".join(rows) + "\n"
    dataset = _made(client.post("/v1/datasets", params={"name": long("d")}, content=table, headers=CSV))["id"]
    odd = "\n".join([f"{long('o')},y", *(f"{index}{long('z')},{index}" for index in range(60))]) + "\n"
    remarked = _made(client.post("/v1/datasets", params={"name": "odd"}, content=odd, headers=CSV))["id"]
    common: dict[str, Any] = {"dataset": dataset, "target": long("t"), "task": "regression"}
    model = "m" * 99
    bodies = {
        "fit": {"kind": "fit", **common, "model": model, "spec": PLAIN},
        "tune": {"kind": "tune", **common, "model": f"{model[:-1]}2", "spec": PLAIN, "search": {"trials": 2}},
        "classes": {"kind": "fit", "dataset": dataset, "target": long("c"), "model": f"{model[:-1]}3", "spec": PLAIN},
        "network": {"kind": "network", **common, "spec": {"steps": 20, "report_every": 10, "hidden": [4]}},
    }
    jobs = {name: _made(client.post("/v1/jobs", json=body))["id"] for name, body in bodies.items()}
    for job in jobs.values():
        _ended(client, job)
    jobs["predict"] = _made(client.post("/v1/jobs", json={"kind": "predict", "model": model, "dataset": dataset}))["id"]
    _ended(client, jobs["predict"])
    client.patch(f"/v1/models/{model}@1", json={"description": long("e"), "tags": [("g" * 64), ("h" * 64)]})
    grid = {
        "base": {"kind": "fit", **common, "spec": PLAIN},
        "grid": {"spec.ridge": [0.1, 1], "exclude": [[], [long("b")]]},
    }
    batch = _made(client.post("/v1/batches", json=grid))["id"]
    other = f"{model[:-1]}3"
    return {
        "overview": "/",
        "datasets": "/datasets",
        "dataset": f"/datasets/{dataset}",
        "remarks": f"/datasets/{remarked}",
        "jobs": "/jobs",
        **{f"job {name}": f"/jobs/{job}" for name, job in jobs.items()},
        **{f"form {kind}": f"/jobs/new?dataset={dataset}&kind={kind}" for kind in ("fit", "tune", "network")},
        "choose": "/jobs/new",
        "models": "/models",
        "tagged": f"/models?tag={'g' * 64}",
        "named": f"/models?name={model}",
        "model": f"/models/{model}",
        "model of classes": f"/models/{other}",
        "choose two": "/compare",
        "compare": f"/compare?ref={model}&ref={other}&ref={jobs['network']}",
        "batches": "/batches",
        "batch": f"/batches/{batch}",
        "queue": "/queue",
        "missing": f"/models/{'x' * LONG}",
    }


def _made(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    return dict(answer.json())


def _ended(client: httpx.Client, job: str) -> None:
    wait_until(lambda: client.get(f"/v1/jobs/{job}").json()["state"] in FINAL, 120, f"{job} ends")
    found = client.get(f"/v1/jobs/{job}").json()
    assert found["state"] == "succeeded", found


def overflowing(page: Page, name: str, path: str) -> list[str]:
    """Return what of a page is wider than what holds it, with everything on it opened and asked."""
    page.goto(path, wait_until="load")
    page.wait_for_selector("html[data-ready]")
    if name.startswith("model") and path.count("/") == 2 and "?" not in path:
        _ask_why(page)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.wait_for_load_state("networkidle")
    found = []
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        for canvas in page.locator(".heatmap > canvas:visible").all():
            canvas.press("ArrowRight")
        found += [f"{name} at {width}: {one}" for one in page.evaluate(OVERFLOWING)]
    return found


def _ask_why(page: Page) -> None:
    form = page.locator("form[data-predict]")
    form.get_by_role("button", name="Predict").click()
    form.get_by_role("button", name="Why?").click()
    page.wait_for_selector("[data-why]:not([hidden])")


@pytest.mark.timeout(300)
def test_nothing_on_any_page_is_wider_than_what_holds_it(desk: Desk) -> None:
    page = desk.signed_in()
    found = [one for name, path in fill(desk.system.client).items() for one in overflowing(page, name, path)]
    assert found == []
    assert desk.complaints == []
    page.context.close()
