"""What is written about the benchmarks is about those that there are, and every result that is pointed at exists."""

import json
import re
from pathlib import Path

import pytest

from benchmarks.__main__ import NAMES
from benchmarks.report import RESULTS

README = RESULTS.parent / "README.md"


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_has_a_result_with_its_origin_and_a_place_in_the_readme(name):
    origin = json.loads((RESULTS / f"{name}.json").read_text())["origin"]
    assert {"command", "machine", "versions", "seed"} <= set(origin)
    assert f"results/{name}.md" in README.read_text()


@pytest.mark.parametrize("page", [README, *sorted(RESULTS.glob("*.md"))], ids=lambda page: page.name)
def test_every_picture_and_page_that_is_pointed_at_is_there(page):
    places = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    missing = [place for place in places if "://" not in place and not (page.parent / Path(place)).exists()]
    assert missing == []
