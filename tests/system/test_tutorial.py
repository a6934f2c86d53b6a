"""The pages are true: what they show is typed again against the real service, and gives what they say."""

import os
from pathlib import Path

import pytest
from support.processes import System, free_port

from docs.tools.replay import DOCS, PAGES, replay, steps

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("FACTRFM_")}
SERVED = [name for name in PAGES if name != "tutorial.md" and any(steps((DOCS / name).read_text()))]


def test_the_terminal_session_of_the_tutorial_gives_what_the_page_says(tmp_path: Path) -> None:
    wrong = replay(DOCS / "tutorial.md", tmp_path, free_port(), CLEAN)
    assert not wrong, "\n\n".join(wrong)
    assert (tmp_path / "flats.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", SERVED)
def test_the_examples_of_a_page_give_what_it_says(name: str, shared_system: System, tmp_path: Path) -> None:
    wrong = replay(DOCS / name, tmp_path, shared_system.port, CLEAN)
    assert not wrong, "\n\n".join(wrong)


def test_a_page_that_says_something_else_is_found(shared_system: System, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    console = "```console\n$ echo one two\none ...\n$ echo three\nfour\n$ false\n```\n"
    page.write_text(f"{console}\n```python\nprint(5)\n```\n\n```text\n6\n```\n")
    wrong = replay(page, tmp_path, shared_system.port, CLEAN)
    assert [one.splitlines()[0] for one in wrong] == ["page.md: echo three", "page.md: false", "page.md: print(5)"]
