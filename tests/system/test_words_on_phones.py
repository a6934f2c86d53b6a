"""On a phone no short word is broken: a column that is too narrow would show one letter a line."""

import pytest
from playwright.sync_api import Page
from support.browsing import Desk

SPEC = {"encoding": "plain", "feature_matrix": "full", "exponent": 1, "iterations": 1}
BROKEN = """() => {
  const broken = [];
  const walker = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode;
    if (!text.parentElement.checkVisibility() || text.parentElement.closest(".unseen, svg, option, pre, .id")) continue;
    for (const { 0: word, index } of text.data.matchAll(/[\\p{L}\\d@.:]+/gu)) {
      if (word.length > 10) continue;
      const range = document.createRange();
      range.setStart(text, index);
      range.setEnd(text, index + word.length);
      if (new Set([...range.getClientRects()].map((box) => Math.round(box.top))).size > 1) broken.push(word);
    }
  }
  return [...new Set(broken)];
}"""


@pytest.fixture(scope="module")
def paths(desk: Desk) -> list[str]:
    """Pages about two models of one table, and a search."""
    system = desk.system
    lines = [f"{index % 7},{index % 5},{(index % 7) * (index % 5)}.5" for index in range(80)]
    upload = system.client.post(
        "/v1/datasets", content="\n".join(["rooms,floor,price", *lines]), headers={"Content-Type": "text/csv"}
    )
    table = {"dataset": upload.json()["id"], "target": "price"}
    fits = [system.wait(system.submit(**table, model="prices", spec={**SPEC, "seed": seed})) for seed in (1, 2)]
    search = system.wait(system.submit(kind="tune", **table, model="searched", spec=SPEC, search={"trials": 2}))
    first, second = (job["model"] for job in fits)
    return [
        "/",
        "/datasets",
        f"/datasets/{table['dataset']}",
        "/jobs",
        *(f"/jobs/{job['id']}" for job in (fits[0], search)),
        f"/jobs/new?dataset={table['dataset']}",
        "/models",
        f"/models/{first}",
        f"/compare?ref={first}&ref={second}",
        "/queue",
    ]


@pytest.mark.parametrize("width", [360, 390])
def test_no_short_word_is_broken_on_a_phone(desk: Desk, paths: list[str], width: int) -> None:
    page = desk.signed_in(viewport={"width": width, "height": 800})
    assert {path: _broken(page, path) for path in paths} == {path: [] for path in paths}
    page.context.close()


def _broken(page: Page, path: str) -> list[str]:
    page.goto(path, wait_until="networkidle")
    page.wait_for_selector("html[data-ready]")
    return list(page.evaluate(BROKEN))
